/**
 * The tree writer and its index without the guard before them: what must hold of what they write, whoever gives them entries, and
 * whatever lies in the directory already.
 */
import assert from "node:assert/strict";
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { imageLimits, MAX_TOP_LEVEL_BYTES } from "../../src/limits.js";
import type { Folding } from "../../src/overlap/name-folding.js";
import { newBatches } from "../../workers/file-batch.js";
import { openDirectory } from "../../workers/open-directories.js";
import type { TarEntry } from "../../workers/tar-entry.js";
import { TarIndex } from "../../workers/tar-index.js";
import { TreeWriter } from "../../workers/tree-writer.js";
import { WriteBehind } from "../../workers/write-behind.js";

const behind = new WriteBehind(newBatches());
const top = mkdtempSync(join(tmpdir(), "tree-writer-"));
after(() => rmSync(top, { recursive: true }));
let serial = 0;
const nobodyElse = { isReaderBehind: () => true, needsHelper: () => false, call: () => undefined };

const entry = (fields: Partial<TarEntry>): TarEntry => ({
  index: 0,
  type: "file",
  name: "a",
  linkName: "",
  mode: 0o644,
  mtime: 0,
  size: 0,
  owned: false,
  xattrs: 0,
  blocks: undefined,
  ...fields,
});

/** Writes these entries, files with zeros, into a directory that `prepare` may fill. */
function written(
  entries: readonly Partial<TarEntry>[],
  { prepare = () => undefined, folding }: { prepare?: (tree: string) => void; folding?: Folding } = {},
): TreeWriter {
  const path = join(top, String(++serial));
  mkdirSync(path);
  prepare(path);
  const tree = openDirectory(path);
  behind.open({ tree, objects: undefined }, nobodyElse);
  const writer = new TreeWriter(tree, { limits: imageLimits, folding, behind, tick: () => undefined });
  try {
    for (const fields of entries) {
      const one = entry(fields);
      writer.entry(one);
      if (one.size > 0) writer.data(Buffer.alloc(one.size));
      writer.end();
    }
    writer.finish();
    return writer;
  } catch (error) {
    writer.abandon();
    throw error;
  } finally {
    closeSync(tree);
  }
}

suite("what no guard lets through is refused all the same", () => {
  for (const [what, code, fields] of [
    ["a NUL in a name", "BAD_NAME", { name: "a\0b" }],
    ["a NUL in a symlink's target", "BAD_LINK", { type: "symlink", linkName: "a\0b" }],
    ["a NUL in a hard link's target", "HARDLINK_TARGET", { type: "hardlink", linkName: "a\0b" }],
  ] as const) {
    test(`${what}: ${code}`, () => assert.throws(() => written([fields]), { code }));
  }
});

suite("what somebody else has put there is never written to", () => {
  const LARGE = 1 << 20;
  const rows: readonly (readonly [string, readonly Partial<TarEntry>[]])[] = [
    ["a small file", [{ size: 5 }]],
    ["a large file", [{ size: LARGE }]],
    ["a directory", [{ type: "dir" }]],
    ["an implied directory", [{ name: "a/b" }]],
    ["a symlink", [{ type: "symlink", linkName: "b" }]],
    ["a hard link", [{ name: "b" }, { type: "hardlink", linkName: "b" }]],
  ];
  const outside = join(top, "outside");
  writeFileSync(outside, "alive");
  const there: Readonly<Record<string, (path: string) => void>> = {
    "a file": (path) => writeFileSync(path, "alive"),
    "a hard link to a file": (path) => linkSync(outside, path),
    "a symlink to a file": (path) => symlinkSync(outside, path),
    "a symlink to nothing": (path) => symlinkSync(join(top, "nothing"), path),
  };
  for (const [what, entries] of rows)
    for (const [found, put] of Object.entries(there))
      test(`${what} where ${found} is`, () => {
        assert.throws(() => written(entries, { prepare: (tree) => put(join(tree, "a")) }), { code: "EEXIST" });
        assert.equal(readFileSync(outside, "utf8"), "alive");
        assert.ok(!readdirSync(top).includes("nothing"));
      });
});

test("symlinks that point out of the root are counted, from where they stand", () => {
  const inside = ["x", ".", "d/..", "d/../x", "./x", "d//.."];
  const out = ["/", "/x", "..", "../x", "./..", "d/../..", "d//../..", "d/./../..", "x/../../x"];
  const links = [...inside, ...out].map((linkName, i) => ({ type: "symlink" as const, name: `s${i}`, linkName }));
  assert.equal(written(links).counts.escapingSymlinks, out.length);
  const deeper = out.filter((target) => !target.startsWith("/"));
  const below = deeper.map((linkName, i) => ({ type: "symlink" as const, name: `d/s${i}`, linkName }));
  assert.equal(written(below).counts.escapingSymlinks, 0);
  assert.equal(written([{ type: "symlink", name: "d/s", linkName: "../.." }]).counts.escapingSymlinks, 1);
});

test("names at the image root have a limit in all", () => {
  const index = new TarIndex(imageLimits);
  const bytes = 1024 * 1024;
  const add = (i: number, length: number): unknown => {
    const path = `${i}${"n".repeat(length - 1)}`;
    return index.addLeaf(path, index.root, { type: "unresolved", path, target: "x" });
  };
  for (let i = 0; i < MAX_TOP_LEVEL_BYTES / bytes; i += 1) add(i, bytes);
  assert.throws(() => add(9, 1), { code: "LIMIT_BYTES" });
});

suite("names that the file system does not keep apart", () => {
  const bytes = (text: string): string => Buffer.from(text).toString("latin1");
  const [composed, decomposed] = [bytes("\u00e9"), bytes("e\u0301")];
  const [cases, forms] = [
    { case: true, unicode: false },
    { case: false, unicode: true },
  ];
  const rows: readonly (readonly [title: string, folding: Folding, ...entries: readonly Partial<TarEntry>[]])[] = [
    ["files", cases, { name: "Makefile" }, { name: "makefile" }],
    ["a file and a directory", cases, { name: "src", type: "dir" }, { name: "SRC" }],
    ["directories that only follow from what they hold", cases, { name: "Src/a" }, { name: "src/b" }],
    [
      "a symlink and a hard link",
      cases,
      { type: "symlink", name: "a", linkName: "x" },
      { name: "b" },
      { type: "hardlink", name: "A", linkName: "b" },
    ],
    ["files deep below one directory", cases, { name: "a/b/c" }, { name: "a/b/C" }],
    ["forms of one character", forms, { name: composed }, { name: decomposed }],
  ];
  for (const [title, folding, ...entries] of rows)
    test(`${title}: NAME_FOLDING, at the second`, () => {
      written(entries);
      assert.throws(() => written(entries, { folding }), { code: "NAME_FOLDING" });
    });

  test("are told both", () => {
    const message = "Cannot unpack src/makefile: to the file system its name is the same as src/Makefile";
    const entries = [{ name: "src/Makefile" }, { name: "src/makefile" }];
    assert.throws(() => written(entries, { folding: cases }), { message });
  });

  test("stand beside each other in two directories, and where only the other difference is none", () => {
    written([{ name: "a/x" }, { name: "b/X" }, { name: composed }, { name: decomposed }], { folding: cases });
    written([{ name: "x" }, { name: "X" }], { folding: forms });
  });
});
