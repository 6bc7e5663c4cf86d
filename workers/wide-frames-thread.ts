/** The thread behind wide-frames.ts: a frame's header or one of its blocks comes, the content goes. */
import { type MessagePort, parentPort } from "node:worker_threads";
import { wasmDecoder } from "./wasm-decoder.js";
import type { FrameDecoder } from "./zstd-engines.js";
import { zstdLibrary } from "./zstd-library.js";

/** Answered one by one; a header ends the frame before it. */
export type WideRequest =
  | { readonly header: Uint8Array; readonly windowBytes: number }
  | { readonly block: Uint8Array };

export interface WideAnswer {
  /** Absent: the block is damaged. */
  readonly content?: Uint8Array;
}

const port = parentPort as MessagePort;
let decoder: FrameDecoder | undefined;

port.on("message", async (request: WideRequest) => port.postMessage(await answer(request)));

async function answer(request: WideRequest): Promise<WideAnswer> {
  if ("header" in request) {
    decoder?.destroy();
    decoder = wasmDecoder(await zstdLibrary(), Buffer.from(request.header), request.windowBytes);
    return {};
  }
  try {
    const [content] = (await decoder?.block(Buffer.from(request.block))) ?? [];
    return content === undefined ? {} : { content };
  } catch {
    return {};
  }
}
