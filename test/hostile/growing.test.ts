/**
 * Blobs that grow while the worker reads them: however the bytes arrive, the same layer; a download that fails is a refusal.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { gzipSync } from "node:zlib";
import type { Codec } from "../../src/oci/media-types.js";
import { file, tar } from "../support/tar-builder.js";
import { whileGrowing } from "../workers/growing-blob.js";
import { openDescriptors, withUnpacked } from "../workers/unpacking.js";
import { frame } from "./zstd-frames.js";

const LETTERS = Array.from({ length: 40_000 }, (_, i) => 97 + ((i * i) % 23));
const T = tar(file("a", Buffer.from(LETTERS)), file("b", "hello"));

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
