/**
 * Images that are wrong in one place: a clear code, nothing committed, nothing left in staging, and the right image then works.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { blobPath, bulkyTar, layerDigests, tarOf, writeLayout } from "../support/images.js";
import {
  breakOff,
  buildImage,
  type RegistryScript,
  serve as serveHonestly,
  startRegistry,
  type TestImage,
} from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { everythingBelow, readTree } from "../support/trees.js";
import { Wire } from "../support/wire.js";

let tars: [Buffer, Buffer];
let good: TestImage;

before(async () => {
  tars = [await tarOf([{ name: "small", content: "small" }]), await bulkyTar("bulk", 100, 4096)];
  good = buildImage(tars);
});

async function daemonWith(t: TestContext): Promise<{ sandbox: Sandbox; wire: Wire }> {
  const sandbox = await Sandbox.create(t);
  return { sandbox, wire: await Wire.connect(t, (await serve(sandbox)).socket) };
}

/** So many layers are stored, no root, and nothing in staging once the layers that were given up have ended. */
async function assertNothingCommitted({ stateDir }: Sandbox, layers: number): Promise<void> {
  assert.equal(readdirSync(join(stateDir, "layers/sha256")).length, layers);
  assert.deepEqual(readdirSync(join(stateDir, "roots")), []);
  const staged = () => everythingBelow(join(stateDir, "staging")).filter((path) => path.includes("/"));
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

for (const { title, code, image, damage } of damages) {
  test(`${title} is ${code}, exit code 65, and commits nothing of that layer`, async (t) => {
    const { sandbox, wire } = await daemonWith(t);
    const layout = sandbox.file("layout");
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
    await assertNothingCommitted(sandbox, damage === undefined ? 0 : 1);
    assert.equal((await wire.request("image/status", { reference })).installed, false);

    if (damage === undefined) await writeLayout(layout, { app: good });
    else await writeFile(path, whole);
    const job = await wire.ready(reference);
    assert.equal(readTree(job.root.path).entries.size, 102);
  });
}

async function served(t: TestContext, options: Omit<RegistryScript, "images">) {
  const registry = await startRegistry({ images: { "app:1": good }, ...options });
  t.after(() => registry.close());
  return { registry, reference: `${registry.host}/app:1` };
}
const isSecondLayer = (path: string) => path.endsWith(layerDigests(good)[1] ?? "-");

test("a blob that is cut in the middle every time is never committed", async (t) => {
  const { registry, reference } = await served(t, {
    ranges: false,
    script: (exchange) => {
      if (!isSecondLayer(exchange.request.path)) return false;
      breakOff(exchange, 50_000);
      return true;
    },
  });
  const { sandbox, wire } = await daemonWith(t);
  const { state, error } = await wire.install(reference);
  assert.equal(state, "failed");
  assert.ok(["REGISTRY_UNREACHABLE", "SIZE_MISMATCH"].includes(error.code), JSON.stringify(error));
  assert.ok(registry.requests.filter(({ path }) => isSecondLayer(path)).length > 1);
  await assertNothingCommitted(sandbox, 1);
});

test("a blob that is cut in the middle once goes on where it stopped", async (t) => {
  const { registry, reference } = await served(t, {
    script: (exchange) => {
      if (!isSecondLayer(exchange.request.path) || exchange.count > 1) return false;
      breakOff(exchange, 50_000);
      return true;
    },
  });
  const { wire } = await daemonWith(t);
  const job = await wire.ready(reference);
  assert.equal(readTree(job.root.path).entries.size, 102);
  const ranges = registry.requests.filter(({ path }) => isSecondLayer(path)).map(({ headers }) => headers.range);
  assert.equal(ranges.length, 2);
  assert.equal(ranges[0], undefined);
  assert.match(ranges[1] ?? "", /^bytes=\d+-/);
  assert.deepEqual(await wire.counters(), { blobsRead: 2, layersUnpacked: 2, rootsLinked: 1 });
});

test("a registry that serves other bytes of the right length is DIGEST_MISMATCH", async (t) => {
  const { reference } = await served(t, {
    script: (exchange) => {
      if (!isSecondLayer(exchange.request.path) || exchange.body === undefined) return false;
      serveHonestly({ ...exchange, body: flipped(exchange.body) });
      return true;
    },
  });
  const { sandbox, wire } = await daemonWith(t);
  const { error } = await wire.install(reference);
  assert.equal(error.code, "DIGEST_MISMATCH");
  await assertNothingCommitted(sandbox, 1);
});

test("a registry without the blob is BLOB_UNKNOWN, exit code 79", async (t) => {
  const { reference } = await served(t, {
    script: (exchange) => {
      if (!isSecondLayer(exchange.request.path)) return false;
      exchange.response.writeHead(404).end();
      return true;
    },
  });
  const { sandbox, wire } = await daemonWith(t);
  const { error } = await wire.install(reference);
  assert.deepEqual([error.code, error.exitCode], ["BLOB_UNKNOWN", 79]);
  await assertNothingCommitted(sandbox, 1);
});
