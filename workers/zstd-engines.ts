/**
 * What decodes a zstd frame: Node's own decoder where it has one (≥ 22.15), and fzstd on this thread. Neither is asked where a frame
 * ends or whether its checksum holds (unzstd.ts), for fzstd does not look.
 */
import zlib from "node:zlib";
import { Decompress } from "fzstd";

/** Turns a frame's pieces, a block at the most, into its content; `end` comes behind the last. */
export interface FrameDecoder {
  push(piece: Buffer): Promise<Buffer[]>;
  end(): Promise<Buffer[]>;
  destroy(): void;
}

export interface ZstdEngine {
  readonly name: string;
  readonly createDecoder: () => FrameDecoder;
}

const CHUNK_BYTES = 256 * 1024;
const WINDOW_LOG_MAX = 100;

type ZstdFactory = (options: object) => zlib.Zlib & NodeJS.ReadWriteStream & { destroy(): void };
/** Absent before Node 22.15, and so from the types of Node 20. */
const nativeFactory = (zlib as unknown as { createZstdDecompress?: ZstdFactory }).createZstdDecompress;

export const fzstd: ZstdEngine = { name: "fzstd", createDecoder: javascriptDecoder };

/** Undefined where this Node has none. */
export const nativeZstd: ZstdEngine | undefined =
  nativeFactory === undefined ? undefined : { name: "node:zlib", createDecoder: () => nativeDecoder(nativeFactory) };

function javascriptDecoder(): FrameDecoder {
  let out: Buffer[] = [];
  const stream = new Decompress((data) => out.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
  const drain = (): Buffer[] => {
    const all = out;
    out = [];
    return all;
  };
  return {
    async push(piece) {
      stream.push(piece);
      return drain();
    },
    async end() {
      stream.push(new Uint8Array(0), true);
      return drain();
    },
    destroy() {},
  };
}

function nativeDecoder(create: ZstdFactory): FrameDecoder {
  const stream = create({ chunkSize: CHUNK_BYTES, params: { [WINDOW_LOG_MAX]: 27 } });
  let out: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => out.push(chunk));
  // A write that fails calls nobody back.
  const failed = new Promise<never>((_resolve, reject) => stream.once("error", reject));
  failed.catch(() => undefined);
  const drained = async (work: Promise<void>): Promise<Buffer[]> => {
    await Promise.race([work, failed]);
    const all = out;
    out = [];
    return all;
  };
  return {
    push: (piece) => drained(new Promise((resolve) => stream.write(piece, () => resolve()))),
    end: () =>
      drained(
        new Promise((resolve) => {
          stream.once("end", resolve);
          stream.end();
        }),
      ),
    destroy: () => stream.destroy(),
  };
}
