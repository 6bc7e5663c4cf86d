/**
 * Small files by several threads or one: whoever writes them, they are on the disk as they were given, and each is told once.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import fc from "fast-check";
import { newBatches } from "../../workers/file-batch.js";
import { openDirectory } from "../../workers/open-directories.js";
import { type Others, WriteBehind } from "../../workers/write-behind.js";
import { workDirectory } from "./work-directory.js";

const LARGEST = 512 * 1024;
const noise = randomBytes(2 * LARGEST);

const threads = (): number => readdirSync("/proc/self/task").length;

suite("write behind", () => {
  const work = workDirectory("write-behind");
  const batches = newBatches();
  const behind = new WriteBehind(batches);
  let serial = 0;

  const nobody: Others = { isReaderBehind: () => false, needsHelper: () => false, call: () => undefined };
  const nobodyInTime: Others = { ...nobody, isReaderBehind: () => true };
  const helper: Others = { ...nobodyInTime, needsHelper: () => true };
  /** As the thread that inflates does, which has just found no room. */
  let byTheOther = 0;
  const theOther: Others = {
    ...nobodyInTime,
    call: () => {
      const batch = batches.find((one) => one.claim());
      batch?.write();
      byTheOther += batch === undefined ? 0 : 1;
    },
  };

  /** Gives it these files, each in pieces of `pieceBytes`, and compares what is there. */
  function writes(sizes: readonly number[], pieceBytes: number, others: (file: number) => Others): void {
    const directory = join(work, String(++serial));
    mkdirSync(directory);
    const tree = openDirectory(directory);
    const told = new Map<number, string>();
    let at = 0;
    try {
      behind.open(
        { tree, objects: undefined },
        {
          isReaderBehind: () => others(at).isReaderBehind(),
          needsHelper: () => others(at).needsHelper(),
          call: () => others(at).call(),
        },
      );
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
    behind.open({ tree, objects: undefined }, nobody);
    let isWritten = false;
    behind.add({ path: "whole", mode: 0o644, mtime: 0, size: 100 }, () => {
      isWritten = true;
    });
    behind.append(noise.subarray(0, 100));
    assert.ok(isWritten);
    behind.flush();
    closeSync(tree);
    writes(Array<number>(100).fill(100_000), LARGEST, () => nobody);
    writes(Array<number>(100).fill(100_000), 70_000, () => nobody);
    assert.equal(threads(), before);
  });

  test("one that is behind leaves each batch to whoever has time, and no thread is started for that", () => {
    const before = threads();
    byTheOther = 0;
    writes(Array<number>(200).fill(100_000), LARGEST, () => theOther);
    // Ten fit into a batch; the last is written by the reader, which waits for it.
    assert.equal(byTheOther, 19);
    assert.equal(threads(), before);
  });

  test("one that is behind while nobody has time writes them all itself", () => {
    writes(Array<number>(200).fill(100_000), LARGEST, () => nobodyInTime);
  });

  test("a helper is started with the first batch that needs it, once", () => {
    const before = threads();
    writes(Array<number>(200).fill(100_000), LARGEST, () => helper);
    writes(Array<number>(200).fill(100_000), LARGEST, () => helper);
    assert.equal(threads(), before + 1);
  });

  test("files come to the disk as they were given, however they are cut and whenever help is needed", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: LARGEST })), { maxLength: 40 }),
        fc.integer({ min: 1000, max: LARGEST }),
        fc.array(fc.constantFrom(nobody, nobodyInTime, theOther, helper), { minLength: 1, maxLength: 40 }),
        (sizes, pieceBytes, others) => writes(sizes, pieceBytes, (file) => others[file % others.length] as Others),
      ),
      { numRuns: 60 },
    );
  });

  test("what a refused archive left announced, batched and submitted is forgotten", () => {
    const directory = join(work, "refused");
    mkdirSync(directory);
    const tree = openDirectory(directory);
    behind.open({ tree, objects: undefined }, helper);
    for (let index = 0; index < 30; index += 1) {
      behind.add({ path: String(index), mode: 0o644, mtime: 0, size: 100_000 }, () => undefined);
      if (index < 29) behind.append(noise.subarray(0, 100_000));
    }
    behind.discard();
    closeSync(tree);
    const left = readdirSync(directory).length;
    writes([10, 20, 30], LARGEST, () => nobody);
    assert.equal(readdirSync(directory).length, left);
  });
});
