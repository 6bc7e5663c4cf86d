/**
 * zstd windows beyond 8 MiB: one layer at a time keeps one, however many are asked for, and whatever becomes of the one that does.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { frame } from "../hostile/zstd-frames.js";
import { serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { layerDigests, noise, tarOf, writeLayout } from "../support/images.js";
import { buildImage, sha256, startRegistry, type TestImage } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";

const WIDE = { window: 0x88 };
const ORDINARY = { window: 0x60 };

async function zstdImage(top: string, window: { window: number }): Promise<TestImage> {
  const tar = await tarOf([{ name: `${top}/file`, content: noise(300_000) }]);
  const blob = frame(tar, window);
  const descriptor = {
    mediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
    digest: sha256(blob),
    size: blob.length,
  };
  const rootfs = { type: "layers", diff_ids: [sha256(tar)] };
  const image = buildImage([], { config: { rootfs }, manifest: { layers: [descriptor] } });
  return { ...image, blobs: new Map([...image.blobs, [descriptor.digest, blob]]) };
}

for (const how of ["ends", "is cancelled"] as const) {
  test(`the second wide window waits until the first ${how}; an ordinary one does not wait`, async (t) => {
    const [first, second] = await Promise.all([zstdImage("first", WIDE), zstdImage("second", WIDE)]);
    const ordinary: Record<string, TestImage> = {};
    // Time enough for a wide one that does not wait to be over.
    for (let i = 0; i < 12; i += 1) ordinary[`ordinary-${i}`] = await zstdImage(`ordinary-${i}`, ORDINARY);
    const gate = gateAt(layerDigests(first), 64 * 1024);
    const registry = await startRegistry({ images: { "first:1": first }, script: gate.script });
    t.after(() => registry.close());
    const sandbox = await Sandbox.create(t);
    const layout = sandbox.file("layout");
    await writeLayout(layout, { second, ...ordinary });
    const daemon = await serve(sandbox, { env: { STRATAD_WORKERS: "3" } });
    const wire = await Wire.connect(t, daemon.socket);

    const holding = await wire.request("install/start", { reference: `${registry.host}/first:1` });
    await gate.reached;
    await until("the first layer is being unpacked", async () => {
      const [layer] = (await wire.request("install/get", { jobId: holding.jobId })).layers;
      return layer?.bytesDone > 0;
    });
    const waiting = await wire.request("install/start", { reference: `oci:${layout}:second` });
    for (const tag of Object.keys(ordinary)) await wire.ready(`oci:${layout}:${tag}`);
    const between = await wire.request("install/get", { jobId: waiting.jobId });
    assert.deepEqual([between.state, between.layers[0].state], ["running", "unpacking"]);

    if (how === "is cancelled") await wire.request("install/cancel", { jobId: holding.jobId });
    else gate.open();
    assert.equal((await wire.request("install/wait", { jobId: waiting.jobId })).state, "ready");
    gate.open();
  });
}
