/**
 * Policy c over a slow line: the first name that two layers share ends the job while the rest of them is still on its way, and what
 * would take long is stopped.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { statSync } from "node:fs";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { serve } from "../support/daemon.js";
import { until, within } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { bulkyTar, layerDigests, noise, type TarFile, tarOf } from "../support/images.js";
import { buildImage, type Exchange, startRegistry, type TestImage } from "../support/registry.js";
import { lastFirst, Sandbox } from "../support/sandbox.js";
import { everythingBelow } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

/** More than a layer may have that is unpacked all the same (QUICK_LAYER_BYTES). */
const LARGE_FILES = 9;
const FILE_BYTES = 1024 * 1024;
/** As much as a worker reads first: the first header is there, and nearly nothing of what follows. */
const HELD_AT = 4 * 1024;

const small = (...entries: readonly TarFile[]): Promise<Buffer> => tarOf(entries);

let usr: Buffer;
let opt: Buffer;
before(async () => {
  [usr, opt] = [await bulkyTar("usr", LARGE_FILES, FILE_BYTES), await bulkyTar("opt", LARGE_FILES - 1, FILE_BYTES)];
});

interface Slow {
  readonly wire: Wire;
  readonly sandbox: Sandbox;
  readonly jobId: string;
  /** How often the blob of each layer was asked for. */
  readonly requests: () => number[];
  /** Resolves when the daemon has hung up on both large layers. */
  readonly hungUp: Promise<unknown>;
  /** Lets layer 0 through, which is held as a whole until then. */
  readonly release: () => void;
}

/** Starts an install of an image whose layers 1 and 2 hang behind their first header. */
async function slowInstall(t: TestContext, image: TestImage): Promise<Slow> {
  const digests = layerDigests(image);
  const [first = "", ...others] = digests;
  const [lowest, large] = [gateAt([first], 0), gateAt(others.slice(0, 2), HELD_AT)];
  const closed: Promise<unknown>[] = [];
  const script = async (exchange: Exchange): Promise<boolean> => {
    if (others.slice(0, 2).some((digest) => exchange.request.path.endsWith(digest)))
      closed.push(once(exchange.response, "close"));
    return (await lowest.script(exchange)) || (await large.script(exchange));
  };
  const scope = lastFirst(t);
  const registry = await startRegistry({ images: { "app:1": image }, script });
  scope.after(() => registry.close());
  const sandbox = await Sandbox.create(scope);
  const wire = await Wire.connect(scope, (await serve(sandbox, { env: { STRATAD_WORKERS: "4" } })).socket);
  const { jobId } = await wire.request("install/start", { reference: `${registry.host}/app:1` });
  await large.reached;
  const requests = (): number[] =>
    digests.map((digest) => registry.requests.filter(({ path }) => path.endsWith(`/blobs/${digest}`)).length);
  await until("all layers are asked for", () => requests().every((count) => count === 1));
  return {
    wire,
    sandbox,
    jobId,
    requests,
    get hungUp() {
      return within("the daemon hangs up", Promise.all(closed));
    },
    release: lowest.open,
  };
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

async function assertNothingGoesOn({ wire, sandbox, requests, hungUp }: Slow): Promise<void> {
  await hungUp;
  await until("staging is empty", () =>
    everythingBelow(join(sandbox.stateDir, "staging")).every((path) => !path.includes("/")),
  );
  assert.ok(requests().every((count) => count === 1));
  assert.equal((await wire.counters()).rootsLinked, 0);
  const { roots } = await wire.request("root/list");
  assert.deepEqual(roots, []);
}

test("the job fails when a second layer's first name is read, though its download hangs, and other large layers are stopped", async (t) => {
  const own = await small({ name: "usr/own", content: "own" }, { name: "bin", content: "bin" });
  const image = buildImage([own, usr, opt]);
  const slow = await slowInstall(t, image);
  slow.release();
  const { state, error, layers } = await slow.wire.request("install/wait", { jobId: slow.jobId });
  assert.deepEqual([state, error.code, error.exitCode], ["failed", "LAYER_OVERLAP", 65]);
  const [lower, upper] = layerDigests(image);
  const { complete, total, conflicts, hints } = error.details;
  assert.deepEqual([complete, total, hints], [false, undefined, []]);
  assert.deepEqual(conflicts, [
    {
      path: "usr",
      sides: [
        { layer: 0, digest: lower, type: "dir" },
        { layer: 1, digest: upper, type: "dir" },
      ],
    },
  ]);
  assert.deepEqual(
    layers.map((layer: Json) => layer.state),
    ["stored", "failed", "failed"],
  );
  await assertNothingGoesOn(slow);
  assert.equal((await slow.wire.counters()).layersUnpacked, 1);
});

test("with a single thread for layers that are on their way the next is read as soon as the one before it is done", async (t) => {
  const own = await small({ name: "usr/own", content: noise(8192) });
  const image = buildImage([own, usr]);
  const [lower = "", upper = ""] = layerDigests(image);
  const [first, second] = [gateAt([lower], HELD_AT), gateAt([upper], HELD_AT)];
  let goOn = (): void => undefined;
  const upperMayCome = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const script = async (exchange: Exchange): Promise<boolean> => {
    if (exchange.request.path.endsWith(upper)) await upperMayCome;
    return (await first.script(exchange)) || (await second.script(exchange));
  };
  const scope = lastFirst(t);
  const registry = await startRegistry({ images: { "app:1": image }, script });
  scope.after(() => registry.close());
  const sandbox = await Sandbox.create(scope);
  const wire = await Wire.connect(scope, (await serve(sandbox, { env: { STRATAD_WORKERS: "2" } })).socket);
  const { jobId } = await wire.request("install/start", { reference: `${registry.host}/app:1` });
  await until("the lower layer has the thread", async () => {
    const { layers } = await wire.request("install/get", { jobId });
    return layers[0]?.bytesDone > 0;
  });
  goOn();
  const staging = join(sandbox.stateDir, "staging");
  const arrived = () =>
    everythingBelow(staging).filter((path) => path.endsWith("/blob") && sizeOf(join(staging, path)) > 0);
  await until("the upper layer has begun to come", () => arrived().length === 2);
  first.open();
  const { state, error } = await wire.request("install/wait", { jobId });
  assert.deepEqual([state, error.code, error.details.complete], ["failed", "LAYER_OVERLAP", false]);
});

test("a content error of a small layer outranks the overlap", async (t) => {
  const own = await small({ name: "usr/own", content: "own" });
  const damaged = await small({ name: "etc/file", content: "content" });
  damaged.fill("x", 148, 156);
  const slow = await slowInstall(t, buildImage([own, usr, opt, damaged]));
  await until("the damaged layer is refused", async () => {
    const { layers } = await slow.wire.request("install/get", { jobId: slow.jobId });
    return layers[3]?.state === "failed";
  });
  slow.release();
  const { state, error } = await slow.wire.request("install/wait", { jobId: slow.jobId });
  assert.deepEqual([state, error.code], ["failed", "TAR_CHECKSUM"]);
  await assertNothingGoesOn(slow);
});

test("what is stored already tells the overlap before anything is fetched", async (t) => {
  const own = await small({ name: "usr/own", content: "own" });
  const other = await small({ name: "usr/other", content: "other" });
  const [one, two] = [buildImage([own]), buildImage([other])];
  const both = buildImage([own, other, usr]);
  const registry = await startRegistry({ images: { "one:1": one, "two:1": two, "both:1": both } });
  const scope = lastFirst(t);
  scope.after(() => registry.close());
  const sandbox = await Sandbox.create(scope);
  const wire = await Wire.connect(scope, (await serve(sandbox)).socket);
  await wire.ready(`${registry.host}/one:1`);
  await wire.ready(`${registry.host}/two:1`);
  const { error } = await wire.install(`${registry.host}/both:1`);
  assert.deepEqual(
    [error.code, error.details.complete, error.details.conflicts[0].path],
    ["LAYER_OVERLAP", false, "usr"],
  );
  const last = layerDigests(both)[2] ?? "";
  assert.deepEqual(
    registry.requests.filter(({ path }) => path.endsWith(last)),
    [],
  );
});
