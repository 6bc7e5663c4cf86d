/**
 * Packages that want the same layer, or are the same, at the same time: a registry stops in the middle of the blob until all have asked.
 */
import assert from "node:assert/strict";
import { before, suite, type TestContext, test } from "node:test";
import { serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { bulkyTar } from "../support/images.js";
import { buildPackage, ocxIndex, type PackageLayer, packageLayer } from "../support/packages.js";
import { sha256, startRegistry, type TestImage } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { file, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { type Json, Wire } from "../support/wire.js";

const { skip } = toolOrSkip("xz");
const HOST = { os: "linux", architecture: "amd64" };
const FOREIGN = { os: "linux", architecture: "s390x" };

/** Held in the middle of `held` until all who ask are there. */
async function atOnce(
  t: TestContext,
  { images, held, asks }: { images: Record<string, TestImage>; held: PackageLayer; asks: readonly [string, object][] },
): Promise<Wire> {
  const gate = gateAt([sha256(held.blob)], 64 * 1024);
  const registry = await startRegistry({ images, script: gate.script });
  t.after(() => registry.close());
  const wire = await Wire.connect(t, (await serve(await Sandbox.create(t))).socket);
  const jobs = asks.map(([name, params]) => wire.ready(`${registry.host}/${name}`, params));
  await gate.reached;
  await until("all want the layer", async () => {
    const { jobs: running } = await wire.request("install/list");
    const wanting = running.filter(({ layers: [first] }: Json) => /fetching|unpacking/.test(first?.state));
    return wanting.length === asks.length;
  });
  gate.open();
  await Promise.all(jobs);
  return wire;
}

suite("packages at once", { skip }, () => {
  let held: PackageLayer;
  before(async () => {
    held = packageLayer(await bulkyTar("held", 200, 4096), "xz");
  });

  test("packages that ask for one layer at once fetch and unpack it once", async (t) => {
    const tops = ["one", "two", "three"];
    const images = Object.fromEntries(
      tops.map((top) => {
        const own = packageLayer(tar(file(top, top)), "gzip");
        return [`${top}:1`, ocxIndex(buildPackage([held, own], { platform: HOST }))];
      }),
    );
    const asks = tops.map((top) => [`${top}:1`, { name: top, platform: "linux/amd64" }] as [string, object]);
    const wire = await atOnce(t, { images, held, asks });
    assert.deepEqual(await wire.counters(), { blobsRead: 4, layersUnpacked: 4, rootsLinked: 3 });
  });

  test("jobs that share one package's work keep the platform that each asked for", async (t) => {
    const images = { "both:1": ocxIndex(...[HOST, FOREIGN].map((platform) => buildPackage([held], { platform }))) };
    const platforms = ["linux/amd64", "linux/s390x"];
    const asks = platforms.map((platform, i) => ["both:1", { name: `n${i}`, platform }] as [string, object]);
    const wire = await atOnce(t, { images, held, asks });
    assert.deepEqual(await wire.counters(), { blobsRead: 1, layersUnpacked: 1, rootsLinked: 1 });
    const { jobs } = await wire.request("install/list");
    for (const platform of platforms) {
      const { installed } = await wire.request("image/status", { reference: jobs[0].reference, platform });
      assert.equal(installed, true, platform);
    }
  });
});
