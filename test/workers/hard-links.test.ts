/**
 * More hard links than the file system gives one file (65,000 on ext4): the layer is whole, on as few inodes as there can be.
 */
import assert from "node:assert/strict";
import { statfsSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { file, hardlink, tar } from "../support/tar-builder.js";
import { withUnpacked } from "./unpacking.js";

const EXT4 = 0xef53;
const EXT4_LINKS = 65_000;
const NAMES = EXT4_LINKS + 100;

test("65,100 names of one file are unpacked, whatever the file system's limit", { timeout: 60_000 }, async (t) => {
  const isExt4 = statfsSync(tmpdir()).type === EXT4;
  const archive = tar(file("f0", "x"), ...Array.from({ length: NAMES - 1 }, (_, i) => hardlink(`f${i + 1}`, "f0")));
  await withUnpacked(archive, {}, ({ error, layer, changeset, staging }) => {
    assert.equal(error, undefined, error?.message);
    assert.equal(changeset.length, NAMES);
    const stats = [0, EXT4_LINKS + 50].map((i) => statSync(join(staging, "tree", `f${i}`)));
    assert.deepEqual(stats.map(({ size, mode, mtimeMs }) => [size, mode, mtimeMs])[0], [1, 0o100444, 1.7e12]);
    assert.equal(
      stats.reduce((links, { nlink }) => links + nlink, 0),
      isExt4 ? NAMES : 2 * NAMES,
    );
    assert.equal(layer?.splitLinks, isExt4 ? 1 : 0);
  });
  t.diagnostic(isExt4 ? "on ext4" : "on a file system without that limit");
});
