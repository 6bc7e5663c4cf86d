/** What the guard says of an entry besides its name and content, and what it gives the second reader to confirm. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { imageLimits } from "../../src/limits.js";
import type { TarEntry } from "../../workers/tar-entry.js";
import { TarGuard } from "../../workers/tar-guard.js";
import {
  base256,
  directory,
  file,
  GNU_MAGIC,
  gnuLong,
  hardlink,
  header,
  padded,
  pax,
  symlink,
} from "../support/tar-builder.js";

function only(bytes: Buffer): TarEntry {
  const entries: TarEntry[] = [];
  const guard = new TarGuard(
    { entry: (entry) => entries.push(entry), data: () => undefined, end: () => undefined },
    imageLimits,
  );
  guard.push(bytes);
  guard.finish();
  assert.equal(entries.length, 1);
  return entries[0] as TarEntry;
}

suite("a time is a number of seconds that every file system has", () => {
  const last = 2 ** 33 - 1;
  const written: readonly (readonly [string, number])[] = [
    ["-1", 0],
    ["1.5", 1.5],
    ["1700000000", 1_700_000_000],
    [String(last), last],
    [String(last + 1), last],
    ["1e30", last],
    ["Infinity", last],
    ["nan", 0],
    ["", 0],
    [" ", 0],
  ];
  for (const [mtime, seconds] of written)
    test(`${JSON.stringify(mtime)} in a PAX header is ${seconds}`, () => {
      assert.equal(only(Buffer.concat([pax({ mtime }), file("a")])).mtime, seconds);
    });

  const fields: readonly (readonly [string, Buffer | string, number])[] = [
    ["negative", base256(-1n, 0xff), 0],
    ["huge", base256(2n ** 63n), last],
    ["junk", "junk", 0],
    ["octal", "00000000017\0", 15],
  ];
  for (const [what, mtime, seconds] of fields)
    test(`a field that is ${what} is ${seconds}`, () => assert.equal(only(file("a", "", { mtime })).mtime, seconds));
});

suite("what is dropped is counted", () => {
  const owners: readonly (readonly [string, object, boolean])[] = [
    ["nobody's", {}, false],
    ["a user's", { uid: 1 }, true],
    ["a group's", { gid: 1 }, true],
    ["that of a negative user", { uid: Buffer.alloc(8, 0xff) }, true],
    ["that of no number", { uid: "junk" }, false],
  ];
  for (const [what, fields, owned] of owners)
    test(`an entry that is ${what} is ${owned ? "" : "not "}owned`, () =>
      assert.equal(only(file("a", "", fields)).owned, owned));

  test("extended attributes in each spelling", () => {
    const records = { "SCHILY.xattr.user.a": "1", "LIBARCHIVE.xattr.user.b": "1", "SCHILY.acl.access": "1" };
    assert.equal(only(Buffer.concat([pax(records), file("a")])).xattrs, 2);
  });
});

suite("the second reader is given what not every reader may read alike", () => {
  const plain: Readonly<Record<string, Buffer>> = {
    "a file": file("a", "hello"),
    "a directory": directory("a"),
    "a symlink": symlink("a", "b"),
    "a hard link": hardlink("a", "b"),
  };
  const odd: Readonly<Record<string, readonly Buffer[]>> = {
    "a PAX header": [pax({ comment: "c" }), file("a")],
    "an empty PAX header": [pax(""), file("a")],
    "a GNU long name": [gnuLong("L", "b"), file("a", "", { magic: GNU_MAGIC })],
    "a GNU long link target": [gnuLong("K", "b"), symlink("a", "", { magic: GNU_MAGIC })],
    "a number in base 256": [header({ name: "a", size: base256(5n) }), padded("hello")],
    "a name that is not ASCII": [file("\xff")],
    "a link target that is not ASCII": [symlink("a", "\xff")],
    "a file of type 7": [file("a", "", { type: "7" })],
    "a file of the old type": [file("a", "", { type: "\0" })],
  };
  for (const [what, bytes] of Object.entries(plain))
    test(`${what} in plain ustar is not`, () => assert.equal(only(bytes).blocks, undefined));
  for (const [what, blocks] of Object.entries(odd))
    test(`${what} is`, () => {
      const bytes = Buffer.concat(blocks);
      const { size, blocks: given = [] } = only(bytes);
      assert.deepEqual(Buffer.concat(given), bytes.subarray(0, bytes.length - Math.ceil(size / 512) * 512));
    });
});
