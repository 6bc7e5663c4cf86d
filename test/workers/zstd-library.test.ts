/** libzstd's inside: the same bytes as by the package's own methods, and a memory that neither leaks nor stays large. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Zstd } from "@hpcc-js/wasm-zstd";
import fc from "fast-check";
import { imageLimits } from "../../src/limits.js";
import { inflate } from "../../workers/inflate.js";
import { zstdLibrary } from "../../workers/zstd-library.js";
import { frame } from "../hostile/zstd-frames.js";

const CONTENT = Buffer.from("the content of a frame");
const ORDINARY = frame(CONTENT, { window: 0x68 });
const WIDE = frame(CONTENT, { window: 0x88 });

/** Its raw block said to be a compressed one. */
const damaged = (bytes: Buffer): Buffer => Buffer.from(bytes.map((byte, at) => (at === 6 ? byte | 4 : byte)));

/** By the engine that Node 20 has. */
async function inflated(...frames: readonly Buffer[]): Promise<Buffer> {
  const [blob, out] = [Buffer.concat(frames), [] as Buffer[]];
  const left = [blob];
  const options = { blobBytes: blob.length, limits: imageLimits, decoders: "javascript" } as const;
  const { chunks } = await inflate("zstd", async () => left.shift(), options);
  for await (const chunk of chunks) out.push(Buffer.from(chunk));
  return Buffer.concat(out);
}

test("compresses to the bytes that the package's own methods do", async () => {
  const [library, judge] = [await zstdLibrary(), await Zstd.load()];
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 2000 }),
    fc.array(fc.constantFrom("one", "two", "three"), { maxLength: 3000 }).map((words) => Buffer.from(words.join())),
  );
  fc.assert(
    fc.property(content, fc.integer({ min: 1, max: 19 }), (bytes, level) => {
      assert.deepEqual(library.compress(bytes, level), Buffer.from(judge.compress(bytes, level)));
    }),
    { numRuns: 50 },
  );
});

test("thousands of frames leave nothing in the memory, damaged ones neither", async () => {
  const library = await zstdLibrary();
  await inflated(ORDINARY);
  const bytes = library.memoryBytes;
  assert.equal((await inflated(...Array<Buffer>(2000).fill(ORDINARY))).length, 2000 * CONTENT.length);
  for (let i = 0; i < 200; i += 1) await assert.rejects(inflated(damaged(ORDINARY)), { code: "CODEC_CORRUPT" });
  assert.equal(library.memoryBytes, bytes);
});

test("a wide window leaves this thread's memory as it is, also where a frame behind it is damaged", async () => {
  const { memoryBytes } = await zstdLibrary();
  const content = await inflated(ORDINARY, WIDE, WIDE, ORDINARY);
  assert.deepEqual(content, Buffer.concat(Array(4).fill(CONTENT)));
  await assert.rejects(inflated(WIDE, damaged(WIDE)), { code: "CODEC_CORRUPT" });
  assert.equal((await zstdLibrary()).memoryBytes, memoryBytes);
});
