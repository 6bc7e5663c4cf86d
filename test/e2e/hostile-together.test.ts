/**
 * Hostile images beside honest ones that share their blobs, and files that change while they are read: whatever an image claims, and in
 * whatever order it comes, the honest one is what it says.
 */
import assert from "node:assert/strict";
import { appendFile, open, truncate } from "node:fs/promises";
import { before, type TestContext, test } from "node:test";
import {
  flipped,
  freshTars,
  HONEST_TREE,
  honest,
  instead,
  layerDigest,
  withConfig,
  withDescriptor,
} from "../hostile/documents/images.js";
import { blobPath, bulkyTar, writeLayout } from "../support/images.js";
import { buildImage, sha256, type TestImage } from "../support/registry.js";
import { fileScope } from "../support/sandbox.js";
import { Stage } from "../support/stage.js";
import { file, tar } from "../support/tar-builder.js";
import type { Json } from "../support/wire.js";
import { describeTree } from "../workers/unpacking.js";

/** Against what would hang for ever: a machine that is busy with other tests may take seconds for a row. */
const DEADLINE_MS = 120_000;
const ROUNDS = 10;

const scope = fileScope();
let stage: Stage;
before(async () => {
  stage = await Stage.open(scope);
});

let serial = 0;
let names = 0;
/** A diffID that no layer has. */
const unheardOf = (): string => sha256(Buffer.from(`claimed ${serial}`));

/** Another config for the very same blobs. */
const claiming = (image: TestImage, diffId: string): TestImage =>
  withConfig(image, ({ rootfs, ...config }) => ({
    ...config,
    rootfs: { ...rootfs, diff_ids: [rootfs.diff_ids[0], diffId] },
  }));

/** A layout of its own for each: they do not share where they come from. */
async function place(images: Readonly<Record<string, TestImage>>): Promise<(tag: string) => string> {
  serial += 1;
  const at = serial;
  for (const [tag, image] of Object.entries(images)) await writeLayout(stage.path(`${at}-${tag}`), { [tag]: image });
  return (tag) => `oci:${stage.path(`${at}-${tag}`)}:${tag}`;
}

async function installs(t: TestContext, reference: string): Promise<Json> {
  const wire = await stage.connect(t);
  names += 1;
  return wire.install(reference, { platform: "linux/amd64", name: `name-${names}` });
}

function assertHonest(job: Json): void {
  assert.equal(job.state, "ready", JSON.stringify(job.error));
  assert.deepEqual(Object.fromEntries(describeTree(job.root.path)), HONEST_TREE);
}

for (const order of ["the honest one first", "the liar first", "both at once"]) {
  test(`two configs claim different diffIDs for one blob, ${order}`, { timeout: DEADLINE_MS }, async (t) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const image = honest();
      const claimed = unheardOf();
      const reference = await place({ honest: image, liar: claiming(image, claimed) });
      const tags = order === "the liar first" ? ["liar", "honest"] : ["honest", "liar"];
      const jobs = new Map<string, Json>();
      const one = async (tag: string) => jobs.set(tag, await installs(t, reference(tag)));
      if (order === "both at once") await Promise.all(tags.map(one));
      else for (const tag of tags) await one(tag);
      assertHonest(jobs.get("honest"));
      const { error } = jobs.get("liar");
      assert.equal(error?.code, "DIFF_ID_MISMATCH");
      assert.equal(error.details.layerDigest, layerDigest(image, 1));
      assert.equal(stage.isStored(claimed), false, "the store has a layer under a diffID that nobody computed");
      await stage.assertClean();
    }
  });
}

/** What the liar says wrongly of the honest image's second layer, or serves instead of it. */
const lies: Readonly<Record<string, { readonly lie: (image: TestImage) => TestImage; readonly code: string }>> = {
  "another size": {
    lie: (image) => withDescriptor(image, "layer", (layer) => ({ ...layer, size: layer.size + 1 })),
    code: "SIZE_MISMATCH",
  },
  "another codec": {
    lie: (image) =>
      withDescriptor(image, "layer", (layer) => ({
        ...layer,
        mediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
      })),
    code: "MEDIA_TYPE_MISMATCH",
  },
  "other bytes": { lie: (image) => instead(image, layerDigest(image, 1), flipped), code: "DIGEST_MISMATCH" },
};
for (const [what, { lie, code }] of Object.entries(lies)) {
  test(`two images share a layer, one with ${what}, both at once`, { timeout: DEADLINE_MS }, async (t) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const image = honest();
      const reference = await place({ honest: image, liar: lie(image) });
      const tags = round % 2 === 0 ? ["liar", "honest"] : ["honest", "liar"];
      const jobs = new Map(
        await Promise.all(tags.map(async (tag) => [tag, await installs(t, reference(tag))] as const)),
      );
      assertHonest(jobs.get("honest"));
      // Who comes when the layer is stored gets the layer: it is what the config says, whatever the blob would have been.
      const liar = jobs.get("liar");
      if (liar.state === "ready") assertHonest(liar);
      else assert.equal(liar.error.code, code);
      await stage.assertClean();
    }
  });
}

test("a blob that is said to be a stored layer is not believed to be: the layer is what was computed", async (t) => {
  const image = honest();
  const [, victim = ""] = JSON.parse(String(image.blobs.get(JSON.parse(image.bytes.toString()).config.digest))).rootfs
    .diff_ids;
  const evil = claiming(buildImage([freshTars()[0], tar(file("b", "evil"))]), victim);
  const reference = await place({ honest: image, evil });
  assertHonest(await installs(t, reference("honest")));
  const job = await installs(t, reference("evil"));
  assertHonest(job);
  const wire = await stage.connect(t);
  const { layers } = await wire.request("layer/list", { limit: 1000 });
  const layer = layers.find(({ diffId }: Json) => diffId === victim);
  assert.deepEqual(layer.digests, [layerDigest(image, 1)], "a digest is kept that nobody compared with the layer");
});

/** What becomes of the layer's file as soon as it is being read, and what of the install. */
const changes: Readonly<
  Record<string, { readonly change: (path: string) => Promise<unknown>; readonly code?: string }>
> = {
  "shrinks to nothing": { change: (path) => truncate(path), code: "SIZE_MISMATCH" },
  "is written over": { change: overwrite, code: "DIGEST_MISMATCH" },
  grows: { change: (path) => appendFile(path, Buffer.alloc(1 << 20)) },
};
const FILES = 20_000;
for (const [what, { change, code }] of Object.entries(changes)) {
  test(`a layer's file ${what} while it is read: ${code ?? "only its first bytes count"}`, async (t) => {
    const image = buildImage([await bulkyTar(`bulk-${what}`, FILES, 512)], { codec: "none" });
    const reference = await place({ app: image });
    const [watch, wire] = [await stage.connect(t), await stage.connect(t)];
    await watch.request("events/subscribe");
    const { jobId } = await wire.request("install/start", {
      reference: reference("app"),
      platform: "linux/amd64",
      name: "changing",
    });
    await watch.notified(
      "the layer is being unpacked",
      ({ params }) => params.jobId === jobId && params.type === "job.layer" && params.data.layer.state === "unpacking",
    );
    await change(blobPath(reference("app").split(":")[1] ?? "", layerDigest(image, 0)));
    const job = await wire.request("install/wait", { jobId });
    if (code === undefined) assert.equal(job.state, "ready", JSON.stringify(job.error));
    else assert.equal(job.error?.code, code, JSON.stringify(job.error ?? job.state));
    await stage.assertClean();
    await stage.proveAlive(wire);
  });
}

/** The last byte: the file's length stays. */
async function overwrite(path: string): Promise<void> {
  const handle = await open(path, "r+");
  const { size } = await handle.stat();
  await handle.write(Buffer.from("x"), 0, 1, size - 1);
  await handle.close();
}
