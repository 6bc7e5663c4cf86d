/**
 * zstd frames with wide windows, on a thread of their own (wide-frames-thread.ts) that ends with their blob: WebAssembly's memory never
 * shrinks, and V8 may keep several of 150 MB that nobody uses any more (seen on Node 20). A thread's goes with it.
 */
import { once } from "node:events";
import { resourceLimits, Worker } from "node:worker_threads";
import { StrataError } from "../src/errors.js";
import type { WideAnswer, WideRequest } from "./wide-frames-thread.js";
import type { FrameDecoder } from "./zstd-engines.js";

/** The library's source, and what it unpacks itself with. */
const HEAP_MB = 64;

export class WideFrames {
  readonly #thread = new Worker(new URL("./wide-frames-thread.js", import.meta.url), {
    resourceLimits: { ...resourceLimits, maxOldGenerationSizeMb: HEAP_MB },
  });

  /** One at a time. WORKER_CRASHED. */
  async start(header: Buffer, windowBytes: number): Promise<FrameDecoder> {
    await this.#ask({ header, windowBytes });
    return {
      block: async (block) => {
        // A view would go over with all that it is a view of.
        const { content } = await this.#ask({ block: new Uint8Array(block) });
        if (content === undefined) throw new Error("libzstd refuses the block");
        return [Buffer.from(content.buffer, content.byteOffset, content.byteLength)];
      },
      end: async () => [],
      destroy: () => undefined,
    };
  }

  /** Resolves when its memory is gone. */
  async close(): Promise<void> {
    await this.#thread.terminate();
  }

  async #ask(request: WideRequest): Promise<WideAnswer> {
    this.#thread.postMessage(request);
    try {
      const [answer] = (await once(this.#thread, "message")) as [WideAnswer];
      return answer;
    } catch (cause) {
      throw new StrataError("WORKER_CRASHED", "Cannot inflate the layer: the thread that decodes it ended", { cause });
    }
  }
}
