/**
 * Packages as OCX writes them, under policy c: no image config, no diffIDs, a codec for each layer. Once means once for them too: a
 * layer is found again by its blob, in the same daemon and in the next.
 */
import assert from "node:assert/strict";
import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, suite, type TestContext, test } from "node:test";
import type { Codec } from "../../src/oci/media-types.js";
import { type Daemon, serve } from "../support/daemon.js";
import { writeLayout } from "../support/images.js";
import { buildPackage, EMPTY_CONFIG, ocxIndex, type PackageLayer, packageLayer } from "../support/packages.js";
import { buildImage, sha256 } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { directory, file, symlink, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { type Json, Wire } from "../support/wire.js";
import { describeTree } from "../workers/unpacking.js";

const skip = toolOrSkip("xz").skip || toolOrSkip("zstd").skip;
const HOST = { os: "linux", architecture: "amd64" };
const FOREIGN = { os: "linux", architecture: "s390x" };

/** A tar of one top-level directory. */
const treeTar = (top: string, content = top): Buffer =>
  tar(directory(`${top}/`), file(`${top}/file`, content), symlink(`${top}/link`, "file"));
const treeOf = (top: string, content = top) => ({
  [top]: "dir",
  [`${top}/file`]: `file ${content}`,
  [`${top}/link`]: "symlink file",
});

const mergingTar = (name: string): Buffer => tar(directory("usr/"), file(`usr/${name}`, name));

suite("packages", { skip }, () => {
  const scope = fileScope();
  let sandbox: Sandbox;
  let daemon: Daemon;
  let wire: Wire;
  const layers = new Map<string, { readonly tar: Buffer; readonly layer: PackageLayer }>();
  let first: Json;

  const layerOf = (top: string): PackageLayer => layers.get(top)?.layer as PackageLayer;
  const refOf = (tag: string) => `oci:${sandbox.file("layout")}:${tag}`;
  const param = (name: string) => ({ name, platform: "linux/amd64", overlap: "c" });

  before(async () => {
    sandbox = await Sandbox.create(scope);
    for (const [top, codec] of [
      ["bin", "xz"],
      ["lib", "gzip"],
      ["share", "zstd"],
      ["etc", "none"],
      ["doc", "xz"],
    ] satisfies [string, Codec][])
      layers.set(top, { tar: treeTar(top), layer: packageLayer(treeTar(top), codec) });
    const other = packageLayer(treeTar("other"), "xz");
    await writeLayout(sandbox.file("layout"), {
      tool: ocxIndex(
        buildPackage([other], { platform: FOREIGN }),
        buildPackage(["bin", "lib", "share", "etc"].map(layerOf), { platform: HOST }),
      ),
      sharing: buildPackage(["lib", "doc", "bin"].map(layerOf), { configType: EMPTY_CONFIG, config: {} }),
      "after-restart": buildPackage(["etc", "doc"].map(layerOf)),
      image: buildImage([treeTar("share")]),
      "of-an-image": buildPackage([packageLayer(treeTar("lib"), "gzip"), packageLayer(treeTar("lonely"), "gzip")]),
      lonely: buildImage([treeTar("lonely")]),
      twice: buildPackage([packageLayer(treeTar("same"), "gzip"), packageLayer(treeTar("same"), "xz")]),
      nothing: buildPackage([packageLayer(tar(), "gzip"), packageLayer(tar(), "xz"), packageLayer(tar(), "xz")]),
      both: ocxIndex(
        ...[HOST, FOREIGN].map((platform) => buildPackage([packageLayer(treeTar("both"), "gzip")], { platform })),
      ),
      placed: buildPackage([packageLayer(treeTar("deep"), "xz"), packageLayer(treeTar("lib"), "gzip")], {
        config: { type: "bundle", version: 1, strip_components: 1 },
        annotations: [undefined, { "sh.ocx.layer.prefix": "opt", "sh.ocx.layer.strip-components": "0" }],
      }),
      merging: buildPackage([packageLayer(mergingTar("one"), "xz"), packageLayer(mergingTar("two"), "zstd")]),
      jars: ocxIndex(
        buildPackage([packageLayer(treeTar("jars"), "xz")], { platform: { os: "any", architecture: "any" } }),
      ),
    });
    daemon = await serve(sandbox);
    wire = await Wire.connect(scope, daemon.socket);
    first = await wire.ready(refOf("tool"), param("tool"));
  });

  test("a package of four codecs installs under policy c as the tree that its layers are", () => {
    const tree = ["bin", "lib", "share", "etc"].map((top) => treeOf(top));
    assert.deepEqual(Object.fromEntries(describeTree(first.root.path)), Object.assign({}, ...tree));
    assert.deepEqual([first.platform, first.overlap, first.notes], ["linux/amd64", "c", undefined]);
  });

  test("the job and the store tell the diffID that was computed, and the digest that it was computed from", async () => {
    const tars = ["bin", "lib", "share", "etc"].map((top) => layers.get(top)?.tar as Buffer);
    assert.deepEqual(
      first.layers.map(({ diffId }: Json) => diffId),
      tars.map(sha256),
    );
    const { layers: stored } = await wire.request("layer/list", { limit: 1000 });
    for (const [top, { tar: bytes, layer }] of layers) {
      if (top === "doc") continue; // not yet
      assert.deepEqual(stored.find(({ diffId }: Json) => diffId === sha256(bytes))?.digests, [sha256(layer.blob)]);
    }
  });

  test("asked for again it is there: nothing is read, unpacked or linked", async () => {
    const counters = await wire.counters();
    const job = await wire.ready(refOf("tool"), param("again"));
    assert.equal(job.root.path, first.root.path);
    assert.deepEqual(await wire.counters(), counters);
  });

  test("another package that shares layers unpacks its own only, and the roots share their inodes", async () => {
    const counters = await wire.counters();
    const job = await wire.ready(refOf("sharing"), param("sharing"));
    const { layersUnpacked, blobsRead } = await wire.counters();
    assert.deepEqual([layersUnpacked, blobsRead], [counters.layersUnpacked + 1, counters.blobsRead + 1]);
    assert.deepEqual(
      job.layers.map(({ reused }: Json) => reused),
      [true, false, true],
    );
    for (const top of ["bin", "lib"])
      assert.equal(inode(job.root.path, `${top}/file`), inode(first.root.path, `${top}/file`));
    assert.equal(readFileSync(join(job.root.path, "doc/file"), "utf8"), "doc");
  });

  test("a package that nothing names a platform for is for any, and that is said each time", async () => {
    const reference = refOf("sharing");
    const counters = await wire.counters();
    for (const platform of ["linux/amd64", "linux/arm64"]) {
      const job = await wire.ready(reference, { name: "sharing", platform });
      assert.equal(job.platform, "any/any");
      assert.match(job.notes.join(), /Nothing says for which platform/);
    }
    assert.deepEqual(await wire.counters(), counters);
    assert.equal((await wire.request("image/status", { reference, platform: "linux/arm64" })).installed, true);
  });

  test("one manifest that two platforms of an index share is one root, installed for the one that was asked for", async () => {
    const reference = refOf("both");
    const jobs: Json[] = [];
    for (const [name, platform] of [
      ["one", "linux/amd64"],
      ["other", "linux/s390x"],
    ])
      jobs.push(await wire.ready(reference, { name, platform }));
    assert.deepEqual(
      jobs.map(({ platform, notes }) => [platform, notes]),
      [
        ["linux/amd64", undefined],
        ["linux/s390x", undefined],
      ],
    );
    assert.equal(jobs[0].root.path, jobs[1].root.path);
    assert.equal((await wire.request("image/status", { reference, platform: "linux/s390x" })).installed, true);
  });

  test("what an index has for any platform installs on this one", async () => {
    const job = await wire.ready(refOf("jars"), param("jars"));
    assert.deepEqual(Object.fromEntries(describeTree(job.root.path)), treeOf("jars"));
    assert.deepEqual([job.platform, job.notes], ["any/any", undefined]);
  });

  test("strip_components of OCX's config holds for the layer that says nothing itself", async () => {
    const job = await wire.ready(refOf("placed"), param("placed"));
    assert.deepEqual(Object.fromEntries(describeTree(job.root.path)), {
      file: "file deep",
      link: "symlink file",
      opt: "dir",
      "opt/lib": "dir",
      "opt/lib/file": "file lib",
      "opt/lib/link": "symlink file",
    });
  });

  test("a package whose layers meet in a directory is refused under c and merged under b", async () => {
    const { error } = await wire.install(refOf("merging"), param("merging"));
    assert.equal(error.code, "LAYER_OVERLAP");
    const job = await wire.ready(refOf("merging"), { ...param("merging"), overlap: "b" });
    const tree = { usr: "dir", "usr/one": "file one", "usr/two": "file two" };
    assert.deepEqual(Object.fromEntries(describeTree(job.root.path)), tree);
  });

  test("images and packages share layers, whichever came first", async () => {
    const counters = await wire.counters();
    // The tar of `share` came as zstd and is claimed for a gzip: found by its diffID.
    await wire.ready(refOf("image"), param("image"));
    await wire.ready(refOf("lonely"), param("lonely"));
    await wire.ready(refOf("of-an-image"), param("of-an-image"));
    assert.equal((await wire.counters()).layersUnpacked, counters.layersUnpacked + 1);
  });

  test("one tar in two codecs is one layer in the store, and overlaps with itself", async () => {
    const { error } = await wire.install(refOf("twice"), param("twice"));
    assert.equal(error.code, "LAYER_OVERLAP");
    const { layers: stored } = await wire.request("layer/list", { limit: 1000 });
    const same = stored.filter(({ diffId }: Json) => diffId === sha256(treeTar("same")));
    assert.equal(same.length, 1);
    assert.equal(same[0].digests.length, 2);
  });

  test("empty layers in any codec, and one of them twice, are an empty root", async () => {
    const job = await wire.ready(refOf("nothing"), param("nothing"));
    assert.deepEqual(Object.fromEntries(describeTree(job.root.path)), {});
    assert.equal(new Set(job.layers.map(({ diffId }: Json) => diffId)).size, 1);
  });

  test("the next daemon finds layers by their blobs too", async (t: TestContext) => {
    daemon.kill("SIGTERM");
    await daemon.ended;
    daemon = await serve(sandbox);
    const next = await Wire.connect(t, daemon.socket);
    await next.ready(refOf("after-restart"), param("after-restart"));
    assert.deepEqual(await next.counters(), { blobsRead: 0, layersUnpacked: 0, rootsLinked: 1 });
  });
});

const inode = (root: string, path: string) => lstatSync(join(root, path)).ino;
