/**
 * The bytes of a blob that is sent, from a file or from memory: any part of them, as often as a registry asks.
 */
import { type FileHandle, open } from "node:fs/promises";
import { toStrataError } from "../../errors.js";
import type { Digest } from "../../oci/digest.js";
import { sizeMismatch } from "../checked-document.js";
import type { Content } from "./exchange.js";

/** A config or a layer; that its bytes have this digest is known to whoever made them, and checked by the registry. */
export type PushedBlob = { readonly digest: Digest; readonly size: number } & (
  | { readonly path: string }
  | { readonly bytes: Uint8Array }
);

/** A part of the blob. */
export type PartOf = (at: number, bytes: number) => Content;

/** What is read of a file at once; so much of each blob is in memory, and as much in the socket. */
const CHUNK_BYTES = 256 * 1024;

export const contentOf = (bytes: Uint8Array, told: () => void = () => {}): Content => ({
  bytes: bytes.byteLength,
  async *chunks() {
    yield bytes;
    told();
  },
});

/** Gives the blob's parts to `use`, as long as that runs; `told` hears how much of the blob was given, each chunk's end. SIZE_MISMATCH, STORE_*. */
export async function withContent<Value>(
  blob: PushedBlob,
  told: (end: number) => void,
  use: (partOf: PartOf) => Promise<Value>,
): Promise<Value> {
  if ("bytes" in blob) {
    if (blob.bytes.byteLength !== blob.size) throw sizeMismatch(blob, blob.bytes.byteLength);
    return use((at, bytes) => contentOf(blob.bytes.subarray(at, at + bytes), () => told(at + bytes)));
  }
  const handle = await opened(blob, blob.path);
  try {
    return await use((from, bytes) => ({ bytes, chunks: () => read(handle, blob, { from, end: from + bytes, told }) }));
  } finally {
    await handle.close();
  }
}

async function opened(blob: PushedBlob, path: string): Promise<FileHandle> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    const { size } = await handle.stat();
    if (size !== blob.size) throw sizeMismatch(blob, size);
    return handle;
  } catch (error) {
    await handle?.close();
    throw toStrataError(error, `Cannot read blob ${blob.digest}`);
  }
}

interface Range {
  readonly from: number;
  readonly end: number;
  readonly told: (end: number) => void;
}

async function* read(handle: FileHandle, blob: PushedBlob, { from, end, told }: Range): AsyncGenerator<Uint8Array> {
  for (let at = from; at < end; told(at)) {
    // A chunk of its own each time: the socket may still hold the one before.
    const wanted = Math.min(CHUNK_BYTES, end - at);
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(wanted), 0, wanted, at);
    if (bytesRead === 0) throw sizeMismatch(blob, at);
    yield buffer.subarray(0, bytesRead);
    at += bytesRead;
  }
}
