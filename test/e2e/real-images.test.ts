/**
 * A Debian base, and what their authors' tool makes of changes to it, layer by layer: under policy a each image is what `umoci unpack`
 * makes of it, path for path, from layers that wait for none below them and that other images share.
 */
import assert from "node:assert/strict";
import { lstatSync, readFileSync } from "node:fs";
import { chmod, link, mkdir, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { obtained } from "../support/cached.js";
import { serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { debianBase } from "../support/debian.js";
import { gateAt } from "../support/gate.js";
import { layerDigests, readImage, type TarFile, tarOf } from "../support/images.js";
import { startRegistry } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { differences, readTree } from "../support/trees.js";
import { UmociImage } from "../support/umoci.js";
import { type Json, Wire } from "../support/wire.js";

const base = await obtained(debianBase());
const TWO_WORKERS = { env: { STRATAD_WORKERS: "2" } };
const skip = toolOrSkip("umoci").skip || base.skip;

/** By tag what a layer changes, each on top of the one before. */
const changes: readonly (readonly [tag: string, title: string, change: (root: string) => Promise<void>])[] = [
  [
    "changed",
    "files and directories deleted, replaced by each other, by symlinks and from symlinks, given modes and hard links",
    async (root) => {
      const at = (path: string): string => join(root, path);
      await rm(at("usr/bin/tac"));
      await rm(at("usr/share/perl5"), { recursive: true, force: true });
      await rm(at("usr/share/doc"), { recursive: true });
      await writeFile(at("usr/share/doc"), "a file where a directory was");
      await rm(at("etc/issue"));
      await mkdir(at("etc/issue/deeper"), { recursive: true });
      await writeFile(at("etc/issue/deeper/file"), "a directory where a file was");
      await rm(at("var/lock"), { recursive: true, force: true });
      await mkdir(at("var/lock"), { mode: 0o700 });
      await writeFile(at("var/lock/held"), "a directory where a symlink was");
      await rm(at("usr/bin/which"), { force: true });
      await symlink("../../bin/nothing", at("usr/bin/which"));
      await rm(at("usr/bin/sed"));
      await symlink("/bin/grep", at("usr/bin/sed"));
      await chmod(at("home"), 0o711);
      await chmod(at("usr/bin/gunzip"), 0o700);
      await mkdir(at("opt/new/names"), { recursive: true });
      await writeFile(at("opt/new/first"), "three names", { mode: 0o640 });
      await link(at("opt/new/first"), at("opt/new/names/second"));
      await link(at("opt/new/first"), at("etc/third"));
      await writeFile(at("opt/new/empty"), "");
      await writeFile(at("opt/new/na\u00efve \u2603"), "not ASCII");
      await writeFile(at("opt/new/old"), "long ago");
      await utimes(at("opt/new/old"), 1, 86_400.75);
    },
  ],
  [
    "back",
    "all of these the other way, and the names of a file of the layer below parted",
    async (root) => {
      const at = (path: string): string => join(root, path);
      await rm(at("usr/share/doc"));
      await mkdir(at("usr/share/doc/again"), { recursive: true });
      await writeFile(at("usr/share/doc/again/file"), "a directory again");
      await rm(at("etc/issue"), { recursive: true });
      await writeFile(at("etc/issue"), "a file again");
      await rm(at("var/lock"), { recursive: true });
      await symlink("/run/lock", at("var/lock"));
      await rm(at("usr/bin/sed"));
      await writeFile(at("usr/bin/sed"), "a file where a symlink was", { mode: 0o755 });
      await rm(at("opt/new/first"));
      await writeFile(at("opt/new/first"), "one name");
      await rename(at("opt/new/old"), at("opt/new/moved"));
    },
  ],
  [
    "unmerged",
    "a directory where a usrmerge symlink was, with what the base holds behind it left alone",
    async (root) => {
      await rm(join(root, "lib64"));
      await mkdir(join(root, "lib64"));
      await writeFile(join(root, "lib64/own"), "not in usr/lib64");
    },
  ],
];

/** Hard links into lower layers: by name, through merged directories, and to a symlink. */
const links: readonly TarFile[] = [
  { name: "usr/bin/perl-again", type: "link", linkname: "usr/bin/perl" },
  { name: "bin/grep-again", type: "link", linkname: "bin/grep" },
  { name: "lib/lock-again", type: "link", linkname: "/var/lock" },
  { name: "etc/fourth", type: "link", linkname: "etc/third" },
];

/** Each is the one before and a layer more. */
const TAGS = ["base", "changed", "back", "unmerged", "libs", "tool", "opaque", "hidden", "linked"] as const;
/** What is compared; the others are below one of these. */
const JUDGED = ["changed", "unmerged", "opaque", "linked"] as const;

suite("a Debian base with layers by umoci", { skip }, () => {
  const scope = fileScope();
  let workshop: Sandbox;
  let image: UmociImage;
  const refOf = (tag: string): string => `oci:${image.layout}:${tag}`;

  before(async () => {
    workshop = await Sandbox.create(scope);
    image = await UmociImage.create(workshop, { layout: workshop.file("layout"), tag: "empty" });
    const layer = await image.unpacked("empty");
    await layer("base", async (root) => {
      await workshop.must(["tar", "-xpf", base.value?.tar ?? "", "-C", root]);
    });
    for (const [tag, , change] of changes) await layer(tag, change);
    await insertThroughSymlinks(workshop, image);
    await writeFile(workshop.file("links.tar"), await tarOf(links));
    await image.add({ from: "hidden", to: "linked" }, workshop.file("links.tar"));
  });

  test("each image's root is the tree of umoci unpack, path for path, from layers unpacked once each", async (t) => {
    const sandbox = await Sandbox.create(t);
    const wire = await Wire.connect(t, (await serve(sandbox, TWO_WORKERS)).socket);
    const top = await wire.ready(refOf("linked"), { overlap: "a" });
    assert.equal(top.layers.length, TAGS.length);
    const unpacked = { blobsRead: TAGS.length, layersUnpacked: TAGS.length };
    assert.deepEqual(await wire.counters(), { ...unpacked, rootsLinked: 1 });
    for (const tag of JUDGED) {
      const { root } = await wire.ready(refOf(tag), { overlap: "a" });
      const [actual, expected] = [readTree(root.path), readTree(await image.judge(tag))];
      assert.deepEqual(differences(actual, expected), [], tag);
      assert.deepEqual(actual.writable, []);
      t.diagnostic(`${tag}: ${expected.entries.size} paths, on a base by ${base.value?.madeBy}`);
    }
    assert.deepEqual(await wire.counters(), { ...unpacked, rootsLinked: JUDGED.length });
  });

  test("layers wait for none below them: all others are stored while the base is on its way", async (t) => {
    const served = readImage(image.layout, "linked");
    const [lowest = "", ...others] = layerDigests(served);
    const gate = gateAt([lowest], 1024 * 1024);
    const registry = await startRegistry({ images: { "app:1": served }, script: gate.script });
    t.after(() => registry.close());
    const sandbox = await Sandbox.create(t);
    const wire = await Wire.connect(t, (await serve(sandbox, TWO_WORKERS)).socket);
    const { jobId } = await wire.request("install/start", { reference: `${registry.host}/app:1`, overlap: "a" });
    await gate.reached;
    await until("all but the base are stored", async () => {
      const { layers } = await wire.request("install/get", { jobId });
      return (
        layers.length > 0 && layers.every(({ digest, state }: Json) => (state === "stored") !== (digest === lowest))
      );
    });
    assert.equal((await wire.counters()).layersUnpacked, others.length);
    gate.open();
    const job = await wire.request("install/wait", { jobId });
    assert.equal(job.state, "ready", JSON.stringify(job.error));
    const asked = registry.requests.filter(({ path }) => layerDigests(served).some((digest) => path.endsWith(digest)));
    assert.equal(asked.length, TAGS.length);
  });

  test("another image on the same base takes that from the store, under any policy that takes it, on the same inodes", async (t) => {
    const sandbox = await Sandbox.create(t);
    const wire = await Wire.connect(t, (await serve(sandbox, TWO_WORKERS)).socket);
    const jobs = [
      await wire.ready(refOf("linked"), { overlap: "a" }),
      await wire.ready(refOf("sibling"), { overlap: "a" }),
    ];
    jobs.push(await wire.ready(refOf("base"), { overlap: "c" }));
    assert.deepEqual(
      jobs.slice(1).map(({ layers }) => layers.map(({ reused }: Json) => reused)),
      [[true, false], [true]],
    );
    assert.equal((await wire.counters()).layersUnpacked, TAGS.length + 1);
    const inodes = jobs.map(({ root }) => lstatSync(join(root.path, "usr/bin/perl")).ino);
    assert.equal(new Set(inodes).size, 1);
    assert.equal(readFileSync(join(jobs[1].root.path, "usr/bin/sibling"), "utf8"), "through bin");
  });
});

/** Files that land through `lib` and `bin`, and what an opaque directory and a whiteout hide behind them. */
async function insertThroughSymlinks(workshop: Sandbox, image: UmociImage): Promise<void> {
  const inserted = workshop.file("inserted");
  await mkdir(join(inserted, "deep"), { recursive: true });
  await writeFile(join(inserted, "deep/libnew.so"), "through lib");
  await writeFile(workshop.file("tool"), "through bin", { mode: 0o755 });
  await image.insert({ from: "unmerged", to: "libs" }, inserted, "/lib/inserted");
  await image.insert({ from: "libs", to: "tool" }, workshop.file("tool"), "/bin/tool");
  await image.insert({ from: "tool", to: "opaque" }, "--opaque", inserted, "/lib/x86_64-linux-gnu");
  await image.insert({ from: "opaque", to: "hidden" }, "--whiteout", "/bin/bash");
  await image.insert({ from: "base", to: "sibling" }, workshop.file("tool"), "/bin/sibling");
}
