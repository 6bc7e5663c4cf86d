/**
 * Somebody who may write in staging swaps a directory for a symlink while a layer is written there: nothing is made, changed or
 * removed where the symlink leads. The blob stops where the swap is made, so that each of these is no race; then one that is.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import remove from "../../workers/remove.js";
import { BLOCK, directory, END, file, hardlink, symlink } from "../support/tar-builder.js";
import { whileGrowing } from "../workers/growing-blob.js";

const outside = mkdtempSync(join(tmpdir(), "outside-"));
after(() => rmSync(outside, { recursive: true }));
mkdirSync(join(outside, "b"));
for (const name of ["canary", "b/canary"]) writeFileSync(join(outside, name), "alive", { mode: 0o640 });

/** Everything that a write through the symlink could change. */
const facts = (): readonly unknown[] =>
  ["", "b", "canary", "b/canary"].map((name) => {
    const path = join(outside, name);
    const { mode, nlink, mtimeMs, ctimeMs } = statSync(path);
    return [
      mode,
      nlink,
      mtimeMs,
      ctimeMs,
      lstatSync(path).isDirectory() ? readdirSync(path) : readFileSync(path, "utf8"),
    ];
  });
const before = facts();

function swap(path: string): void {
  renameSync(path, `${path}.moved`);
  symlinkSync(outside, path);
}

async function untilThere(path: string): Promise<void> {
  while (!existsSync(path)) await nextTurn();
}

const large = "x".repeat(1 << 20);

suite("a directory of staging that is swapped for a symlink", () => {
  const a = Buffer.concat([directory("a"), directory("a/b"), file("a/b/first", large)]);
  const rows: readonly (readonly [title: string, swapped: string, rest: readonly Buffer[]])[] = [
    ["a small file below it", "tree/a", [file("a/small", "x")]],
    ["a small file far below it", "tree/a", [file("a/b/small", "x")]],
    ["a small file below its subdirectory", "tree/a/b", [file("a/b/small", "x")]],
    ["a file of its target's name", "tree/a", [file("a/canary", "overwritten")]],
    ["a large file below it", "tree/a", [file("a/large", large)]],
    ["a directory below it", "tree/a", [directory("a/c")]],
    ["an implied directory below it", "tree/a", [file("a/c/d/e")]],
    ["a symlink below it", "tree/a", [symlink("a/s", "x")]],
    ["a hard link below it", "tree/a", [hardlink("a/h", "a/b/first")]],
    ["a hard link to what is below it", "tree/a/b", [hardlink("h", "a/b/canary"), file("a/b/other")]],
    ["its mode and time", "tree/a", []],
    ["its subdirectory's mode and time", "tree/a/b", []],
    ["the tree itself", "tree", [file("a/small", "x"), file("top", "x"), directory("dir"), file("large", large)]],
  ];
  for (const [title, swapped, rest] of rows) {
    test(`${title} is not made or changed where the symlink leads`, async () => {
      const tail = Buffer.concat([...rest, END]);
      await whileGrowing("none", a.length + tail.length, async (append, growth, staging) => {
        await append(a);
        await untilThere(join(staging, "tree/a/b/first"));
        swap(join(staging, swapped));
        await append(tail);
        growth.complete();
      });
      assert.deepEqual(facts(), before);
    });
  }

  test("a process that swaps directories all the time moves no write", { timeout: 60_000 }, async () => {
    const entries = Array.from({ length: 40 }, (_, i) => [
      directory(`d${i % 4}/e${i}`),
      file(`d${i % 4}/e${i}/canary`, "overwritten"),
      file(`d${i % 4}/e${i}/large`, large),
      symlink(`d${i % 4}/e${i}/s`, "x"),
    ]).flat();
    for (let round = 0; round < 5; round += 1) {
      await whileGrowing("none", Buffer.concat(entries).length + END.length, async (append, growth, staging) => {
        await append(Buffer.concat(entries.slice(0, 4)));
        await untilThere(join(staging, "tree/d0"));
        const swapper = spawn(process.execPath, ["-e", SWAPPER, join(staging, "tree"), outside]);
        await once(swapper.stdout, "data");
        for (const entry of entries.slice(4)) await append(entry);
        await append(END);
        growth.complete();
        swapper.kill("SIGKILL");
        await once(swapper, "exit");
      });
      assert.deepEqual(facts(), before);
    }
  });
});

/** Swaps every directory that comes, there and back, until it is killed. */
const SWAPPER = `
const fs = require("node:fs"), [tree, outside] = process.argv.slice(1);
process.stdout.write("started");
for (;;) for (const name of fs.readdirSync(tree)) try {
  const path = tree + "/" + name;
  if (name.endsWith(".moved") || !fs.lstatSync(path).isDirectory()) continue;
  fs.renameSync(path, path + ".moved");
  fs.symlinkSync(outside, path);
  fs.unlinkSync(path);
  fs.renameSync(path + ".moved", path);
} catch {}
`;

suite("removal", () => {
  const top = mkdtempSync(join(tmpdir(), "removal-"));
  after(() => rmSync(top, { recursive: true, force: true }));

  test("what symlinks lead to stays, in whatever place they stand", async () => {
    const path = join(top, "linked");
    mkdirSync(join(path, "a/b"), { recursive: true });
    for (const name of ["s", "a/s", "a/b/s"]) symlinkSync(outside, join(path, name));
    assert.deepEqual(await remove({ path }), { ok: true, value: { removed: true } });
    assert.equal(existsSync(path), false);
    assert.deepEqual(facts(), before);
  });

  test("a directory 5,000 levels deep is removed with all in it", async () => {
    const path = join(top, "deep");
    const level = `d/${"d/".repeat(49)}`;
    mkdirSync(join(path, level), { recursive: true });
    // Paths end at 4,096 bytes: what is deeper comes by renames.
    for (let levels = 50; levels < 5000; levels += 50) {
      mkdirSync(join(path, "above", level), { recursive: true });
      renameSync(join(path, "d"), join(path, "above", level, "d"));
      renameSync(join(path, "above/d"), join(path, "d"));
    }
    writeFileSync(join(path, "file"), "x".repeat(BLOCK));
    assert.deepEqual(await remove({ path }), { ok: true, value: { removed: true } });
    assert.equal(existsSync(path), false);
  });

  test("a directory that is not there is removed already", async () => {
    assert.deepEqual(await remove({ path: join(top, "nothing") }), { ok: true, value: { removed: true } });
  });
});
