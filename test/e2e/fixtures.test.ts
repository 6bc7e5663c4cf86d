/**
 * The example of the design discussion, installed by the lines of the README: two images that share a layer.
 */
import assert from "node:assert/strict";
import { existsSync, lstatSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { cp, readdir, readFile, rename, symlink, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { checkout, cli, cliJson, fixtureImages, readEndpoint, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { fixtureImages as makeFixtures } from "../support/make-fixtures.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { differences, everythingBelow, readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

test("the committed fixtures are what make-fixtures makes, byte for byte", async () => {
  const made = await makeFixtures();
  const committed = await readdir(fixtureImages, { recursive: true, withFileTypes: true });
  const files = committed.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  assert.deepEqual(files.map((path) => path.slice(fixtureImages.length + 1)).sort(), [...made.keys()].sort());
  for (const [name, bytes] of made) {
    assert.ok(bytes.equals(await readFile(join(fixtureImages, name))), `${name} differs: run make-fixtures`);
  }
});

const scope = fileScope();
let sandbox: Sandbox;
let wire: Wire;
let first: Json;
let second: Json;

before(async () => {
  sandbox = await Sandbox.create(scope);
  const daemon = await serve(sandbox);
  wire = await Wire.connect(scope, daemon.socket);
  first = await cliJson(sandbox, ["install", "oci:test/fixtures/images:gcc-amd64"], { cwd: checkout });
  second = await cliJson(sandbox, ["install", "oci:test/fixtures/images:gcc-arm64", "--platform", "linux/arm64"], {
    cwd: checkout,
  });
});

test("install prints the stable path of the name, and the program there runs", async () => {
  const { stdout, exitCode } = await cli(sandbox, ["install", "oci:test/fixtures/images:gcc-amd64"], { cwd: checkout });
  assert.equal(exitCode, 0);
  assert.equal(stdout, `${join(sandbox.stateDir, "names", "gcc-amd64")}\n`);
  assert.equal(await sandbox.must([join(stdout.trim(), "bin/gcc")]), "gcc for x86_64-linux-gnu\n");
});

test("the name is a symlink to the immutable root, for both images", () => {
  for (const [job, name] of [
    [first, "gcc-amd64"],
    [second, "gcc-arm64"],
  ] as const) {
    assert.deepEqual(job.name, { name, path: join(sandbox.stateDir, "names", name), generation: 1 });
    assert.equal(job.root.path, join(sandbox.stateDir, "roots", job.root.rootId, "tree"));
    assert.equal(realpathSync(job.name.path), realpathSync(job.root.path));
    assert.ok(lstatSync(job.name.path).isSymbolicLink());
  }
});

test("an image for another machine is told of also where its root stands already", async () => {
  const again = ["install", "oci:test/fixtures/images:gcc-arm64", "--name", "again"];
  const { notes }: Json = await cliJson(sandbox, again, { cwd: checkout });
  assert.match(notes?.[0] ?? "", /^The image's config names linux\/arm64, not linux\/\w+$/);
  await wire.request("root/remove", { name: "again" });
});

test("the two roots share the inodes of the common layer and nothing else", () => {
  const inodes = (job: Json, path: string) => lstatSync(join(job.root.path, path)).ino;
  for (const path of ["include/stddef.h", "include/stdint.h", "share/doc/gcc/README", "share/man/man1/gcc.1"]) {
    assert.equal(inodes(first, path), inodes(second, path), path);
  }
  assert.notEqual(inodes(first, "bin/gcc"), inodes(second, "bin/gcc"));
  const specs = (triplet: string) => `lib/gcc/${triplet}/14/specs`;
  assert.match(readFileSync(join(first.root.path, specs("x86_64-linux-gnu")), "utf8"), /x86_64-linux-gnu/);
  assert.match(readFileSync(join(second.root.path, specs("aarch64-linux-gnu")), "utf8"), /aarch64-linux-gnu/);
});

test("a root's files are hardlinks of the layer's and have no write bits; its symlinks are as the archive says", () => {
  for (const job of [first, second]) {
    const { entries, writable } = readTree(job.root.path);
    assert.deepEqual(writable, []);
    assert.ok(entries.size > 10);
    assert.equal(entries.get("bin/gcc")?.mode, 0o555);
    assert.ok(lstatSync(join(job.root.path, "bin/gcc")).nlink >= 2);
  }
  assert.equal(readlinkSync(join(first.root.path, "bin/x86_64-linux-gnu-gcc")), "gcc");
});

test("the second image unpacked only its own layer, and a repeated install does no work", async () => {
  assert.deepEqual(
    second.layers.map(({ reused }: Json) => reused),
    [true, false],
  );
  const counted = { blobsRead: 3, layersUnpacked: 3, rootsLinked: 2 };
  assert.deepEqual(await wire.counters(), counted);
  const before = readTree(first.root.path);
  const again: Json = await cliJson(sandbox, ["install", `oci:${fixtureImages}:gcc-amd64`]);
  assert.equal(again.state, "ready");
  assert.equal(again.root.path, first.root.path);
  assert.equal(again.name.generation, 1);
  assert.equal(again.linked, undefined);
  assert.deepEqual(await wire.counters(), counted);
  assert.deepEqual(differences(readTree(first.root.path), before), []);
});

test("a path that leads to a layout of other images gives those, though its image was known", async () => {
  const { directory } = sandbox;
  const [link, other] = [join(directory, "images"), join(directory, "other-images")];
  await cp(fixtureImages, other, { recursive: true });
  const index = JSON.parse(readFileSync(join(other, "index.json"), "utf8"));
  const tagOf = ({ annotations }: Json) => annotations["org.opencontainers.image.ref.name"];
  const [amd64, arm64] = ["gcc-amd64", "gcc-arm64"].map((tag) => index.manifests.find((of: Json) => tagOf(of) === tag));
  const manifests = [{ ...arm64, annotations: amd64.annotations }];
  await writeFile(join(other, "index.json"), JSON.stringify({ ...index, manifests }));
  await symlink(fixtureImages, link);
  const install = () => wire.ready(`oci:${link}:gcc-amd64`, { name: "led" });
  for (let n = 0; n < 2; n += 1) assert.equal((await install()).root.rootId, first.root.rootId);
  await unlink(link);
  await symlink(other, link);
  for (let n = 0; n < 2; n += 1) assert.equal((await install()).root.rootId, second.root.rootId);
});

test("a root that somebody removed is linked again, though its image was known", async () => {
  const install = () => wire.ready(`oci:${fixtureImages}:gcc-amd64`, { name: "gcc-amd64" });
  await install();
  const { rootsLinked } = await wire.counters();
  const root = dirname(first.root.path);
  await rename(root, `${root}.gone`);
  assert.equal((await install()).root.path, first.root.path);
  assert.equal((await wire.counters()).rootsLinked, rootsLinked + 1);
  assert.deepEqual(differences(readTree(first.root.path), readTree(join(`${root}.gone`, "tree"))), []);
});

test("staging holds nothing when all installs are over", () => {
  assert.deepEqual(
    everythingBelow(join(sandbox.stateDir, "staging")).filter((path) => path.includes("/")),
    [],
  );
});

test("the README's line starts the daemon by itself where none answers, and it goes when idle", async (t) => {
  const alone = await Sandbox.create(t);
  const env = { STRATAD_IDLE_EXIT_MS: "300" };
  const { stdout, exitCode, stderr } = await cli(alone, ["install", "oci:test/fixtures/images:gcc-amd64"], {
    cwd: checkout,
    env,
  });
  assert.equal(exitCode, 0, stderr);
  assert.ok(existsSync(join(stdout.trim(), "include/stddef.h")));
  const { pid } = (await readEndpoint(alone)) ?? { pid: undefined };
  assert.ok(pid === undefined || (await alone.processes()).includes(pid));
  await until("the idle daemon ends", async () => (await alone.processes()).length === 0);
  assert.equal(await readEndpoint(alone), undefined);
});
