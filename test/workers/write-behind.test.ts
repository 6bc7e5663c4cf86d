/**
 * Small files by two threads or one: whoever writes them, they are on the disk as they were given, and each is told once.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import fc from "fast-check";
import { openDirectory } from "../../workers/open-directories.js";
import { WriteBehind } from "../../workers/write-behind.js";
import { workDirectory } from "./work-directory.js";

const LARGEST = 512 * 1024;
const noise = randomBytes(2 * LARGEST);

const threads = (): number => readdirSync("/proc/self/task").length;

suite("write behind", () => {
  const work = workDirectory("write-behind");
  const behind = new WriteBehind();
  let serial = 0;

  /** Gives it these files, each in pieces of `pieceBytes`, and compares what is there. */
  function writes(sizes: readonly number[], pieceBytes: number, needsHelp: (file: number) => boolean): void {
    const directory = join(work, String(++serial));
    mkdirSync(directory);
    const tree = openDirectory(directory);
    const told = new Map<number, string>();
    let at = 0;
    try {
      behind.open({ tree, objects: undefined }, () => needsHelp(at));
      for (const [index, size] of sizes.entries()) {
        at = index;
        behind.add({ path: String(index), mode: 0o644, mtime: 0, size }, ({ sha256 }) => {
          assert.equal(told.has(index), false, "told once");
          told.set(index, sha256);
        });
        const content = noise.subarray(index, index + size);
        for (let done = 0; done < size; done += pieceBytes) behind.append(content.subarray(done, done + pieceBytes));
      }
      behind.flush();
    } finally {
      closeSync(tree);
    }
    for (const [index, size] of sizes.entries()) {
      const content = readFileSync(join(directory, String(index)));
      assert.ok(content.equals(noise.subarray(index, index + size)), `file ${index} has its content`);
      assert.equal(told.get(index), createHash("sha256").update(content).digest("hex"));
    }
    assert.equal(readdirSync(directory).length, sizes.length);
  }

  test("a reader that is not behind writes whole files at once, all files itself, and no thread is started", () => {
    const before = threads();
    const tree = openDirectory(work);
    behind.open({ tree, objects: undefined }, () => false);
    let isWritten = false;
    behind.add({ path: "whole", mode: 0o644, mtime: 0, size: 100 }, () => {
      isWritten = true;
    });
    behind.append(noise.subarray(0, 100));
    assert.ok(isWritten);
    behind.flush();
    closeSync(tree);
    writes(Array<number>(100).fill(100_000), LARGEST, () => false);
    writes(Array<number>(100).fill(100_000), 70_000, () => false);
    assert.equal(threads(), before);
  });

  test("one that is behind starts a helper with the first batch, once", () => {
    const before = threads();
    writes(Array<number>(200).fill(100_000), LARGEST, () => true);
    writes(Array<number>(200).fill(100_000), LARGEST, () => true);
    assert.equal(threads(), before + 1);
  });

  test("files come to the disk as they were given, however they are cut and whenever help is needed", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: LARGEST })), { maxLength: 40 }),
        fc.integer({ min: 1000, max: LARGEST }),
        fc.array(fc.boolean(), { minLength: 1, maxLength: 40 }),
        (sizes, pieceBytes, behind) => writes(sizes, pieceBytes, (file) => behind[file % behind.length] as boolean),
      ),
      { numRuns: 60 },
    );
  });

  test("what a refused archive left announced, batched and submitted is forgotten", () => {
    const directory = join(work, "refused");
    mkdirSync(directory);
    const tree = openDirectory(directory);
    behind.open({ tree, objects: undefined }, () => true);
    for (let index = 0; index < 30; index += 1) {
      behind.add({ path: String(index), mode: 0o644, mtime: 0, size: 100_000 }, () => undefined);
      if (index < 29) behind.append(noise.subarray(0, 100_000));
    }
    behind.discard();
    closeSync(tree);
    const left = readdirSync(directory).length;
    writes([10, 20, 30], LARGEST, () => false);
    assert.equal(readdirSync(directory).length, left);
  });
});
