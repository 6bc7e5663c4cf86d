/**
 * The codecs beyond the table's single rows: cut at every byte, both engines on the same bytes, bombs with the memory watched.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import { crc32, deflateRawSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { gunzipSync } from "fflate";
import { StrataError } from "../../src/errors.js";
import { imageLimits } from "../../src/limits.js";
import type { Codec } from "../../src/oci/media-types.js";
import { ByteInput, type ChunkSource } from "../../workers/byte-input.js";
import { gunzip } from "../../workers/gunzip.js";
import { inflate } from "../../workers/inflate.js";
import { file, header, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { openDescriptors, outcomeOfBytes, withUnpacked } from "../workers/unpacking.js";
import { frame, singleSegment, skippable, zeros } from "./zstd-frames.js";

const T = tar(file("a", "hello"));
const TREE = new Map([["a", "file hello"]]);
const BIG = tar(file("a", createHash("shake256", { outputLength: 100_000 }).digest()));

/** The bytes, or the code of the refusal. */
type Inflated = Buffer | string;

function inPieces(blob: Buffer, pieceBytes: number): ChunkSource {
  let at = 0;
  return async () => {
    if (at >= blob.length) return undefined;
    at += pieceBytes;
    return Buffer.from(blob.subarray(at - pieceBytes, at));
  };
}

async function collected(chunks: () => AsyncIterable<Buffer> | Promise<AsyncIterable<Buffer>>): Promise<Inflated> {
  try {
    const out: Buffer[] = [];
    for await (const chunk of await chunks()) out.push(Buffer.from(chunk));
    return Buffer.concat(out);
  } catch (thrown) {
    if (thrown instanceof StrataError) return thrown.code;
    throw thrown;
  }
}

/** The codec alone, its input in pieces of `pieceBytes`. */
const inflated = (codec: Codec, blob: Buffer, pieceBytes = blob.length): Promise<Inflated> =>
  collected(async () => (await inflate(codec, inPieces(blob, pieceBytes), imageLimits)).chunks);

/** gzip by the stream that large members take, however small this one is. */
const streamed = (blob: Buffer): Promise<Inflated> =>
  collected(() => gunzip(new ByteInput(inPieces(blob, blob.length)), imageLimits, { smallMemberBytes: 0 }));

suite("gzip", () => {
  test("a small blob that is cut anywhere is truncated, whichever engine reads it", async () => {
    const whole = gzipSync(T);
    for (let end = 0; end < whole.length; end += 1) {
      const cut = whole.subarray(0, end);
      assert.equal(await inflated("gzip", cut), "CODEC_TRUNCATED", `cut to ${end} bytes`);
      if (end > 0) assert.equal(await streamed(cut), "CODEC_TRUNCATED");
    }
  });

  test("a large blob that is cut at its borders is truncated", async () => {
    const whole = gzipSync(BIG, { level: 1 });
    assert.ok(whole.length > 20_000);
    for (const end of [1, 9, 10, 11, 5000, whole.length - 9, whole.length - 8, whole.length - 7, whole.length - 1]) {
      assert.equal(await inflated("gzip", whole.subarray(0, end)), "CODEC_TRUNCATED", `cut to ${end} bytes`);
    }
  });

  test("a member inflated at once and the stream give the same bytes or the same code, and fflate the same bytes", async () => {
    const level = fc.constantFrom<0 | 1 | 6 | 9>(0, 1, 6, 9);
    const flip = fc.record({ at: fc.nat(4000), mask: fc.integer({ min: 1, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        level,
        fc.array(flip, { maxLength: 2 }),
        async (data, how, flips) => {
          const gzip = gzipSync(Buffer.from(data), { level: how });
          for (const { at, mask } of flips) {
            const spot = 10 + (at % (gzip.length - 10));
            gzip[spot] = (gzip[spot] as number) ^ mask;
          }
          const result = await inflated("gzip", gzip);
          assert.deepEqual(result, await streamed(gzip));
          if (Buffer.isBuffer(result)) assert.deepEqual(Buffer.from(gunzipSync(gzip)), result);
        },
      ),
      { numRuns: 1500 },
    );
  });

  test("what comes in pieces of any size gives the same bytes", async () => {
    const blobs = [
      gzipSync(BIG),
      Buffer.concat([gzipSync(BIG.subarray(0, 777)), gzipSync(BIG.subarray(777)), Buffer.alloc(9)]),
    ];
    for (const blob of blobs) {
      for (const pieceBytes of [61, 511, 4096, 65_537])
        assert.deepEqual(await inflated("gzip", blob, pieceBytes), BIG, `pieces of ${pieceBytes}`);
    }
  });

  test("a length beyond 2^32 is not believed: the footer counts modulo 2^32, the stream is what counts", async () => {
    const deflated = deflateRawSync(T);
    const footer = Buffer.alloc(8);
    footer.writeUInt32LE(crc32(T), 0);
    footer.writeUInt32LE(0xffff_ffff, 4);
    const blob = Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]), deflated, footer]);
    assert.equal(await inflated("gzip", blob), "CODEC_CORRUPT");
  });

  test("thousands of empty members are read in time", async () => {
    const empty = gzipSync(Buffer.alloc(0));
    const blob = Buffer.concat([...Array<Buffer>(5000).fill(empty), gzipSync(T)]);
    assert.deepEqual(await inflated("gzip", blob, 64 * 1024), T);
  });
});

suite("zstd", () => {
  const rows: readonly [string, Buffer, string | ReadonlyMap<string, string>][] = [
    ["one frame", frame(T), TREE],
    ["several frames", Buffer.concat([frame(T.subarray(0, 700)), frame(T.subarray(700))]), TREE],
    [
      "an empty frame between",
      Buffer.concat([frame(T.subarray(0, 700)), frame(Buffer.alloc(0)), frame(T.subarray(700))]),
      TREE,
    ],
    [
      "skippable frames before, between and after",
      Buffer.concat([
        skippable(Buffer.from("before")),
        frame(T.subarray(0, 9)),
        skippable(Buffer.alloc(0)),
        frame(T.subarray(9)),
        skippable(Buffer.alloc(70_000)),
      ]),
      TREE,
    ],
    ["a window of 128 MiB", frame(T, { window: 0x88 }), TREE],
    ["a window beyond 128 MiB", frame(T, { window: 0x89 }), "LIMIT_WINDOW"],
    ["the widest window", frame(T, { window: 0xff }), "LIMIT_WINDOW"],
    ["a single segment beyond 128 MiB", singleSegment(2n ** 27n + 1n), "LIMIT_WINDOW"],
    ["a single segment of 2^63 bytes", singleSegment(2n ** 63n), "LIMIT_WINDOW"],
    ["one byte after the frame", Buffer.concat([frame(T), Buffer.from("x")]), "CODEC_TRAILING"],
    ["zeros after the frame", Buffer.concat([frame(T), Buffer.alloc(16)]), "CODEC_TRAILING"],
    ["gzip after the frame", Buffer.concat([frame(T), gzipSync(T)]), "CODEC_TRAILING"],
    ["a second frame that is cut", Buffer.concat([frame(T), frame(T).subarray(0, 5)]), "CODEC_TRUNCATED"],
    ["a second frame cut in its magic", Buffer.concat([frame(T), frame(T).subarray(0, 3)]), "CODEC_TRUNCATED"],
    ["a skippable frame cut in its header", Buffer.concat([frame(T), skippable(T).subarray(0, 6)]), "CODEC_TRUNCATED"],
    ["a skippable frame that is cut", Buffer.concat([frame(T), skippable(T).subarray(0, 100)]), "CODEC_TRUNCATED"],
    ["a skippable frame alone", skippable(T), "TAR_TRUNCATED"],
    [
      "a skippable frame that claims 4 GiB",
      Buffer.from([0x53, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff]),
      "CODEC_TRUNCATED",
    ],
    ["a reserved block", Buffer.concat([frame(T).subarray(0, 6), Buffer.from([7, 0, 0])]), "CODEC_CORRUPT"],
    [
      "a reserved bit",
      Buffer.concat([frame(T).subarray(0, 4), Buffer.from([8]), frame(T).subarray(5)]),
      "CODEC_CORRUPT",
    ],
    [
      "a compressed block of noise",
      Buffer.concat([frame(T).subarray(0, 6), Buffer.from([0x45, 0, 0]), Buffer.alloc(8, 0xa5)]),
      "CODEC_CORRUPT",
    ],
    ["nothing", Buffer.alloc(0), "CODEC_TRUNCATED"],
  ];
  for (const [title, blob, answer] of rows) {
    test(`${title}: ${typeof answer === "string" ? answer : "accepted"}`, async () => {
      assert.deepEqual(await outcomeOfBytes(blob, { codec: "zstd" }), answer);
    });
  }

  test("a frame that is cut anywhere is truncated", async () => {
    const whole = frame(T);
    for (let end = 0; end < whole.length; end += 13)
      assert.equal(await inflated("zstd", whole.subarray(0, end)), "CODEC_TRUNCATED", `cut to ${end} bytes`);
  });

  const zstd = toolOrSkip("zstd");
  for (const options of [["-1"], ["-19"], ["-3", "--no-check"], ["--fast=5"], ["-19", "--long=27"]]) {
    test(`what zstd ${options.join(" ")} compressed is read, in pieces of any size`, { skip: zstd.skip }, async () => {
      const blob = execFileSync(zstd.path as string, ["-q", "-c", ...options], { input: BIG });
      for (const pieceBytes of [97, 4096, blob.length]) assert.deepEqual(await inflated("zstd", blob, pieceBytes), BIG);
      for (const end of [7, 200, blob.length - 1])
        assert.equal(await inflated("zstd", blob.subarray(0, end)), "CODEC_TRUNCATED");
    });
  }
});

suite("bombs", () => {
  const ZEROS = 200 * 1024 * 1024;
  const BOUND_BYTES = 96 * 1024 * 1024;
  const huge = (): Buffer =>
    Buffer.concat([header({ name: "zeros", size: ZEROS }), Buffer.alloc(ZEROS), Buffer.alloc(1024)]);
  const gzipped = gzipSync(huge(), { level: 1 });
  const zstdBomb = Buffer.concat([frame(header({ name: "zeros", size: ZEROS })), zeros(ZEROS / (128 * 1024))]);

  const rows = [
    ["gzip", gzipped, { ratioFloorBytes: 1 << 20, maxRatio: 100 }, "LIMIT_RATIO"],
    ["gzip", gzipped, { maxLayerBytes: ZEROS + 512 }, "LIMIT_BYTES"],
    ["zstd", zstdBomb, {}, "LIMIT_RATIO"],
    ["zstd", zstdBomb, { maxRatio: 1e9, maxLayerBytes: ZEROS }, "LIMIT_BYTES"],
  ] as const;
  for (const [codec, blob, limits, code] of rows) {
    test(`200 MiB of zeros in ${(blob.length / 1024).toFixed(0)} KiB of ${codec}: ${code}, the memory bounded`, async () => {
      const [open, before] = [openDescriptors(), process.memoryUsage().rss];
      let peak = before;
      const watch = setInterval(() => {
        peak = Math.max(peak, process.memoryUsage().rss);
      }, 5);
      try {
        assert.equal(await outcomeOfBytes(blob, { codec, limits }), code);
      } finally {
        clearInterval(watch);
      }
      assert.ok(peak - before < BOUND_BYTES, `the memory grew by ${((peak - before) / 1e6).toFixed(0)} MB`);
      assert.equal(openDescriptors(), open);
    });
  }

  test("many tiny files in a small blob: LIMIT_ENTRIES", async () => {
    const many = Buffer.concat(Array.from({ length: 3000 }, (_, i) => file(`f${i}`)));
    const limits = { maxEntriesPerLayer: 1000 };
    assert.equal(await outcomeOfBytes(gzipSync(many), { codec: "gzip", limits }), "LIMIT_ENTRIES");
  });
});

suite("what the descriptor says", () => {
  const gzip = gzipSync(T);
  const rows = [
    ["fewer bytes than the file: only so many are read", { length: gzip.length - 1 }, "CODEC_TRUNCATED"],
    ["more bytes than the file", { length: gzip.length + 1 }, "SIZE_MISMATCH"],
    ["another diffID", { expected: { diffId: `sha256:${"0".repeat(64)}` } }, "DIFF_ID_MISMATCH"],
    ["another digest", { expected: { digest: `sha256:${"0".repeat(64)}` } }, "DIGEST_MISMATCH"],
  ] as const;
  for (const [title, options, code] of rows) {
    test(`${title}: ${code}`, async () => {
      assert.equal(await outcomeOfBytes(gzip, { codec: "gzip", ...(options as object) }), code);
    });
  }

  test("a wrong digest outranks what the damage looks like", async () => {
    const damaged = Buffer.from(gzip);
    damaged[20] = (damaged[20] as number) ^ 0xff;
    const expected = { digest: `sha256:${"1".repeat(64)}` } as never;
    await withUnpacked(damaged, { codec: "gzip", expected }, ({ error }) =>
      assert.equal(error?.code, "DIGEST_MISMATCH"),
    );
  });
});
