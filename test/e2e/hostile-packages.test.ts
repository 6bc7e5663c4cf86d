/**
 * Packages beside others that share their blobs and lie about them: a stored layer is found by a blob's digest, size and codec, so what
 * is wrong is refused whatever came before, and two readings of the same bytes stay two layers.
 */
import assert from "node:assert/strict";
import { before, type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { flipped, freshTars, HONEST_TREE, instead, layerDigest, withDescriptor } from "../hostile/documents/images.js";
import { pack } from "../hostile/documents/packages.js";
import { writeLayout } from "../support/images.js";
import { buildPackage, type PackageLayer } from "../support/packages.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { fileScope } from "../support/sandbox.js";
import { Stage } from "../support/stage.js";
import { END, file, header, padded, tar } from "../support/tar-builder.js";
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

/** From a layout of its own. */
async function installs(t: TestContext, image: TestImage): Promise<Json> {
  serial += 1;
  const layout = stage.path(`layout-${serial}`);
  await writeLayout(layout, { app: image });
  const wire = await stage.connect(t);
  return wire.install(`oci:${layout}:app`, { platform: "linux/amd64", name: `name-${serial}` });
}

function treeOf(job: Json): Readonly<Record<string, string>> {
  assert.equal(job.state, "ready", JSON.stringify(job.error));
  return Object.fromEntries(describeTree(job.root.path));
}

/** What the liar says wrongly of the honest package's second layer. */
const lies: Readonly<Record<string, { readonly lie: (image: TestImage) => TestImage; readonly code: string }>> = {
  "a smaller size": {
    lie: (image) => withDescriptor(image, "layer", (layer) => ({ ...layer, size: layer.size - 1 })),
    code: "SIZE_MISMATCH",
  },
  "another codec": {
    lie: (image) =>
      withDescriptor(image, "layer", (layer) => ({
        ...layer,
        mediaType: "application/vnd.oci.image.layer.v1.tar+xz",
      })),
    code: "MEDIA_TYPE_MISMATCH",
  },
};
for (const [what, { lie, code }] of Object.entries(lies)) {
  for (const order of ["before", "after", "beside"] as const) {
    test(`a package says ${what} of a layer, ${order} an honest one`, { timeout: DEADLINE_MS }, async (t) => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const image = pack();
        const images = order === "before" ? [lie(image), image] : [image, lie(image)];
        const jobs: Json[] = [];
        if (order === "beside") jobs.push(...(await Promise.all(images.map((one) => installs(t, one)))));
        else for (const one of images) jobs.push(await installs(t, one));
        const [honest, liar] = order === "before" ? jobs.reverse() : jobs;
        assert.deepEqual(treeOf(honest), HONEST_TREE);
        assert.equal(liar.error?.code, code, liar.state);
        assert.equal(liar.error.details.layerDigest, layerDigest(image, 1));
        await stage.assertClean();
      }
    });
  }
}

test("a damaged blob is refused, nothing of it is kept, and the same package from elsewhere installs", async (t) => {
  const image = pack();
  const { error } = await installs(
    t,
    instead(image, layerDigest(image, 1), (bytes) => flipped(bytes)),
  );
  assert.deepEqual([error.code, error.details.layerDigest], ["DIGEST_MISMATCH", layerDigest(image, 1)]);
  await stage.assertClean();
  assert.deepEqual(treeOf(await installs(t, image)), HONEST_TREE);
});

/** A tar of one file whose name is the start of a gzip stream: its extra field reaches to the file's body, where `inner` is deflated. */
function twoFaced(inner: Buffer): Buffer {
  const member = gzipSync(inner);
  const GZIP_HEADER_BYTES = 10;
  const deflated = member.subarray(GZIP_HEADER_BYTES);
  const HAS_EXTRA = "\x04";
  const extraBytes = 512 - GZIP_HEADER_BYTES - 2;
  const name = `\x1f\x8b\x08${HAS_EXTRA}timexo${String.fromCharCode(extraBytes & 255, extraBytes >> 8)}`;
  return Buffer.concat([header({ name, size: deflated.length }), padded(deflated), END]);
}

for (const order of ["plain", "gzip"] as const) {
  test(`a blob that is two layers stays two, ${order} first`, async (t) => {
    const [inner] = freshTars();
    const blob = twoFaced(inner);
    const codecs = order === "plain" ? (["none", "gzip"] as const) : (["gzip", "none"] as const);
    for (const codec of codecs) {
      const tree = treeOf(await installs(t, buildPackage([{ codec, blob } satisfies PackageLayer])));
      if (codec === "gzip") assert.deepEqual(tree, { a: HONEST_TREE.a });
      else assert.ok(Object.keys(tree).join().startsWith("\x1f"), JSON.stringify(tree));
    }
  });
}

test("a digest that a package names is no claim of the store's: an image's stays its own", async (t) => {
  // A layer stored under its diffID, and a package that calls its gzip by that very digest.
  const [a, b] = freshTars();
  const image = buildImage([a, b], { codec: "none" });
  assert.deepEqual(treeOf(await installs(t, image)), HONEST_TREE);
  const evil = withDescriptor(pack(), "layer", (layer) => ({ ...layer, digest: layerDigest(image, 1) }));
  const blobs = new Map([...evil.blobs, [layerDigest(image, 1), gzipSync(tar(file("b", "evil")))] as const]);
  const { error } = await installs(t, { ...evil, blobs });
  assert.ok(["DIGEST_MISMATCH", "SIZE_MISMATCH"].includes(error?.code), JSON.stringify(error));
});
