/**
 * Blobs that grow while the worker reads them: however the bytes arrive, the same layer; a download that fails is a refusal.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { constants, deflateRawSync, gzipSync } from "node:zlib";
import type { GrowthWriter } from "../../src/growth.js";
import type { Codec } from "../../src/oci/media-types.js";
import { file, header, tar } from "../support/tar-builder.js";
import { type Append, whileGrowing } from "../workers/growing-blob.js";
import { openDescriptors, unpackFile, withUnpacked } from "../workers/unpacking.js";
import { frame } from "./zstd-frames.js";

const LETTERS = Array.from({ length: 40_000 }, (_, i) => 97 + ((i * i) % 23));
const T = tar(file("a", Buffer.from(LETTERS)), file("b", "hello"));

const feed =
  (blob: Buffer, pieceBytes: number) =>
  async (append: Append, growth: GrowthWriter): Promise<void> => {
    for (let at = 0; at < blob.length; at += pieceBytes) {
      await append(blob.subarray(at, at + pieceBytes));
      // Long enough for the codec to have made of it what it can.
      for (let turn = 0; turn < 3000; turn += 1) await nextTurn();
    }
    growth.complete();
  };

const EMPTY_BLOCK = Buffer.from([0, 0, 0, 0xff, 0xff]);
const RESERVED_BLOCK = Buffer.from([7]);
const GZIP_HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
const flushed = (bytes: Buffer): Buffer => deflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
/** A refused entry, so many bytes of nothing, and a block that cannot be. */
const damagedBehind = (bytes: number): Buffer =>
  Buffer.concat([
    GZIP_HEADER,
    Buffer.alloc(100_000, EMPTY_BLOCK),
    flushed(tar(file("../x"))),
    Buffer.alloc(bytes, EMPTY_BLOCK),
    RESERVED_BLOCK,
    Buffer.alloc(60_000),
  ]);
const ZEROS = 12 * 1024 * 1024;

const paceless: readonly (readonly [string, Buffer, string | undefined, object])[] = [
  [
    "a refused entry at the start of a long download",
    gzipSync(tar(file("../x"), file("noise", randomBytes(1_000_000)))),
    "PATH_TRAVERSAL",
    {},
  ],
  ["a refused entry well before damage", damagedBehind(60_000), "PATH_TRAVERSAL", {}],
  ["a refused entry in one piece with the damage", damagedBehind(5_000), "CODEC_CORRUPT", {}],
  [
    "a dense start of a layer that is not dense",
    Buffer.concat([
      gzipSync(Buffer.concat([header({ name: "zeros", size: ZEROS }), Buffer.alloc(ZEROS)]), { level: 9 }),
      gzipSync(tar(file("noise", randomBytes(1_000_000)))),
    ]),
    undefined,
    { ratioFloorBytes: 1 << 20, maxRatio: 30 },
  ],
];

const blobs: readonly (readonly [Codec, Buffer])[] = [
  ["none", T],
  ["gzip", gzipSync(T)],
  ["zstd", frame(T)],
];

suite("a growing blob", () => {
  for (const [codec, blob] of blobs) {
    for (const pieceBytes of [100, 4096, 100_000]) {
      test(`${codec}: pieces of ${pieceBytes} bytes give the layer that the whole gives`, async () => {
        const whole = await withUnpacked(blob, { codec }, (unpacked) => unpacked);
        const grown = await whileGrowing(codec, blob.length, async (append, growth) => {
          for (let at = 0; at < blob.length; at += pieceBytes) await append(blob.subarray(at, at + pieceBytes));
          growth.complete();
        });
        assert.deepEqual(grown.tree, whole.tree);
        assert.equal(grown.layer?.diffId, whole.layer?.diffId);
      });
    }

    test(`${codec}: a download that fails in the middle is SIZE_MISMATCH`, async () => {
      const open = openDescriptors();
      const { error } = await whileGrowing(codec, blob.length, async (append, growth) => {
        await append(blob.subarray(0, blob.length / 2));
        growth.fail();
      });
      assert.equal(error?.code, "SIZE_MISMATCH");
      assert.equal(openDescriptors(), open);
    });

    test(`${codec}: a download that ends early is SIZE_MISMATCH`, async () => {
      const { error } = await whileGrowing(codec, blob.length, async (append, growth) => {
        await append(blob.subarray(0, -1));
        growth.complete();
      });
      assert.equal(error?.code, "SIZE_MISMATCH");
    });
  }

  for (const [title, blob, code, limits] of paceless) {
    test(`${title}: ${code ?? "accepted"}, at any pace`, async () => {
      const expected = { digest: `sha256:${createHash("sha256").update(blob).digest("hex")}` } as never;
      const whole = await withUnpacked(blob, { codec: "gzip", expected, limits }, ({ error }) => error?.code);
      assert.equal(whole, code);
      for (const pieceBytes of [20_000, 262_144]) {
        const { error } = await whileGrowing("gzip", blob.length, feed(blob, pieceBytes), { expected, limits });
        assert.equal(error?.code, code, `pieces of ${pieceBytes}`);
      }
    });
  }

  test("a download that fails before its first byte is SIZE_MISMATCH", async () => {
    const { error } = await whileGrowing("gzip", 100, async (_append, growth) => growth.fail());
    assert.equal(error?.code, "SIZE_MISMATCH");
  });

  test("what is there when a download fails is read no further than it was written", async () => {
    const { error } = await whileGrowing("none", 1 << 20, async (append, growth) => {
      await append(T);
      growth.fail();
    });
    assert.equal(error?.code, "SIZE_MISMATCH");
  });

  test("bytes beyond what the descriptor says are not read", async () => {
    const grown = await whileGrowing("none", T.length, async (append, growth) => {
      await append(Buffer.concat([T, Buffer.from("garbage")]));
      growth.complete();
    });
    assert.equal(grown.error, undefined);
    assert.equal(grown.layer?.tarBytes, T.length);
  });
});

suite("a blob that is another thing by the time the worker looks", () => {
  const swaps: readonly (readonly [string, string, (path: string) => unknown])[] = [
    ["a symlink", "LAYOUT_INVALID", (path) => symlinkSync("/etc/passwd", path)],
    ["a FIFO", "LAYOUT_INVALID", (path) => execFileSync("mkfifo", [path])],
    ["a directory", "LAYOUT_INVALID", (path) => mkdirSync(path)],
    ["gone", "BLOB_UNKNOWN", () => undefined],
  ];
  for (const [what, code, swap] of swaps) {
    test(`${what}: ${code}, at once`, { timeout: 5000 }, async () => {
      const open = openDescriptors();
      const work = mkdtempSync(join(tmpdir(), "swapped-"));
      try {
        swap(join(work, "blob"));
        const { error } = await unpackFile(join(work, "blob"), work, { length: T.length });
        assert.equal(error?.code, code);
        assert.equal(openDescriptors(), open);
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    });
  }
});
