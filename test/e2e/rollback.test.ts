/**
 * A name that is installed again and again, and goes back: on the disk, over the socket and on the command line; what all of it
 * costs, with find(1) as the judge.
 */
import assert from "node:assert/strict";
import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { methods } from "../../src/messages/methods.js";
import { Root } from "../../src/messages/root.js";
import { StoreUsage } from "../../src/messages/usage.js";
import { cli, cliJson, serve } from "../support/daemon.js";
import { tarOf, writeLayout } from "../support/images.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { type Json, Wire } from "../support/wire.js";

const versions = ["v1", "v2", "v3"] as const;
let images: Record<(typeof versions)[number], TestImage>;

before(async () => {
  const base = await tarOf([
    { name: "base", content: "b".repeat(1000) },
    { name: "base-link", type: "link", linkname: "base" },
    { name: "empty", content: "" },
  ]);
  const image = async (tag: string, bytes: number) =>
    buildImage([
      base,
      await tarOf([
        { name: "version", content: tag },
        { name: "own", content: "x".repeat(bytes) },
      ]),
    ]);
  images = { v1: await image("v1", 10), v2: await image("v2", 200), v3: await image("v3", 3000) };
});

/** A daemon with v1, v2 and v3 installed as `app`, in turn. */
async function installed(t: TestContext) {
  const sandbox = await Sandbox.create(t);
  await writeLayout(sandbox.file("layout"), images);
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(t, daemon.socket);
  const reference = (tag: string) => `oci:${sandbox.file("layout")}:${tag}`;
  for (const tag of versions) await wire.ready(reference(tag), { name: "app" });
  const path = join(sandbox.stateDir, "names/app");
  return { sandbox, daemon, wire, reference, path, version: () => readFileSync(join(path, "version"), "utf8") };
}

const generationIn = (root: Root | undefined) => root?.names.find(({ name }) => name === "app")?.generation;

test("rollback twice goes back two, a number goes anywhere, and each prints the roots that the name had and has", async (t) => {
  const { sandbox, version } = await installed(t);
  const steps: readonly [args: readonly string[], had: number, has: number][] = [
    [[], 3, 2],
    [[], 2, 1],
    [["3"], 1, 3],
    [["3"], 3, 3],
  ];
  for (const [args, had, has] of steps) {
    const document = await cliJson(sandbox, ["rollback", "app", ...args]);
    const parsed = methods["root/rollback"].result.parse(document);
    assert.deepEqual(parsed, document, "it says no more than its schema");
    assert.deepEqual([generationIn(parsed.had), generationIn(parsed.has)], [had, has]);
    assert.equal(version(), `v${has}`);
  }
  const { stdout, stderr } = await cli(sandbox, ["rollback", "app"]);
  assert.deepEqual(
    [stdout, stderr],
    [`${join(sandbox.stateDir, "names/app")}\n`, "app: generation 2 is current, it was 3\n"],
  );
});

test("whoever asks after a rollback hears of the current generation: the reference, the name, the list, the next install", async (t) => {
  const { sandbox, wire, reference, path } = await installed(t);
  const { has } = await wire.request("root/rollback", { name: "app", generation: 1 });
  const isInstalled = async (tag: string) =>
    (await wire.request("image/status", { reference: reference(tag) })).installed;
  assert.deepEqual(await Promise.all(versions.map(isInstalled)), [true, false, false]);
  const root = Root.parse(await cliJson(sandbox, ["status", "app"]));
  assert.equal(root.rootId, has.rootId);
  assert.deepEqual(
    root.names[0]?.generations?.map((one) => [one.generation, one.reference, one.current, one.stands]),
    versions.map((tag, index) => [index + 1, reference(tag), index === 0, true]),
  );
  const { roots } = await wire.request("root/list");
  assert.deepEqual(
    roots.map(({ names }: Json) => names),
    [[{ name: "app", path, generation: 1 }], [], []],
  );
  const job = await wire.ready(reference("v3"), { name: "app" });
  assert.equal(job.name.generation, 4);
  assert.equal((await wire.request("root/rollback", { name: "app" })).has.names[0].generation, 3);
});

test("a rollback is told as name.changed, and one that changes nothing is not", async (t) => {
  const { wire, path } = await installed(t);
  const filter = { names: ["app"], types: ["name.changed"] };
  const { subscriptionId } = await wire.request("events/subscribe", { filter });
  const { has } = await wire.request("root/rollback", { name: "app", generation: 2 });
  await wire.request("root/rollback", { name: "app", generation: 2 });
  await wire.refused("root/rollback", { name: "app", generation: 9 });
  await wire.request("root/rollback", { name: "app" });
  await wire.notified("the second flip", ({ params }) => params.data?.generation === 1);
  const events = wire.notifications.filter(({ params }) => params.subscriptionId === subscriptionId);
  assert.deepEqual(
    events.map(({ params }) => [params.type, params.name, params.data.generation, params.data.path]),
    [
      ["name.changed", "app", 2, path],
      ["name.changed", "app", 1, path],
    ],
  );
  assert.equal(events[0]?.params.data.rootId, has.rootId);
});

test("a killed daemon's rollback stands after a restart, whenever it was killed", async (t) => {
  const { sandbox, path, ...first } = await installed(t);
  let { daemon, wire } = first;
  for (const answers of [0, 1, 5, 20]) {
    let answered = 0;
    let last: Json;
    const killed = new Promise<void>((resolve) => {
      const goOn = async (): Promise<void> => {
        for (let n = 0; ; n += 1) {
          const asked = wire.request("root/rollback", { name: "app", generation: (n % 3) + 1 });
          if (answered === answers) {
            daemon.kill("SIGKILL");
            resolve();
          }
          last = (await asked).has;
          answered += 1;
        }
      };
      goOn().catch(() => undefined);
    });
    await killed;
    await daemon.ended;
    daemon = await serve(sandbox);
    wire = await Wire.connect(t, daemon.socket);
    const root = await wire.request("root/get", { name: "app" });
    assert.equal(join(sandbox.stateDir, "names", readlinkSync(path)), root.path);
    const current = generationIn(root) ?? 0;
    const before = answered === 0 ? 3 : (generationIn(last) ?? 0);
    assert.ok([before, (answered % 3) + 1].includes(current), `${before} was answered, ${current} is current`);
  }
});

test("du counts what find(1) counts: apparent in the roots, unique in the inodes, and shared is the difference", async (t) => {
  const { sandbox } = await installed(t);
  await cliJson(sandbox, ["install", `oci:${sandbox.file("layout")}:v1`, "--name", "other"]);
  const document = await cliJson(sandbox, ["du"]);
  const usage = StoreUsage.parse(document);
  assert.deepEqual(usage, document, "du says no more than its schema");
  const files = async (below: string) => {
    const found = await sandbox.must(["find", below, "-type", "f", "-path", "*/tree/*", "-printf", "%i %s\n"]);
    return found
      .trimEnd()
      .split("\n")
      .map((line) => line.split(" ") as [string, string]);
  };
  const sum = (found: Iterable<[string, string]>) => [...found].reduce((total, [, size]) => total + Number(size), 0);
  const inRoots = await files(join(sandbox.stateDir, "roots"));
  const everywhere = new Map(await files(sandbox.stateDir));
  // The archive's hard link is one inode and two entries of the layer's bytes, as tar counts them: once.
  const again = usage.roots.length * 1000;
  assert.equal(usage.apparentBytes, sum(inRoots) - again);
  assert.equal(usage.uniqueBytes, sum(everywhere.entries()));
  assert.equal(usage.sharedBytes, usage.apparentBytes - usage.uniqueBytes);
  assert.deepEqual(
    usage.roots.map(({ names, uniqueBytes, sharedBytes }) => [names, uniqueBytes, sharedBytes]),
    [
      [["other"], 12, 1000],
      [[], 202, 1000],
      [["app"], 3002, 1000],
    ],
  );
});
