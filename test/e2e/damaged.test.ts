/**
 * Images that are wrong in one place: a clear code, nothing committed, nothing left in staging, and the right image then works.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { type Daemon, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { blobPath, bulkyTar, layerDigests, noise, tarOf, writeLayout } from "../support/images.js";
import {
  breakOff,
  buildImage,
  type RegistryScript,
  type Script,
  serve as serveHonestly,
  startRegistry,
  type TestImage,
} from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { everythingBelow, readTree } from "../support/trees.js";
import { Wire } from "../support/wire.js";

const scope = fileScope();
let sandbox: Sandbox;
let daemon: Daemon;
before(async () => {
  sandbox = await Sandbox.create(scope);
  daemon = await serve(sandbox);
});

/** The layers of an image that nobody has installed. */
async function freshTars(): Promise<[Buffer, Buffer]> {
  return [await tarOf([{ name: "small", content: noise(100) }]), await bulkyTar("bulk", 100, 4096)];
}

const layersIn = () => readdirSync(join(sandbox.stateDir, "layers/sha256")).length;
const rootsIn = () => readdirSync(join(sandbox.stateDir, "roots")).sort();

interface Trial {
  readonly wire: Wire;
  /** So many layers are stored since, no root, and nothing is in staging once the layers that were given up have ended. */
  assertNothingCommitted(layers: number): Promise<void>;
}

async function begin(t: TestContext): Promise<Trial> {
  const [layersBefore, rootsBefore] = [layersIn(), rootsIn()];
  return {
    wire: await Wire.connect(t, daemon.socket),
    assertNothingCommitted: async (layers) => {
      assert.equal(layersIn() - layersBefore, layers);
      assert.deepEqual(rootsIn(), rootsBefore);
      await assertNothingStaged();
    },
  };
}

async function assertNothingStaged(): Promise<void> {
  const staged = () => everythingBelow(join(sandbox.stateDir, "staging")).filter((path) => path.includes("/"));
  await until("staging is empty", () => staged().length === 0);
}

interface Damage {
  readonly title: string;
  readonly code: string;
  readonly image: (tars: readonly [Buffer, Buffer]) => TestImage;
  /** What becomes of the second layer's blob in the layout. */
  readonly damage?: (blob: Buffer) => Buffer;
}

const flipped = (blob: Buffer) => {
  const copy = Buffer.from(blob);
  copy[copy.length >> 1] = (copy[copy.length >> 1] as number) ^ 0x10;
  return copy;
};
const wrongDiffIds = { rootfs: { type: "layers", diff_ids: [`sha256:${"0".repeat(64)}`, `sha256:${"1".repeat(64)}`] } };

const damages: readonly Damage[] = [
  { title: "a flipped byte in a gzip blob", code: "DIGEST_MISMATCH", image: (t) => buildImage(t), damage: flipped },
  {
    title: "a flipped byte in a plain tar",
    code: "DIGEST_MISMATCH",
    image: (t) => buildImage(t, { codec: "none" }),
    damage: flipped,
  },
  {
    title: "a truncated blob",
    code: "SIZE_MISMATCH",
    image: (t) => buildImage(t),
    damage: (blob) => blob.subarray(0, -1000),
  },
  {
    title: "a blob with bytes behind its end",
    code: "SIZE_MISMATCH",
    image: (t) => buildImage(t),
    damage: (blob) => Buffer.concat([blob, Buffer.alloc(512)]),
  },
  { title: "an empty blob", code: "SIZE_MISMATCH", image: (t) => buildImage(t), damage: () => Buffer.alloc(0) },
  { title: "diffIDs of other layers", code: "DIFF_ID_MISMATCH", image: (t) => buildImage(t, { config: wrongDiffIds }) },
];

for (const [index, { title, code, image, damage }] of damages.entries()) {
  test(`${title} is ${code}, exit code 65, and commits nothing of that layer`, async (t) => {
    const { wire, assertNothingCommitted } = await begin(t);
    const layout = sandbox.file(`layout-${index}`);
    const tars = await freshTars();
    const built = image(tars);
    await writeLayout(layout, { app: built });
    const [, second = ""] = layerDigests(built);
    const path = blobPath(layout, second);
    const whole = await readFile(path);
    if (damage !== undefined) await writeFile(path, damage(whole));
    const reference = `oci:${layout}:app`;
    const { state, error, jobId } = await wire.install(reference);
    assert.equal(state, "failed");
    assert.deepEqual([error.code, error.exitCode, error.retryable], [code, 65, false]);
    assert.equal(error.details.jobId, jobId);
    await assertNothingCommitted(damage === undefined ? 0 : 1);
    assert.equal((await wire.request("image/status", { reference })).installed, false);

    if (damage === undefined) await writeLayout(layout, { app: buildImage(tars) });
    else await writeFile(path, whole);
    const job = await wire.ready(reference);
    assert.equal(readTree(job.root.path).entries.size, 102);
  });
}

/** An image of a registry that answers for its second layer as `script` says. */
async function served(t: TestContext, script: Script, options: Omit<RegistryScript, "images" | "script"> = {}) {
  const image = buildImage(await freshTars());
  const isSecondLayer = (path: string) => path.endsWith(layerDigests(image)[1] ?? "-");
  const registry = await startRegistry({
    images: { "app:1": image },
    script: (exchange) => isSecondLayer(exchange.request.path) && script(exchange),
    ...options,
  });
  t.after(() => registry.close());
  const asked = () => registry.requests.filter(({ path }) => isSecondLayer(path));
  return { asked, reference: `${registry.host}/app:1` };
}

test("a blob that is cut in the middle every time is never committed", async (t) => {
  const script: Script = (exchange) => {
    breakOff(exchange, 50_000);
    return true;
  };
  const { asked, reference } = await served(t, script, { ranges: false });
  const { wire, assertNothingCommitted } = await begin(t);
  const { state, error } = await wire.install(reference);
  assert.equal(state, "failed");
  assert.ok(["REGISTRY_UNREACHABLE", "SIZE_MISMATCH"].includes(error.code), JSON.stringify(error));
  assert.ok(asked().length > 1);
  await assertNothingCommitted(1);
});

test("a blob that is cut in the middle once goes on where it stopped", async (t) => {
  const { asked, reference } = await served(t, (exchange) => {
    if (exchange.count > 1) return false;
    breakOff(exchange, 50_000);
    return true;
  });
  const { wire } = await begin(t);
  const before = await wire.counters();
  const job = await wire.ready(reference);
  assert.equal(readTree(job.root.path).entries.size, 102);
  const ranges = asked().map(({ headers }) => headers.range);
  assert.equal(ranges.length, 2);
  assert.equal(ranges[0], undefined);
  assert.match(ranges[1] ?? "", /^bytes=\d+-/);
  const { blobsRead, layersUnpacked, rootsLinked } = await wire.counters();
  const counted = [blobsRead - before.blobsRead, layersUnpacked - before.layersUnpacked];
  assert.deepEqual([...counted, rootsLinked - before.rootsLinked], [2, 2, 1]);
});

test("a registry that serves other bytes of the right length is DIGEST_MISMATCH", async (t) => {
  const { reference } = await served(t, (exchange) => {
    if (exchange.body === undefined) return false;
    serveHonestly({ ...exchange, body: flipped(exchange.body) });
    return true;
  });
  const { wire, assertNothingCommitted } = await begin(t);
  const { error } = await wire.install(reference);
  assert.equal(error.code, "DIGEST_MISMATCH");
  await assertNothingCommitted(1);
});

test("a registry without the blob is BLOB_UNKNOWN, exit code 79", async (t) => {
  const { reference } = await served(t, ({ response }) => {
    response.writeHead(404).end();
    return true;
  });
  const { wire, assertNothingCommitted } = await begin(t);
  const { error } = await wire.install(reference);
  assert.deepEqual([error.code, error.exitCode], ["BLOB_UNKNOWN", 79]);
  await assertNothingCommitted(1);
});
