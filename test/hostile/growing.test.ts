/**
 * Blobs that grow while the worker reads them: however the bytes arrive, the same layer; a download that fails is a refusal.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { GrowthWriter } from "../../src/growth.js";
import type { Codec } from "../../src/oci/media-types.js";
import { file, tar } from "../support/tar-builder.js";
import { openDescriptors, type Unpacked, unpackFile, withUnpacked } from "../workers/unpacking.js";
import { frame } from "./zstd-frames.js";

const LETTERS = Array.from({ length: 40_000 }, (_, i) => 97 + ((i * i) % 23));
const T = tar(file("a", Buffer.from(LETTERS)), file("b", "hello"));

/** Unpacks a file that `write` fills while the worker reads it. */
async function whileGrowing(
  codec: Codec,
  length: number,
  write: (append: (bytes: Buffer) => Promise<void>, growth: GrowthWriter) => Promise<void>,
): Promise<Unpacked> {
  const work = mkdtempSync(join(tmpdir(), "growing-"));
  const alive = setInterval(() => undefined, 1000);
  try {
    const path = join(work, "blob");
    writeFileSync(path, "");
    const growth = new GrowthWriter();
    let written = 0;
    const unpacking = unpackFile(path, work, { codec, length, growth: growth.shared });
    await write(async (bytes) => {
      appendFileSync(path, bytes);
      written += bytes.length;
      growth.advance(written);
      await nextTurn();
    }, growth);
    return await unpacking;
  } finally {
    clearInterval(alive);
    rmSync(work, { recursive: true, force: true });
  }
}

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
