/**
 * Layers that their descriptors' annotations put elsewhere (`sh.ocx.layer.prefix`, `sh.ocx.layer.strip-components`): in roots, under
 * every policy and link mode, and never in the store.
 */
import assert from "node:assert/strict";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { serve } from "../support/daemon.js";
import { annotatedImage, type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage, startRegistry, type TestImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const scope = fileScope();
let sandbox: Sandbox;
let wire: Wire;
const images: Record<string, TestImage> = {};
const refOf = (tag: string): string => `oci:${sandbox.file("layout")}:${tag}`;

const at = (prefix?: string, strip?: number) => ({
  ...(prefix === undefined ? {} : { "sh.ocx.layer.prefix": prefix }),
  ...(strip === undefined ? {} : { "sh.ocx.layer.strip-components": String(strip) }),
});

/** What a package's archive looks like: all of it below one directory. */
const pkg = (name: string): readonly TarFile[] => [
  { name: "pkg/", type: "directory", mode: 0o750 },
  { name: "pkg/bin/", type: "directory" },
  { name: `pkg/bin/${name}`, content: name, mode: 0o755 },
  { name: `pkg/bin/${name}-again`, type: "link", linkname: `pkg/bin/${name}` },
  { name: "pkg/link", type: "symlink", linkname: `bin/${name}` },
];

before(async () => {
  sandbox = await Sandbox.create(scope);
  const [a, b] = [await tarOf(pkg("a")), await tarOf([...pkg("b"), { name: "README", content: "shallow" }])];
  const hides = await tarOf([{ name: "bin/.wh.a" }, { name: "bin/c", content: "c" }]);
  images.plain = buildImage([a]);
  images.clash = buildImage([a, b]);
  images.apart = annotatedImage([a, b], [at("one"), at("two/deep", 1)]);
  images.together = annotatedImage([a, b], [at("opt", 1), at("opt/b", 1)]);
  images.hiding = annotatedImage([a, hides], [at("opt/a", 1), at("opt/a")]);
  await writeLayout(sandbox.file("layout"), images);
  wire = await Wire.connect(scope, (await serve(sandbox)).socket);
});

/** Paths of the root with what a file holds and where a symlink leads. */
function told(job: Json): Record<string, string> {
  const top = job.root.path;
  return Object.fromEntries(
    [...readTree(top).entries].map(([path, { type, target }]) => [
      path,
      type === "file" ? readFileSync(join(top, path), "utf8") : (target ?? "/"),
    ]),
  );
}

const one = {
  one: "/",
  "one/pkg": "/",
  "one/pkg/bin": "/",
  "one/pkg/bin/a": "a",
  "one/pkg/bin/a-again": "a",
  "one/pkg/link": "bin/a",
};
const two = {
  two: "/",
  "two/deep": "/",
  "two/deep/bin": "/",
  "two/deep/bin/b": "b",
  "two/deep/bin/b-again": "b",
  "two/deep/link": "bin/b",
};

test("layers with one top-level name are refused as they are, and accepted where prefixes part them, under every policy", async () => {
  const { error } = await wire.install(refOf("clash"));
  assert.equal(error.code, "LAYER_OVERLAP");
  for (const overlap of ["c", "b", "a"]) {
    const job = await wire.ready(refOf("apart"), { overlap });
    assert.deepEqual(told(job), { ...one, ...two }, overlap);
    const inodes = ["a", "a-again"].map((name) => lstatSync(join(job.root.path, "one/pkg/bin", name)).ino);
    assert.equal(inodes[0], inodes[1]);
  }
  assert.equal((await wire.counters()).layersUnpacked, 2);
});

test("a placed layer is in the store what it is unplaced, and roots of both share its files", async () => {
  const [placed, plain] = [await wire.ready(refOf("apart")), await wire.ready(refOf("plain"))];
  assert.deepEqual(
    plain.layers.map(({ reused }: Json) => reused),
    [true],
  );
  const inode = (job: Json, path: string): number => lstatSync(join(job.root.path, path)).ino;
  assert.equal(inode(placed, "one/pkg/bin/a"), inode(plain, "pkg/bin/a"));
});

test("strip and prefix into one directory merge under b and a, and are refused under c with the placed name", async () => {
  const expected = {
    opt: "/",
    "opt/bin": "/",
    "opt/bin/a": "a",
    "opt/bin/a-again": "a",
    "opt/link": "bin/a",
    "opt/b": "/",
    "opt/b/bin": "/",
    "opt/b/bin/b": "b",
    "opt/b/bin/b-again": "b",
    "opt/b/link": "bin/b",
  };
  for (const overlap of ["b", "a"]) assert.deepEqual(told(await wire.ready(refOf("together"), { overlap })), expected);
  const { error } = await wire.install(refOf("together"));
  assert.deepEqual(
    [error.code, error.details.complete, error.details.conflicts.map(({ path }: Json) => path)],
    ["LAYER_OVERLAP", true, ["opt"]],
  );
  assert.deepEqual(error.details.hints, ["--overlap b accepts this image", "--overlap a accepts this image"]);
});

test("a whiteout is placed with its layer, and hides what lower layers have where they are placed", async () => {
  const job = await wire.ready(refOf("hiding"), { overlap: "a" });
  assert.deepEqual(told(job), {
    opt: "/",
    "opt/a": "/",
    "opt/a/bin": "/",
    "opt/a/bin/a-again": "a",
    "opt/a/bin/c": "c",
    "opt/a/link": "bin/a",
  });
  const { error } = await wire.install(refOf("hiding"), { overlap: "b" });
  assert.deepEqual([error.code, error.details.conflicts[0].path], ["WHITEOUT", "opt/a/bin/a"]);
});

test("a root of copies keeps placed hard links linked among themselves", async () => {
  const { root } = await wire.ready(refOf("apart"), { link: "copy" });
  const [a, again] = ["a", "a-again"].map((name) => lstatSync(join(root.path, "one/pkg/bin", name)));
  assert.deepEqual([a?.ino, a?.nlink, a === undefined ? 0 : a.mode & 0o777], [again?.ino, 2, 0o755]);
});

test("a root of symlinks has a real directory for each of a prefix, and below it a symlink for each of the layer's names", async () => {
  const { root, linked } = await wire.ready(refOf("apart"), { link: "symlink" });
  const types = [...readTree(root.path).entries].map(([path, { type }]) => [path, type]);
  assert.deepEqual(Object.fromEntries(types), {
    one: "directory",
    "one/pkg": "symlink",
    two: "directory",
    "two/deep": "directory",
    "two/deep/bin": "symlink",
    "two/deep/link": "symlink",
  });
  assert.equal(linked.files, 3);
  assert.equal(readlinkSync(join(root.path, "two/deep/link")), "bin/b");
  assert.equal(readFileSync(join(root.path, "one/pkg/bin/a-again"), "utf8"), "a");
  assert.deepEqual(readdirSync(join(root.path, "two/deep/bin")).sort(), ["b", "b-again"]);
});

for (const [key, value, shown] of [
  ["sh.ocx.layer.prefix", "../up", "../up"],
  ["sh.ocx.layer.prefix", "/abs", "/abs"],
  ["sh.ocx.layer.prefix", "a\u001b[31m\\b".padEnd(64, "x"), "a\\x1b[31m"],
  ["sh.ocx.layer.strip-components", "256", "256"],
  ["sh.ocx.layer.strip-components", "-1", "-1"],
] as const)
  test(`${JSON.stringify(`${key}: ${value}`)} is PLACEMENT_INVALID before anything is fetched`, async (t) => {
    const image = annotatedImage([await tarOf(pkg("a")), await tarOf(pkg("b"))], [undefined, { [key]: value }]);
    const registry = await startRegistry({ images: { "app:1": image } });
    t.after(() => registry.close());
    const { error } = await wire.install(`${registry.host}/app:1`);
    assert.deepEqual([error.code, error.exitCode], ["PLACEMENT_INVALID", 65]);
    assert.ok(error.message.includes(shown), error.message);
    assert.ok(error.message.length < 200, error.message);
    assert.deepEqual(
      registry.requests.filter(({ path }) => path.includes("/blobs/")),
      [],
    );
  });
