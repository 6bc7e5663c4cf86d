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
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { bulkyTar, writeLayout } from "../support/images.js";
import { buildPackage, EMPTY_CONFIG, OCX_PACKAGE, type PackageLayer, packageLayer } from "../support/packages.js";
import { buildImage, buildIndex, sha256, startRegistry, type TestImage } from "../support/registry.js";
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

/** As `ocx package push` leaves a tag: an index with its own artifactType. */
function ocxIndex(...packages: readonly TestImage[]): TestImage {
  const index = buildIndex(packages);
  const bytes = Buffer.from(JSON.stringify({ ...JSON.parse(index.bytes.toString()), artifactType: OCX_PACKAGE }));
  return { ...index, bytes, descriptor: { ...index.descriptor, digest: sha256(bytes), size: bytes.length } };
}

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

  test("a package that nothing names a platform for is for any, and that is said", async () => {
    for (const platform of ["linux/amd64", "linux/arm64"]) {
      const job = await wire.ready(refOf("sharing"), { name: "sharing", platform });
      assert.equal(job.platform, "any/any");
    }
    const fresh = await wire.ready(refOf("nothing"), param("nothing"));
    assert.match(fresh.notes.join(), /Nothing says for which platform/);
    const { installed } = await wire.request("image/status", { reference: refOf("sharing"), platform: "linux/arm64" });
    assert.equal(installed, true);
  });

  test("what an index has for any platform installs on this one", async () => {
    const job = await wire.ready(refOf("jars"), param("jars"));
    assert.deepEqual(Object.fromEntries(describeTree(job.root.path)), treeOf("jars"));
    assert.deepEqual([job.platform, job.notes], ["any/any", undefined]);
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

suite("packages of a registry", { skip }, () => {
  test("packages that ask for one layer at once fetch and unpack it once", async (t) => {
    const shared = packageLayer(await bulkyTar("shared", 200, 4096), "xz");
    const images = Object.fromEntries(
      ["one", "two", "three"].map((top) => {
        const own = packageLayer(treeTar(top), "gzip");
        return [`${top}:1`, ocxIndex(buildPackage([shared, own], { platform: HOST }))];
      }),
    );
    const gate = gateAt([sha256(shared.blob)], 64 * 1024);
    const registry = await startRegistry({ images, script: gate.script });
    t.after(() => registry.close());
    const sandbox = await Sandbox.create(t);
    const wire = await Wire.connect(t, (await serve(sandbox)).socket);
    const jobs = ["one", "two", "three"].map((top) =>
      wire.ready(`${registry.host}/${top}:1`, { platform: "linux/amd64", name: top }),
    );
    await gate.reached;
    await until("all three want the shared layer", async () => {
      const { jobs: running } = await wire.request("install/list");
      return running.filter(({ layers: [first] }: Json) => /fetching|unpacking/.test(first?.state)).length === 3;
    });
    gate.open();
    await Promise.all(jobs);
    assert.deepEqual(await wire.counters(), { blobsRead: 4, layersUnpacked: 4, rootsLinked: 3 });
  });
});
