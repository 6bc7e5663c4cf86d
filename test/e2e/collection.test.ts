/**
 * What is kept and what goes, over the socket and on the command line: shared layers, pins and holds over a restart, and collections
 * in the midst of installs, removals and cancels.
 */
import assert from "node:assert/strict";
import { lstatSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { Collection } from "../../src/messages/collection.js";
import { Root } from "../../src/messages/root.js";
import { cli, cliJson, serve } from "../support/daemon.js";
import { bulkyTar, tarOf, writeLayout } from "../support/images.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { differences, everythingBelow, readTree } from "../support/trees.js";
import { type Json, type Notification, Wire } from "../support/wire.js";

let images: Record<string, TestImage>;

/** The layer names that each image is made of; a layer has one directory, of 40 files. */
const made: Record<string, readonly string[]> = {
  a: ["one", "two"],
  b: ["two", "three"],
  c: ["three", "four", "one"],
  d: ["four"],
};

before(async () => {
  const layers = new Map<string, Buffer>();
  for (const name of ["one", "two", "three", "four"]) layers.set(name, await bulkyTar(name, 40, 3000));
  images = Object.fromEntries(
    Object.entries(made).map(([tag, names]) => [tag, buildImage(names.map((name) => layers.get(name) as Buffer))]),
  );
  images.small = buildImage([await tarOf([{ name: "small", content: "x" }])]);
});

/** What a store keeps for its images: by path, bytes of files. */
function kept(stateDir: string): Record<string, number> {
  const found: Record<string, number> = {};
  for (const room of ["layers", "roots", "blobs", "spill", "names", "staging"])
    for (const path of everythingBelow(join(stateDir, room))) {
      // The time it was made stands in each document.
      const stat = lstatSync(join(stateDir, room, path));
      const isDocument = /(^|\/)(layer|root|b)\.json$/.test(path);
      found[`${room}/${path}`] = stat.isFile() && !isDocument ? stat.size : 0;
    }
  return found;
}

/** Bookmarks come too. */
const isCollected = ({ params }: Notification): boolean => params.type === "store.collected";

async function storeWith(t: { after(cleanUp: () => Promise<void>): unknown }, tags: readonly string[]) {
  const sandbox = await Sandbox.create(t);
  await writeLayout(sandbox.file("layout"), images);
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(t, daemon.socket);
  const reference = (tag: string) => `oci:${sandbox.file("layout")}:${tag}`;
  for (const tag of tags) await wire.ready(reference(tag), { name: tag });
  return { sandbox, daemon, wire, reference, tree: (name: string) => readTree(join(sandbox.stateDir, "names", name)) };
}

test("rm and gc leave what another name shares untouched, and nothing else", async (t) => {
  const { sandbox, wire, tree } = await storeWith(t, ["a", "b"]);
  const alone = await storeWith(t, ["b"]);
  const before = tree("b");
  const { seq } = await wire.request("events/subscribe", { filter: { types: ["store.collected"] } });
  const nothing = Collection.parse(await cliJson(sandbox, ["gc"]));
  assert.deepEqual(nothing.removed, { roots: 0, layers: 0, blobs: 0, bytes: 0, inodes: 0 });
  assert.equal((await cli(sandbox, ["rm", "a"])).stdout, "a\n");

  const planned = Collection.parse(await cliJson(sandbox, ["gc", "--plan"]));
  const [diffId] = Root.parse(await cliJson(sandbox, ["status", "b"])).layers;
  const why = new Map(planned.kept.map(({ id, because }) => [id, because]));
  const rootId = planned.kept.find(({ kind }) => kind === "root")?.id ?? "";
  assert.equal(why.get(rootId), "it is the current generation of b");
  assert.equal(why.get(diffId ?? ""), `root ${rootId.slice(0, 12)} needs it`);
  assert.deepEqual(planned.gone.map(({ kind, because }) => `${kind}: ${because}`).sort(), [
    "blob: no root needs it",
    "blob: no root needs it",
    "layer: no root needs it",
  ]);
  const shown = (await cli(sandbox, ["gc", "--plan"])).stdout.split("\n");
  assert.match(shown[0] ?? "", /^FATE +KIND +ID +SIZE +INODES +BECAUSE$/);
  assert.match(shown[1] ?? "", /^goes +layer +[0-9a-f]{12} +120\.0 kB +4\d +no root needs it$/);
  assert.match(shown.at(-2) ?? "", /^would remove 0 roots, 1 layer, 2 blobs: 12\d\.\d kB, 4\d inodes$/);
  assert.notDeepEqual(kept(sandbox.stateDir), kept(alone.sandbox.stateDir), "a plan removes nothing");

  const { stdout } = await cli(sandbox, ["gc"]);
  assert.match(stdout, /^removed 0 roots, 1 layer, 2 blobs: 12\d\.\d kB, 4\d inodes\n$/);
  assert.deepEqual(differences(tree("b"), before), []);
  assert.deepEqual(kept(sandbox.stateDir), kept(alone.sandbox.stateDir));
  const { params } = await wire.notified("the collection", isCollected);
  assert.deepEqual(
    [params.type, params.data.cause, params.data.removed],
    ["store.collected", "asked", planned.removed],
  );
  assert.ok(params.seq > seq);
});

test("a pin and a hold keep a root over a restart of the daemon, with its name gone; --keep-bytes keeps layers", async (t) => {
  const { sandbox, daemon, ...first } = await storeWith(t, ["a", "d", "small"]);
  const pinned = (await cli(sandbox, ["pin", "a"])).stdout.trim();
  const hold = await first.wire.request("root/hold", { name: "d", owner: "an editor" });
  await first.wire.close();
  daemon.kill("SIGTERM");
  await daemon.ended;
  const again = await serve(sandbox);
  const wire = await Wire.connect(t, again.socket);
  const said = await cli(sandbox, ["rm", "a"]);
  assert.match(said.stderr, new RegExp(`^its root ${pinned.slice(0, 12)} stays: it is pinned$`, "m"));
  assert.equal((await wire.request("root/remove", { name: "d" })).stays, "it is held for an editor");
  await wire.request("root/remove", { name: "small" });
  assert.equal((await wire.request("store/gc", {})).removed.layers, 1);
  const { roots } = await wire.request("root/list");
  assert.deepEqual(
    roots.map((root: Json) => [root.rootId, root.names, root.pinned, root.heldFor]).sort(),
    [
      [pinned, [], true, undefined],
      [hold.rootId, [], false, "an editor"],
    ].sort(),
  );
  assert.match((await cli(sandbox, ["roots"])).stdout, / held for an editor /);
  assert.match(
    (await cli(sandbox, ["unpin", hold.rootId])).stderr,
    /^it was not pinned\n.*\nit is held for an editor$/m,
  );
  assert.deepEqual(await wire.request("root/release", { holdId: hold.holdId }), { released: true });
  await cli(sandbox, ["unpin", pinned]);
  const cached = await wire.request("store/gc", { keepBytes: 250_000 });
  // The roots may have gone by themselves before.
  assert.deepEqual((await wire.request("root/list")).roots, []);
  assert.deepEqual([cached.removed.layers, cached.stays.layers], [1, 2]);
  assert.equal(((await cliJson(sandbox, ["gc"], {})) as Collection).removed.layers, 2);
  assert.deepEqual(
    Object.keys(kept(sandbox.stateDir)).filter((path) => /^(layers|blobs)\/sha256\/|^roots\//.test(path)),
    [],
  );
});

test("by itself: generations beyond keep_generations, and layers beyond cache_bytes, go when an install ends", async (t) => {
  const sandbox = await Sandbox.create(t);
  await writeLayout(sandbox.file("layout"), images);
  const env = { STRATAD_KEEP_GENERATIONS: "1", STRATAD_CACHE_BYTES: "0" };
  const daemon = await serve(sandbox, { env });
  const wire = await Wire.connect(t, daemon.socket);
  await wire.request("events/subscribe", { filter: { types: ["store.collected"] } });
  await wire.ready(`oci:${sandbox.file("layout")}:a`, { name: "app" });
  await wire.ready(`oci:${sandbox.file("layout")}:b`, { name: "app" });
  const { params } = await wire.notified("the collection", isCollected);
  const { cause, removed } = params.data;
  assert.deepEqual([cause, removed.roots, removed.layers, removed.blobs], ["automatic", 1, 1, 2]);
  const { names } = await wire.request("root/get", { name: "app" });
  assert.deepEqual(
    names[0].generations.map(({ stands }: Json) => stands),
    [false, true],
  );
});

test("collections in the midst of installs, removals and cancels: nothing an install needs is ever missing", async (t) => {
  const { sandbox, daemon, wire, reference } = await storeWith(t, []);
  let seed = 5_112_026;
  const draw = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  const tags = Object.keys(made);
  const codes: string[] = [];
  const client = async (name: string): Promise<void> => {
    const own = await Wire.connect(t, daemon.socket);
    for (let turn = 0; turn < 12; turn += 1) {
      const tag = tags[draw(tags.length)] ?? "a";
      const action = draw(4);
      if (action === 0) await own.request("root/remove", { name }).catch(() => undefined);
      else if (action === 1) {
        const { jobId } = await own.request("install/start", { reference: reference(tag), name });
        await own.request("install/cancel", { jobId });
        const retried = await own.install(reference(tag), { name });
        if (retried.state !== "ready") codes.push(retried.error.code);
      } else {
        const job = await own.install(reference(tag), { name });
        if (job.state !== "ready") codes.push(`${job.error.code} ${job.error.message}`);
      }
    }
  };
  let working = true;
  const collecting = (async () => {
    while (working)
      await wire.request("store/gc", draw(2) === 0 ? { keepLast: 1 } : { keepLast: 1, keepBytes: 150_000 });
  })();
  await Promise.all(["x", "y", "z"].map(client)).finally(() => {
    working = false;
  });
  await collecting;
  assert.deepEqual(codes, [], "seed 5112026");

  await wire.request("store/gc", { keepLast: 1 });
  const { roots } = await wire.request("root/list");
  const { layers } = await wire.request("layer/list");
  const needed = new Set(roots.flatMap((root: Json) => root.layers));
  assert.deepEqual(new Set(layers.map(({ diffId }: Json) => diffId)), needed);
  const fresh = await storeWith(t, tags);
  for (const root of roots) {
    const twin = (await fresh.wire.request("root/list")).roots.find(({ rootId }: Json) => rootId === root.rootId);
    assert.deepEqual(differences(readTree(root.path), readTree(twin.path)), []);
  }
  assert.deepEqual(everythingBelow(join(sandbox.stateDir, "staging")), []);
});
