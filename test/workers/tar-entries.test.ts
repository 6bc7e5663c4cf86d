/**
 * The second reader against a guard that is wrong: entries that are not what their blocks say. No archive is known to make the two
 * differ, so they are told apart here.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { SecondReader } from "../../workers/tar-entries.js";
import type { TarEntry } from "../../workers/tar-entry.js";
import { directory, file, hardlink, header, padded, symlink } from "../support/tar-builder.js";

const plain = {
  name: "a",
  type: "file" as const,
  linkName: "",
  mode: 0o644,
  mtime: 0,
  size: 0,
  owned: false,
  xattrs: 0,
};
const nothing = { entry: () => undefined, data: () => undefined, end: () => undefined };

interface Reading {
  readonly entry: Partial<TarEntry>;
  readonly block: Buffer;
  /** Absent: as many zeros as the entry says. */
  readonly body?: Buffer;
}

/** What the second reader makes of these entries, asked after each (`settled`) and at the end. */
async function read(readings: readonly Reading[], settled: boolean): Promise<void> {
  const reader = new SecondReader(nothing);
  for (const [index, { entry, block, body = Buffer.alloc(entry.size ?? 0) }] of readings.entries()) {
    reader.entry({ ...plain, ...entry, index, blocks: [block] });
    if (body.length > 0) reader.data(body);
    reader.end();
    // tar-stream shows an entry some turns after it has the block.
    for (let turn = 0; settled && turn < 20; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      await reader.settle();
    }
  }
  await reader.finish();
}

suite("an entry that another reader reads otherwise is TAR_AMBIGUOUS", () => {
  const same: Readonly<Record<string, Reading>> = {
    "a file": { entry: { size: 5 }, block: header({ name: "a", size: 5 }), body: Buffer.from("hello") },
    "a file of whole blocks": { entry: { size: 512 }, block: header({ name: "a", size: 512 }) },
    "a directory": { entry: { name: "a/", type: "dir" }, block: directory("a/") },
    "a symlink": { entry: { type: "symlink", linkName: "b" }, block: symlink("a", "b") },
    "a hard link": { entry: { type: "hardlink", linkName: "b" }, block: hardlink("a", "b") },
    "a link target of a file, which has none": { entry: { linkName: "b" }, block: file("a") },
    "a name that is not UTF-8": { entry: { name: "\xff" }, block: file("\xff") },
  };
  const different: Readonly<Record<string, Reading>> = {
    "another name": { entry: { name: "b" }, block: file("a") },
    "another type": { entry: { type: "dir" }, block: file("a") },
    "another size": { entry: { size: 3 }, block: header({ name: "a", size: 4 }), body: padded("x").subarray(0, 3) },
    "another target of a symlink": { entry: { type: "symlink", linkName: "c" }, block: symlink("a", "b") },
    "another target of a hard link": { entry: { type: "hardlink", linkName: "c" }, block: hardlink("a", "b") },
    "a header that is none": { entry: {}, block: header({ name: "a", checksum: 1 }) },
    "nothing at all": { entry: {}, block: Buffer.alloc(512) },
    "an entry more": { entry: {}, block: Buffer.concat([file("a"), file("b")]) },
  };
  for (const settled of [true, false]) {
    const when = settled ? "at once" : "at the end";
    for (const [what, reading] of Object.entries(same))
      test(`${what} is taken, asked ${when}`, () => read([reading, reading], settled));
    for (const [what, reading] of Object.entries(different))
      test(`${what}, asked ${when}`, () => assert.rejects(read([reading], settled), { code: "TAR_AMBIGUOUS" }));
  }

  test("what it reads otherwise is told before more is read", async () => {
    const reader = new SecondReader(nothing);
    reader.entry({ ...plain, name: "b", index: 0, blocks: [file("a")] });
    reader.end();
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await assert.rejects(reader.settle(), {
      code: "TAR_AMBIGUOUS",
      options: { details: { entryIndex: 0, entryName: "b" } },
    });
    reader.abandon();
  });
});
