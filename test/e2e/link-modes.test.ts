/**
 * What each link mode promises of inodes, modes and writes, with two images that share a layer; and what a file system that cannot
 * keep the promise is told.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { appendFileSync, lstatSync, readdirSync, readFileSync, readlinkSync, renameSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type Daemon, serve } from "../support/daemon.js";
import { type FileSystemKind, placeOn } from "../support/file-systems.js";
import { type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { lastFirst, Sandbox } from "../support/sandbox.js";
import { file, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { readTree } from "../support/trees.js";
import { Wire } from "../support/wire.js";

const shared: readonly TarFile[] = [
  { name: "share/", type: "directory", mode: 0o750 },
  { name: "share/data", content: "the layer's\n", mode: 0o664 },
  { name: "share/again", type: "link", linkname: "share/data" },
  { name: "share/tool", content: "#!/bin/sh\n", mode: 0o4755 },
  { name: "share/secret", content: "secret", mode: 0o440 },
  { name: "share/empty", content: "", mode: 0o666 },
  { name: "share/deep/er", content: "deep" },
  { name: "share/link", type: "symlink", linkname: "deep/er" },
];
const own = (name: string): readonly TarFile[] => [
  { name: `bin/${name}`, content: name },
  { name: "top", type: "symlink", linkname: "share/../bin\xff" },
  { name: "file", content: "at the top" },
];

interface Stage {
  readonly sandbox: Sandbox;
  readonly daemon: Daemon;
  readonly wire: Wire;
  readonly reference: (tag: "one" | "two") => string;
  /** Where the store has a file of the shared layer. */
  readonly stored: (path: string) => string;
}

/** Images `one` and `two`, and a daemon whose store is on a file system of this kind. */
async function stage(t: TestContext, kind?: FileSystemKind): Promise<Stage | undefined> {
  const scope = lastFirst(t);
  const place = kind === undefined ? undefined : await placeOn(scope, kind);
  if (typeof place?.skip === "string") {
    t.skip(place.skip);
    return undefined;
  }
  const sandbox = await Sandbox.create(scope, place === undefined ? {} : { stateBelow: place.directory });
  const base = await tarOf(shared);
  const [one, two] = [buildImage([base, await tarOf(own("one"))]), buildImage([base, await tarOf(own("two"))])];
  await writeLayout(sandbox.file("layout"), { one, two });
  const daemon = await serve(sandbox, { env: { STRATAD_WORKERS: "2" } });
  const wire = await Wire.connect(scope, daemon.socket);
  const { rootfs } = JSON.parse(String([...one.blobs.values()][2])) as { rootfs: { diff_ids: string[] } };
  const layer = join(sandbox.stateDir, "layers", (rootfs.diff_ids[0] ?? "").replace(":", "/"));
  return {
    sandbox,
    daemon,
    wire,
    reference: (tag) => `oci:${sandbox.file("layout")}:${tag}`,
    stored: (path) => join(layer, "tree", path),
  };
}

const inode = (...parts: string[]): number => lstatSync(join(...parts)).ino;
const mode = (...parts: string[]): string => (lstatSync(join(...parts)).mode & 0o7777).toString(8);
const files = ["share/data", "share/again", "share/tool", "share/secret", "share/deep/er"];

test("hardlink: roots that share a layer share its inodes, but for files without content, which are each root's own", async (t) => {
  const { wire, reference, stored } = (await stage(t)) as Stage;
  const [one, two] = [await wire.ready(reference("one")), await wire.ready(reference("two"))];
  for (const path of files) {
    assert.equal(inode(one.root.path, path), inode(two.root.path, path), path);
    assert.equal(inode(one.root.path, path), inode(stored(path)), path);
  }
  const empty = [one.root.path, two.root.path, stored("")].map((top) => lstatSync(join(top, "share/empty")));
  assert.equal(new Set(empty.map(({ ino }) => ino)).size, 3);
  assert.deepEqual(
    empty.map(({ nlink, mtimeMs, mode: bits }) => [nlink, mtimeMs, bits & 0o777]),
    Array(3).fill([1, Date.parse("2026-02-03T04:05:06Z"), 0o444]),
  );
  assert.deepEqual(two.linked, { files: 8, bytes: two.linked.bytes, copied: { count: 0 } });
});

for (const [link, kind] of [
  ["copy", undefined],
  ["reflink", "xfs"],
  ["reflink", "btrfs"],
] as const) {
  const on = kind === undefined ? "" : ` on ${kind}`;
  test(`${link}${on}: files are the root's own and writable; a write leaves the store and other roots as they were`, async (t) => {
    const staged = await stage(t, kind);
    if (staged === undefined) return;
    const { wire, reference, stored } = staged;
    const linked = await wire.ready(reference("one"));
    const [one, other] = [
      await wire.ready(reference("one"), { link, name: "mine" }),
      await wire.ready(reference("one"), { link, name: "yours" }),
    ];
    const before = [linked, other].map(({ root }) => readTree(root.path));
    const roots = [linked, one, other].map(({ root }) => root.path);
    for (const path of files) assert.equal(new Set(roots.map((top) => inode(top, path))).size, 3, path);
    assert.equal(inode(roots[1], "share/data"), inode(roots[1], "share/again"));
    assert.equal(lstatSync(join(roots[1], "share/data")).nlink, 2);
    const modes = [...files, "share", "share/empty"].map((path) => mode(roots[1], path));
    assert.deepEqual(modes, ["664", "664", "755", "440", "644", "750", "666"]);
    assert.deepEqual(one.linked.copied, { count: 6 });
    appendFileSync(join(roots[1], "share/data"), "mine\n");
    appendFileSync(join(roots[1], "share/empty"), "mine\n");
    assert.equal(readFileSync(join(roots[1], "share/again"), "utf8"), "the layer's\nmine\n");
    assert.equal(readFileSync(stored("share/data"), "utf8"), "the layer's\n");
    assert.deepEqual(
      [linked, other].map(({ root }) => readTree(root.path)),
      before,
    );
    const again = await wire.ready(reference("one"), { link, name: "mine" });
    assert.deepEqual([again.root.path, again.name.generation], [one.root.path, 1]);
    assert.equal(readFileSync(join(again.name.path, "share/data"), "utf8"), "the layer's\nmine\n");
  });
}

test("reflink: a root shares its blocks with the store until it is written to", async (t) => {
  const filefrag = toolOrSkip("filefrag");
  const staged = filefrag.skip ? t.skip(filefrag.skip) : await stage(t, "xfs");
  if (!staged) return;
  const { wire, reference, stored, sandbox } = staged;
  const { root } = await wire.ready(reference("one"), { link: "reflink" });
  const isShared = (path: string): boolean => {
    execFileSync("sync", ["-f", sandbox.stateDir]);
    return /\bshared\b/.test(execFileSync("filefrag", ["-v", path], { encoding: "utf8" }).replace(/^.*:$/m, ""));
  };
  assert.deepEqual([isShared(join(root.path, "share/data")), isShared(stored("share/data"))], [true, true]);
  appendFileSync(join(root.path, "share/data"), "mine\n");
  assert.deepEqual([isShared(join(root.path, "share/data")), isShared(stored("share/data"))], [false, false]);
});

for (const kind of ["ext4", "tmpfs"] as const) {
  test(`reflink on ${kind}: NO_REFLINK names the file system, before anything is fetched`, async (t) => {
    const staged = await stage(t, kind);
    if (staged === undefined) return;
    const { error } = await staged.wire.install(staged.reference("one"), { link: "reflink" });
    assert.deepEqual([error.code, error.exitCode], ["NO_REFLINK", 64]);
    assert.match(error.message, new RegExp(kind));
    assert.deepEqual(await staged.wire.counters(), { blobsRead: 0, layersUnpacked: 0, rootsLinked: 0 });
  });
}

test("symlink: one symlink for each top-level entry, those of the layer byte for byte, and all work where the store is moved to", async (t) => {
  const { daemon, sandbox, wire, reference, stored } = (await stage(t)) as Stage;
  const { root, linked } = await wire.ready(reference("one"), { link: "symlink" });
  assert.deepEqual(readdirSync(root.path).sort(), ["bin", "file", "share", "top"]);
  assert.deepEqual([linked.files, linked.copied], [4, { count: 0 }]);
  assert.equal(
    readlinkSync(join(root.path, "share")),
    `../../../${stored("share").slice(sandbox.stateDir.length + 1)}`,
  );
  assert.deepEqual(
    readlinkSync(Buffer.from(join(root.path, "top")), { encoding: "buffer" }),
    Buffer.from("share/../bin\xff"),
  );
  daemon.kill("SIGTERM");
  await daemon.ended;
  const moved = sandbox.file("moved");
  renameSync(sandbox.stateDir, moved);
  const there = root.path.replace(sandbox.stateDir, moved);
  assert.equal(readFileSync(join(there, "share/again"), "utf8"), "the layer's\n");
  assert.equal(readFileSync(join(moved, "names/one/bin/one"), "utf8"), "one");
  const again = await Wire.connect(t, (await serve(sandbox, { args: ["--state", moved] })).socket);
  assert.equal((await again.ready(reference("one"), { link: "symlink" })).root.path, there);
  assert.deepEqual(await again.counters(), { blobsRead: 0, layersUnpacked: 0, rootsLinked: 0 });
});

test("symlink under another policy than c is INVALID_PARAMS", async (t) => {
  const { wire, reference } = (await stage(t)) as Stage;
  for (const overlap of ["b", "a"]) {
    const { data } = await wire.refused("install/start", { reference: reference("one"), link: "symlink", overlap });
    assert.deepEqual([data.code, data.exitCode], ["INVALID_PARAMS", 64]);
  }
});

test("symlink: a layer of 50,000 files takes two symlinks", async (t) => {
  const scope = lastFirst(t);
  const { directory } = await placeOn(scope, "tmpfs");
  const sandbox = await Sandbox.create(scope, directory === undefined ? {} : { stateBelow: directory });
  const many = Array.from({ length: 50_000 }, (_, i) => file(`many/${i % 100}/${i}`, `${i}`));
  await writeLayout(sandbox.file("layout"), { app: buildImage([tar(...many, file("one"))]) });
  const wire = await Wire.connect(scope, (await serve(sandbox)).socket);
  await wire.ready(`oci:${sandbox.file("layout")}:app`);
  const { root, linked, timings, layers } = await wire.ready(`oci:${sandbox.file("layout")}:app`, { link: "symlink" });
  assert.deepEqual([layers[0].reused, linked.files], [true, 2]);
  assert.deepEqual(readdirSync(root.path).sort(), ["many", "one"]);
  assert.equal(readFileSync(join(root.path, "many/99/49999"), "utf8"), "49999");
  t.diagnostic(`linkMs: ${timings.linkMs}${directory === undefined ? "" : " on tmpfs"}`);
});
