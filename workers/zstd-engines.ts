/**
 * What decodes a zstd frame: Node's own decoder where it has one (≥ 22.15), in libuv's pool, and libzstd in WebAssembly on this
 * thread. Neither is asked where a frame ends or whether its checksum holds: that is unzstd.ts's.
 */
import zlib from "node:zlib";
import { WIDE_WINDOW_BYTES } from "../src/limits.js";
import { wasmDecoder } from "./wasm-decoder.js";
import { WideFrames } from "./wide-frames.js";
import { zstdLibrary } from "./zstd-library.js";

/** Turns a frame's blocks, each with its header, into their content. */
export interface FrameDecoder {
  /** All that the block holds, valid until the next. Rejects where it is damaged. */
  block(block: Buffer): Promise<Buffer[]>;
  /** Once, behind the last block. */
  end(): Promise<Buffer[]>;
  destroy(): void;
}

/** Those of one blob, one after another. */
export interface FrameDecoders {
  /** `header` asks for no checksum and no dictionary. */
  start(header: Buffer, windowBytes: number): Promise<FrameDecoder>;
  close(): Promise<void>;
}

export interface ZstdEngine {
  readonly name: string;
  readonly open: () => FrameDecoders;
}

const CHUNK_BYTES = 256 * 1024;
const WINDOW_LOG_MAX = 100;

type ZstdFactory = (options: object) => zlib.Zlib & NodeJS.ReadWriteStream & { destroy(): void };
/** Absent before Node 22.15, and so from the types of Node 20. */
const nativeFactory = (zlib as unknown as { createZstdDecompress?: ZstdFactory }).createZstdDecompress;

export const wasmZstd: ZstdEngine = { name: "wasm-zstd", open: wasmDecoders };

/** Undefined where this Node has none. */
export const nativeZstd: ZstdEngine | undefined =
  nativeFactory === undefined
    ? undefined
    : {
        name: "node:zlib",
        open: () => ({ start: async (header) => nativeDecoder(nativeFactory, header), close: async () => undefined }),
      };

function wasmDecoders(): FrameDecoders {
  let wide: WideFrames | undefined;
  return {
    async start(header, windowBytes) {
      if (windowBytes <= WIDE_WINDOW_BYTES) return wasmDecoder(await zstdLibrary(), header, windowBytes);
      wide ??= new WideFrames();
      return wide.start(header, windowBytes);
    },
    close: async () => wide?.close(),
  };
}

function nativeDecoder(create: ZstdFactory, header: Buffer): FrameDecoder {
  const stream = create({ chunkSize: CHUNK_BYTES, params: { [WINDOW_LOG_MAX]: 27 } });
  let out: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => out.push(chunk));
  // A write that fails calls nobody back.
  const failed = new Promise<never>((_resolve, reject) => stream.once("error", reject));
  failed.catch(() => undefined);
  stream.write(header);
  const drained = async (work: Promise<void>): Promise<Buffer[]> => {
    await Promise.race([work, failed]);
    const all = out;
    out = [];
    return all;
  };
  return {
    block: (block) => drained(new Promise((resolve) => stream.write(block, () => resolve()))),
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
