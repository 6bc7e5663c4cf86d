/**
 * Files that layers share: which become one inode, and that nothing in `files/` is believed that should not be.
 */
import assert from "node:assert/strict";
import {
  chmodSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, suite, test } from "node:test";
import { gzipSync } from "node:zlib";
import { TaskProgress } from "../../src/task-progress.js";
import { decoderChoices, type LayerDocument, type SweptFiles } from "../../src/tasks.js";
import sweepFiles from "../../workers/sweep-files.js";
import { file, hardlink, MTIME, pax, tar } from "../support/tar-builder.js";
import { type Unpacking, unpackFile } from "./unpacking.js";
import { workDirectory } from "./work-directory.js";

const top = workDirectory("file-objects");
let serial = 0;
let files = "";
beforeEach(() => {
  files = join(top, `files-${++serial}`);
  mkdirSync(files);
});

interface Layer {
  readonly document: LayerDocument;
  readonly tree: string;
  readonly ino: (path: string) => number;
}

/** Unpacks these members, sharing what is in `files`. */
async function layer(members: readonly Buffer[], options: Unpacking = { files }): Promise<Layer> {
  const staging = join(top, `layer-${++serial}`);
  mkdirSync(staging);
  const archive = tar(...members);
  const blob = join(top, "blob");
  writeFileSync(blob, options.codec === "gzip" ? gzipSync(archive) : archive);
  const { layer: document, error } = await unpackFile(blob, staging, options);
  assert.ok(document, error?.message);
  assert.deepEqual(readdirSync(staging).sort(), ["changeset", "layer.json", "tree"]);
  const tree = join(staging, "tree");
  return { document, tree, ino: (path) => lstatSync(join(tree, path)).ino };
}

const LARGE = Buffer.alloc(600 * 1024, "large");
const object = (): string => {
  const [path, ...others] = readdirSync(files, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.includes("/"),
  );
  assert.deepEqual(others, []);
  return join(files, path ?? "none");
};

async function sweep(): Promise<SweptFiles> {
  const outcome = await sweepFiles({ files, progress: new TaskProgress().shared });
  assert.ok(outcome.ok);
  return outcome.value;
}

suite("files of two layers are one inode", () => {
  for (const decoders of decoderChoices)
    test(`where content, stored mode and time are equal, small and large ones (${decoders})`, async () => {
      const options = { files, codec: "gzip", decoders } as const;
      const first = await layer([file("a/small", "small"), file("a/large", LARGE)], options);
      const second = await layer([file("b", "small"), file("c", LARGE), file("d", "other")], options);
      assert.equal(second.ino("b"), first.ino("a/small"));
      assert.equal(second.ino("c"), first.ino("a/large"));
      assert.deepEqual([first.document.sharedFiles, first.document.sharedFileBytes], [0, 0]);
      assert.deepEqual([second.document.sharedFiles, second.document.sharedFileBytes], [2, 5 + LARGE.length]);
      assert.deepEqual([second.document.files, second.document.bytes], [3, 10 + LARGE.length]);
    });

  test("but never under `off`", async () => {
    const first = await layer([file("a", "same")], {});
    const second = await layer([file("a", "same")], {});
    if (process.env.STRATAD_STORE_DEDUP !== "files") assert.notEqual(second.ino("a"), first.ino("a"));
  });

  test("where only bits differ that the store does not keep", async () => {
    const first = await layer([file("a", "same", { mode: 0o644 })]);
    const second = await layer([file("a", "same", { mode: 0o4464 })]);
    assert.equal(second.ino("a"), first.ino("a"));
    assert.equal(second.document.dropped.setid, 1);
  });

  for (const [what, ...members] of [
    ["another stored mode", file("a", "same", { mode: 0o755 })],
    ["another time", file("a", "same", { mtime: MTIME + 1 })],
    ["a time that differs by less than a second", pax({ mtime: `${MTIME}.5` }), file("a", "same")],
    ["another content", file("a", "else")],
  ] as const)
    test(`but not those with ${what}`, async () => {
      const first = await layer([file("a", "same")]);
      const second = await layer(members);
      assert.notEqual(second.ino("a"), first.ino("a"));
      const third = await layer(members);
      assert.equal(third.ino("a"), second.ino("a"));
    });

  test("but not those that have other bytes than the large one of that time and mode", async () => {
    const first = await layer([file("a", LARGE)]);
    const second = await layer([file("a", Buffer.alloc(LARGE.length, "other"))]);
    assert.notEqual(second.ino("a"), first.ino("a"));
  });

  test("and never those without content", async () => {
    const first = await layer([file("a"), file("b")]);
    const second = await layer([file("a")]);
    assert.equal(new Set([first.ino("a"), first.ino("b"), second.ino("a")]).size, 3);
    assert.deepEqual(readdirSync(files), []);
  });

  test("and so are their hard links", async () => {
    const first = await layer([file("a", "same"), hardlink("b", "a")]);
    const second = await layer([file("c", "same"), hardlink("d", "c")]);
    assert.deepEqual(["c", "d"].map(second.ino), ["a", "b"].map(first.ino));
  });
});

suite("what stands in `files` is not believed", () => {
  const rows: readonly (readonly [what: string, damage: (object: string, layer: Layer) => void])[] = [
    ["of another size", (path) => rewrite(path, "longer than it was", MTIME)],
    ["of another mode", (path) => chmodSync(path, 0o464)],
    ["with a set-user-ID bit", (path) => chmodSync(path, 0o4444)],
    ["of another time", (path) => utimesSync(path, MTIME, MTIME + 1)],
    ["written to in place", (path) => rewrite(path, "SAME", Date.now() / 1000)],
    ["a symlink", (path, { tree }) => replace(path, (free) => symlinkSync(join(tree, "a"), free))],
    ["a directory", (path) => replace(path, (free) => mkdirSync(free))],
    ["a file that no layer has", (path, { tree }) => replace(path, (free) => copyOf(join(tree, "a"), free))],
  ];

  for (const content of [Buffer.from("same"), LARGE])
    for (const [what, damage] of rows)
      test(`${what} (${content.length} bytes)`, async () => {
        const first = await layer([file("a", content)]);
        const path = object();
        damage(path, first);
        const second = await layer([file("a", content)]);
        assert.ok(readFileSync(join(second.tree, "a")).equals(content));
        assert.equal(lstatSync(join(second.tree, "a")).mode & 0o7777, 0o444);
        assert.equal(second.document.sharedFiles, 0);
        const third = await layer([file("a", content)]);
        assert.ok(readFileSync(join(third.tree, "a")).equals(content));
        if (what !== "a directory") {
          const fourth = await layer([file("a", content)]);
          assert.equal(fourth.ino("a"), third.ino("a"), "a forgotten object makes room for a sound one");
        }
      });
});

suite("a sweep", () => {
  test("removes what only `files` has, and nothing else", async () => {
    const first = await layer([file("a", "gone"), file("b", LARGE)]);
    const second = await layer([file("a", "stays")]);
    rmSync(dirname(first.tree), { recursive: true });
    writeFileSync(join(files, "stranger"), "");
    mkdirSync(join(files, "ab"), { recursive: true });
    writeFileSync(join(files, "ab", "stranger"), "");
    assert.deepEqual(await sweep(), { kept: 1, removed: 2, removedBytes: 4 + LARGE.length, strangers: 2 });
    assert.deepEqual(await sweep(), { kept: 1, removed: 0, removedBytes: 0, strangers: 2 });
    const third = await layer([file("a", "stays")]);
    assert.equal(third.ino("a"), second.ino("a"));
  });

  test("does not go through a symlink", async () => {
    const outside = join(top, `outside-${++serial}`);
    mkdirSync(outside);
    writeFileSync(join(outside, `${"0".repeat(64)}-444-0`), "alive");
    symlinkSync(outside, join(files, "00"));
    assert.deepEqual(await sweep(), { kept: 0, removed: 0, removedBytes: 0, strangers: 1 });
    assert.deepEqual(readdirSync(outside).length, 1);
  });
});

function rewrite(path: string, content: string, mtime: number): void {
  const { mode } = lstatSync(path);
  chmodSync(path, 0o600);
  writeFileSync(path, content);
  chmodSync(path, mode);
  utimesSync(path, mtime, mtime);
}

function replace(path: string, put: (path: string) => void): void {
  rmSync(path);
  put(path);
}

function copyOf(from: string, to: string): void {
  copyFileSync(from, to);
  utimesSync(to, MTIME, MTIME);
}
