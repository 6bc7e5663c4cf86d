/**
 * The codecs beyond the table's single rows: cut at every byte, both engines on the same bytes, bombs with the memory watched.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { suite, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { constants, crc32, deflateRawSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { StrataError } from "../../src/errors.js";
import { imageLimits } from "../../src/limits.js";
import type { Codec } from "../../src/oci/media-types.js";
import { type Decoders, decoderChoices } from "../../src/tasks.js";
import { ByteInput, type ChunkSource } from "../../workers/byte-input.js";
import { inflateNatively } from "../../workers/deflate-native.js";
import { type DeflateEngine, gunzip } from "../../workers/gunzip.js";
import { inflate } from "../../workers/inflate.js";
import { zstdLibrary } from "../../workers/zstd-library.js";
import { file, header, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { openDescriptors, outcomeOfBytes, withUnpacked } from "../workers/unpacking.js";
import { frame, zeros } from "./zstd-frames.js";

const T = tar(file("a", "hello"));
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
const inflated = (
  codec: Codec,
  blob: Buffer,
  pieceBytes = blob.length,
  decoders: Decoders = "native",
): Promise<Inflated> =>
  collected(
    async () =>
      (await inflate(codec, inPieces(blob, pieceBytes), { blobBytes: blob.length, limits: imageLimits, decoders }))
        .chunks,
  );

/** What every Node that this runs on has. */
const native = inflateNatively as DeflateEngine;
const memory = Buffer.alloc(256 * 1024);
const room = async (): Promise<Buffer> => memory;

const byFflate = (blob: Buffer, pieceBytes = blob.length): Promise<Inflated> =>
  inflated("gzip", blob, pieceBytes, "javascript");

suite("gzip", () => {
  test("this Node has the native engine, and it is the default", async () => {
    assert.ok(inflateNatively);
    const { decoder } = await inflate("gzip", inPieces(gzipSync(T), 100), { blobBytes: 100, limits: imageLimits });
    assert.equal(decoder, "node:zlib");
  });

  test("a small blob that is cut anywhere is truncated, whichever engine reads it", async () => {
    const whole = gzipSync(T);
    for (let end = 0; end < whole.length; end += 1) {
      const cut = whole.subarray(0, end);
      assert.equal(await inflated("gzip", cut), "CODEC_TRUNCATED", `cut to ${end} bytes`);
      assert.equal(await byFflate(cut), "CODEC_TRUNCATED", `cut to ${end} bytes`);
    }
  });

  test("a large blob that is cut at its borders is truncated", async () => {
    const whole = gzipSync(BIG, { level: 1 });
    assert.ok(whole.length > 20_000);
    for (const end of [1, 9, 10, 11, 5000, whole.length - 9, whole.length - 8, whole.length - 7, whole.length - 1]) {
      assert.equal(await inflated("gzip", whole.subarray(0, end)), "CODEC_TRUNCATED", `cut to ${end} bytes`);
      assert.equal(await byFflate(whole.subarray(0, end)), "CODEC_TRUNCATED", `cut to ${end} bytes`);
    }
  });

  test("pieces of any size give the same bytes or the same code, and fflate the same bytes where they do", async () => {
    const level = fc.constantFrom<0 | 1 | 6 | 9>(0, 1, 6, 9);
    const flip = fc.record({ at: fc.nat(4000), mask: fc.integer({ min: 1, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        level,
        fc.array(flip, { maxLength: 2 }),
        fc.integer({ min: 1, max: 400 }),
        async (data, how, flips, pieceBytes) => {
          const gzip = gzipSync(Buffer.from(data), { level: how });
          for (const { at, mask } of flips) {
            const spot = 10 + (at % (gzip.length - 10));
            gzip[spot] = (gzip[spot] as number) ^ mask;
          }
          const result = await inflated("gzip", gzip);
          assert.deepEqual(await inflated("gzip", gzip, pieceBytes), result);
          const other = await byFflate(gzip);
          if (Buffer.isBuffer(result)) assert.deepEqual(other, result);
          else if (!Buffer.isBuffer(other)) assert.match(other, /^CODEC_/);
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
        for (const decoders of decoderChoices)
          assert.deepEqual(await inflated("gzip", blob, pieceBytes, decoders), BIG, `pieces of ${pieceBytes}`);
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

  test("what a damaged stream gives before it fails is the same for a slow consumer", async () => {
    const flush = { finishFlush: constants.Z_SYNC_FLUSH };
    const empty = Buffer.from([0, 0, 0, 0xff, 0xff]);
    const noise = createHash("shake256", { outputLength: 5000 }).digest();
    // More than a chunk; a little, and nothing more from a long piece; damage.
    const chunks = [
      deflateRawSync(Buffer.alloc(1_050_000), flush),
      Buffer.concat([deflateRawSync(noise, flush), Buffer.alloc(300_000, empty)]),
      Buffer.concat([empty, Buffer.from([7])]),
    ];
    for (const turns of [0, 1000]) {
      const left = chunks.map((chunk) => Buffer.from(chunk));
      let bytes = 0;
      const read = async (): Promise<void> => {
        for await (const chunk of native(new ByteInput(async () => left.shift()), room)) {
          bytes += chunk.length;
          for (let turn = 0; turn < turns; turn += 1) await nextTurn();
        }
      };
      await assert.rejects(read, { code: "CODEC_CORRUPT" });
      assert.equal(bytes, 1_055_000, `${turns} turns`);
    }
  });

  test("of many members no more is read ahead than a piece or two, and not more with each", async () => {
    const CHUNK = 256 * 1024;
    const [header, deflated] = [Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]), deflateRawSync(Buffer.alloc(0))];
    const blocks = Buffer.alloc(33_500, Buffer.from([0, 0, 0, 0xff, 0xff]));
    const blob = Buffer.concat(
      Array(200)
        .fill([header, blocks, deflated, Buffer.alloc(8)])
        .flat(),
    );
    let given = 0;
    const input = new ByteInput(async () => {
      given += CHUNK;
      return given - CHUNK < blob.length ? Buffer.from(blob.subarray(given - CHUNK, given)) : undefined;
    });
    let taken = 0;
    const skip = input.skip.bind(input);
    input.skip = (bytes) => {
      // Each member's header is taken by itself: all members before it are behind us.
      if (bytes === header.length) {
        assert.ok(given - taken <= 4 * CHUNK, `${given - taken} bytes ahead`);
        taken += blob.length / 200;
      }
      skip(bytes);
    };
    for await (const _ of gunzip(input, { limits: imageLimits, room }, native));
    assert.equal(taken, blob.length);
  });

  test("thousands of empty members are read in time", async () => {
    const empty = gzipSync(Buffer.alloc(0));
    const blob = Buffer.concat([...Array<Buffer>(5000).fill(empty), gzipSync(T)]);
    for (const decoders of decoderChoices) assert.deepEqual(await inflated("gzip", blob, 64 * 1024, decoders), T);
  });
});

suite("zstd", () => {
  test("a frame that is cut anywhere is truncated", async () => {
    const whole = frame(T);
    for (let end = 0; end < whole.length; end += 13)
      for (const decoders of decoderChoices)
        assert.equal(await inflated("zstd", whole.subarray(0, end), end, decoders), "CODEC_TRUNCATED", `cut to ${end}`);
  });

  const zstd = toolOrSkip("zstd");
  const lines = Array.from({ length: 30_000 }, (_, i) => `${i % 977} is a line of ${i}\n`).join("");
  const tarOfBoth = Buffer.concat([BIG, tar(file("b", lines))]);
  const options = [
    ["-1"],
    ["-19"],
    ["-3", "--no-check"],
    ["--fast=5"],
    ["-19", "--long=27"],
    ["-3", "--zstd=wlog=10"],
    ["-3", "--no-content-size"],
  ];
  for (const flags of options) {
    test(`what zstd ${flags.join(" ")} compressed is read, in pieces of any size`, { skip: zstd.skip }, async () => {
      const blob = execFileSync(zstd.path as string, ["-q", "-c", ...flags], { input: tarOfBoth });
      for (const decoders of decoderChoices) {
        for (const pieceBytes of [97, 4096, blob.length])
          assert.ok(tarOfBoth.equals((await inflated("zstd", blob, pieceBytes, decoders)) as Buffer));
        for (const end of [7, 200, blob.length - 1])
          assert.equal(await inflated("zstd", blob.subarray(0, end), end, decoders), "CODEC_TRUNCATED");
      }
    });
  }

  test("a damaged frame gives block by block what libzstd makes of it at once, or is refused where that is", async () => {
    const [library, { Zstd }] = [await zstdLibrary(), await import("@hpcc-js/wasm-zstd")];
    const whole = await Zstd.load();
    const judged = (blob: Buffer): Buffer | undefined => {
      try {
        return Buffer.from(whole.decompress(blob));
      } catch {
        return undefined;
      }
    };
    const word = fc.constantFrom("layer ", "the", "\n", "\0\0\0\0", "import { ", "0123456789", "aaaaaaaaaaaa", "z");
    const data = fc.array(word, { minLength: 500, maxLength: 900 }).map((words) => Buffer.from(words.join("")));
    const flip = fc.record({ at: fc.nat(4000), mask: fc.integer({ min: 1, max: 255 }) });
    const frames = fc.record({ data, level: fc.constantFrom(1, 3, 19), flips: fc.array(flip, { maxLength: 2 }) });
    await fc.assert(
      fc.asyncProperty(frames, fc.nat(50), async ({ data, level, flips }, pieceBytes) => {
        const blob = library.compress(data, level);
        // Content of 256 bytes to 64 KiB: what follows are the blocks.
        const headerBytes = 7;
        for (const { at, mask } of flips) {
          const spot = headerBytes + (at % (blob.length - headerBytes));
          blob[spot] = (blob[spot] as number) ^ mask;
        }
        const result = await inflated("zstd", blob, pieceBytes + 1, "javascript");
        if (flips.length === 0) assert.deepEqual(result, data);
        if (typeof result === "string") assert.match(result, /^CODEC_/);
        assert.deepEqual(typeof result === "string" ? undefined : result, judged(blob));
      }),
      { numRuns: 500 },
    );
  });
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
  for (const [[codec, blob, limits, code], decoders] of rows.flatMap((row) =>
    decoderChoices.map((it) => [row, it] as const),
  )) {
    const size = `${(blob.length / 1024).toFixed(0)} KiB of ${codec}`;
    test(`200 MiB of zeros in ${size}: ${code} by ${decoders} decoders, the memory bounded`, async () => {
      const [open, before] = [openDescriptors(), process.memoryUsage().rss];
      let peak = before;
      const watch = setInterval(() => {
        peak = Math.max(peak, process.memoryUsage().rss);
      }, 5);
      try {
        assert.equal(await outcomeOfBytes(blob, { codec, limits, decoders }), code);
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

  for (const named of ["sha256", "sha512"])
    for (const hashed of ["sha256", "sha512"])
      test(`of a plain tar its digest in ${named} and its diffID in ${hashed} are both judged`, async () => {
        const hashOf = (algorithm: string) => `${algorithm}:${createHash(algorithm).update(T).digest("hex")}`;
        const expected = { digest: hashOf(named), diffId: hashOf(hashed) };
        await withUnpacked(T, { expected: expected as never }, ({ layer }) =>
          assert.equal(layer?.diffId, expected.diffId),
        );
        const wrong = (digest: string) => `${digest.slice(0, -4)}0000`;
        const outcome = (fields: object) => outcomeOfBytes(T, { expected: { ...expected, ...fields } as never });
        assert.equal(await outcome({ diffId: wrong(expected.diffId) }), "DIFF_ID_MISMATCH");
        assert.equal(await outcome({ digest: wrong(expected.digest) }), "DIGEST_MISMATCH");
      });

  test("a wrong digest outranks what the damage looks like", async () => {
    const damaged = Buffer.from(gzip);
    damaged[20] = (damaged[20] as number) ^ 0xff;
    const expected = { digest: `sha256:${"1".repeat(64)}` } as never;
    await withUnpacked(damaged, { codec: "gzip", expected }, ({ error }) =>
      assert.equal(error?.code, "DIGEST_MISMATCH"),
    );
  });
});
