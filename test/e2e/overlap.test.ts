/**
 * What policy c refuses, told over the socket: every conflict, nothing left behind, and the store still works.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { cli, cliJson, serve } from "../support/daemon.js";
import { layerDigests, type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { everythingBelow } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const scope = fileScope();
let sandbox: Sandbox;
let wire: Wire;
const images: Record<string, TestImage> = {};

const dir = (name: string): TarFile => ({ name: `${name}/`, type: "directory" });
const file = (name: string): TarFile => ({ name, content: name });

before(async () => {
  sandbox = await Sandbox.create(scope);
  const bin = await tarOf([dir("bin"), file("bin/tool"), file("LICENSE"), dir("share"), file("share/a")]);
  const clash = await tarOf([file("LICENSE"), dir("share"), file("share/b"), dir("lib"), file("lib/x")]);
  const third = await tarOf([{ name: "share", type: "symlink", linkname: "lib" }]);
  const whiteout = await tarOf([dir("etc"), file("etc/.wh.passwd"), dir("opt"), file("opt/.wh..wh..opq")]);
  const fine = await tarOf([dir("lib"), file("lib/y")]);
  const unresolved = await tarOf([{ name: "usr/link", type: "link", linkname: "bin/tool" }]);
  images.overlapping = buildImage([bin, clash, third]);
  images.whiteout = buildImage([bin, whiteout]);
  images.fine = buildImage([bin, fine]);
  images.twice = buildImage([bin, bin]);
  images.unresolved = buildImage([bin, unresolved]);
  const names = Array.from({ length: 30 }, (_, i) => file(`name-${String(i).padStart(2, "0")}`));
  images.many = buildImage([await tarOf(names), await tarOf([...names, file("more")])]);
  await writeLayout(sandbox.file("layout"), images);
  wire = await Wire.connect(scope, (await serve(sandbox)).socket);
});

const refOf = (tag: string) => `oci:${sandbox.file("layout")}:${tag}`;

function nothingLeft(): void {
  const state = (...parts: string[]) => join(sandbox.stateDir, ...parts);
  const staged = everythingBelow(state("staging")).filter((path) => path.includes("/"));
  assert.deepEqual(staged, []);
  const roots = readdirSync(state("roots"));
  const known = readdirSync(state("names")).filter((name) => !name.startsWith("."));
  assert.equal(roots.length, known.length);
}

test("layers that share top-level names are refused with every conflict and every side", async () => {
  const document: Json = await cliJson(sandbox, ["install", refOf("overlapping")], { exitCode: 65 });
  const [bin = "", clash = "", third = ""] = layerDigests(images.overlapping as TestImage);
  const { code, details, exitCode, retryable } = document.error;
  assert.deepEqual([code, exitCode, retryable], ["LAYER_OVERLAP", 65, false]);
  assert.equal(details.policy, "c");
  assert.equal(details.complete, true);
  assert.equal(details.total, 2);
  assert.deepEqual(details.conflicts, [
    {
      path: "LICENSE",
      sides: [
        { layer: 0, digest: bin, type: "file" },
        { layer: 1, digest: clash, type: "file" },
      ],
    },
    {
      path: "share",
      sides: [
        { layer: 0, digest: bin, type: "dir" },
        { layer: 1, digest: clash, type: "dir" },
        { layer: 2, digest: third, type: "symlink" },
      ],
    },
  ]);
  nothingLeft();
});

test("the message of an overlap names the conflict on stderr, and the exit code is 65", async () => {
  const { exitCode, stderr, stdout } = await cli(sandbox, ["install", refOf("overlapping")]);
  assert.equal(exitCode, 65);
  assert.equal(stdout, "");
  assert.match(stderr, /LAYER_OVERLAP/);
  assert.match(stderr, /LICENSE/);
});

test("whiteouts are refused with their paths under policy c", async () => {
  const { error } = await wire.install(refOf("whiteout"));
  assert.deepEqual([error.code, error.exitCode], ["WHITEOUT", 65]);
  assert.equal(error.details.total, 2);
  const [etc, opt] = error.details.conflicts;
  assert.deepEqual([etc.path, opt.path], ["etc/passwd", "opt"]);
  const digest = layerDigests(images.whiteout as TestImage)[1];
  assert.deepEqual(etc.sides, [{ layer: 1, digest, type: "whiteout" }]);
  nothingLeft();
});

test("a hard link to a file of another layer is refused under policy c", async () => {
  const { error } = await wire.install(refOf("unresolved"));
  assert.equal(error.code, "HARDLINK_TARGET");
  assert.equal(error.details.conflicts[0].path, "usr/link");
  nothingLeft();
});

test("the same non-empty layer twice overlaps with itself", async () => {
  const { error } = await wire.install(refOf("twice"));
  assert.equal(error.code, "LAYER_OVERLAP");
  assert.deepEqual(
    error.details.conflicts.map(({ path }: Json) => path),
    ["LICENSE", "bin", "share"],
  );
  nothingLeft();
});

test("at most 20 conflicts are listed, and the total is told", async () => {
  const { error } = await wire.install(refOf("many"));
  assert.equal(error.details.total, 30);
  assert.equal(error.details.conflicts.length, 20);
  assert.equal(error.details.conflicts[0].path, "name-00");
});

test("layers of a refused image stay in the store, and the next image uses them", async () => {
  const before = await wire.counters();
  const job = await wire.ready(refOf("fine"));
  assert.deepEqual(
    job.layers.map(({ reused }: Json) => reused),
    [true, false],
  );
  assert.equal((await wire.counters()).layersUnpacked, before.layersUnpacked + 1);
  nothingLeft();
});

test("asking again for a refused image gives the same conflicts and unpacks nothing", async () => {
  const before = await wire.counters();
  const { error } = await wire.install(refOf("overlapping"));
  assert.equal(error.code, "LAYER_OVERLAP");
  assert.equal(error.details.total, 2);
  assert.deepEqual(await wire.counters(), before);
});
