/** One zstd frame by libzstd in WebAssembly, at once and on this thread. */
import type { FrameDecoder } from "./zstd-engines.js";
import { MAX_BLOCK_BYTES, type ZstdLibrary } from "./zstd-library.js";

const COMPRESSED = 2;

export function wasmDecoder(library: ZstdLibrary, header: Buffer, windowBytes: number): FrameDecoder {
  const stream = library.openStream();
  stream.push(header);
  // A copy of the block: the library's memory is others' too.
  const content = Buffer.allocUnsafeSlow(Math.min(windowBytes, MAX_BLOCK_BYTES));
  return {
    async block(block) {
      const made = stream.push(block);
      if (made.length === 0 && !mayBeEmpty(library, block)) throw new Error("libzstd refuses the block");
      content.set(made);
      return [content.subarray(0, made.length)];
    },
    end: async () => [],
    destroy: () => stream.close(),
  };
}

/** RFC 8878, 3.1.1.2: the size of a raw or a repeated block is that of its content. */
function mayBeEmpty(library: ZstdLibrary, block: Buffer): boolean {
  const bits = block.readUIntLE(0, 3);
  return ((bits >> 1) & 3) === COMPRESSED ? library.isEmpty(block) : bits >> 3 === 0;
}
