/** Trees of links that are made while nothing else is to do: the next root of a layer takes them, and none may cost a root anything. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { MIN_SPARE_ENTRIES } from "../../src/limits.js";
import { checkStore } from "../support/check-store.js";
import { type Daemon, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { smallTmpfs } from "../support/file-systems.js";
import { layerDigests, tarOf, writeLayout } from "../support/images.js";
import { becomeOtherUser } from "../support/other-user.js";
import { buildImage, startRegistry } from "../support/registry.js";
import { fileScope, lastFirst, Sandbox, type Scope } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { readTree } from "../support/trees.js";
import { type Json, RpcError, Wire } from "../support/wire.js";

/** At two tops, in a directory that nobody may write to among them; of directories, which a spare has as its own, there are many. */
const DIRECTORIES = 320;
const base = [
  { name: "closed/", type: "directory", mode: 0o555, mtime: new Date(1_500_000_000_000) },
  ...Array.from({ length: 400 }, (_, i) => ({ name: `closed/${i}`, content: `closed ${i}` })),
  ...Array.from({ length: 400 }, (_, i) => ({ name: `open/${i % DIRECTORIES}/${i}`, content: `open ${i}` })),
  { name: "open/link", type: "symlink", linkname: "0/0" },
  { name: "open/empty", content: "" },
  { name: "caf\u00e9", content: "a name of bytes" },
] as const;

interface Stand {
  readonly scope: Scope;
  readonly sandbox: Sandbox;
  readonly reference: (tag: string) => string;
  readonly wire: Wire;
  readonly daemon: Daemon;
}

/** Images of one base, each with a layer of its own; `one` is installed, and the base's spare is there. */
async function stand(
  context: Scope,
  prepare: (sandbox: Sandbox) => Promise<void> = async () => undefined,
  options: Parameters<typeof Sandbox.create>[1] = {},
): Promise<Stand> {
  const scope = lastFirst(context);
  const sandbox = await Sandbox.create(scope, options);
  await prepare(sandbox);
  const layer = await tarOf(base);
  const image = async (tag: string) => buildImage([layer, await tarOf([{ name: `own-${tag}`, content: tag }])]);
  const layout = sandbox.file("layout");
  const small = buildImage([await tarOf([{ name: "small", content: "linked as soon as a spare would be taken" }])]);
  const clash = buildImage([layer, await tarOf([{ name: "open/clash", content: "" }])]);
  await writeLayout(layout, {
    one: await image("one"),
    two: await image("two"),
    six: await image("six"),
    small,
    clash,
  });
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(scope, daemon.socket);
  const reference = (tag: string) => `oci:${layout}:${tag}`;
  await wire.ready(reference("small"), { name: "small" });
  await wire.ready(reference("one"), { name: "one" });
  await made(sandbox);
  return { scope, sandbox, reference, wire, daemon };
}

const spares = (sandbox: Sandbox): string[] => readdirSync(join(sandbox.stateDir, "spares"));
/** Its tree. */
const made = (sandbox: Sandbox): Promise<string> =>
  until("the spare is made", () => {
    const document = spares(sandbox).find((name) => name.endsWith(".json"));
    return document && join(sandbox.stateDir, "spares", document.slice(0, -".json".length));
  });

async function restarted({ scope, sandbox, daemon }: Stand, between: () => void, env = {}): Promise<Wire> {
  daemon.kill("SIGTERM");
  await daemon.ended;
  between();
  return Wire.connect(scope, (await serve(sandbox, { env })).socket);
}

const inode = (...path: string[]): number => statSync(join(...path)).ino;

/** The root is what it is without a spare, whether the spare was taken or not. */
async function assertWhole(wire: Wire, root: Json, tag: string): Promise<void> {
  const { entries } = readTree(root.path);
  const paths = [...entries.keys()];
  assert.equal(paths.filter((path) => path.startsWith("closed/")).length, 400);
  assert.equal(paths.filter((path) => /^open\/\d+\/\d+$/.test(path)).length, 400);
  for (const path of ["closed", "open/link", "open/empty", `own-${tag}`])
    assert.ok(entries.has(path), `${path} is in the root`);
  assert.equal(readFileSync(join(root.path, "caf\u00e9"), "utf8"), "a name of bytes");
  assert.equal(statSync(join(root.path, "closed")).mode & 0o7777, 0o555);
  assert.equal(statSync(join(root.path, "closed")).mtimeMs, 1_500_000_000_000);
  assert.deepEqual((await wire.request("store/verify", { deep: true })).findings, []);
}

test("the next root of a layer takes its spare as it is, and another one is made", async (t) => {
  const { sandbox, reference, wire, daemon } = await stand(t);
  const spare = await made(sandbox);
  const directories = ["closed", "open", "open/3"].map((path) => inode(spare, path));
  const { root } = await wire.ready(reference("two"), { name: "two" });
  assert.deepEqual(
    ["closed", "open", "open/3"].map((path) => inode(root.path, path)),
    directories,
  );
  await assertWhole(wire, root, "two");
  await made(sandbox);
  assert.notEqual(inode(spare, "open"), directories[1]);
  daemon.kill("SIGTERM");
  await daemon.ended;
  assert.deepEqual(checkStore(sandbox.stateDir, { swept: true }), []);
});

test("what links a root tells is the same with a spare as without", async (t) => {
  const { reference, wire } = await stand(t);
  const [two, six] = [
    await wire.ready(reference("two"), { name: "two" }),
    await wire.ready(reference("six"), { name: "six" }),
  ];
  assert.deepEqual(two.linked, six.linked);
  assert.equal(two.linked.files, 803);
});

test("a spare that somebody took something out of costs no root anything", async (t) => {
  const { sandbox, reference, wire, daemon } = await stand(t);
  const spare = await made(sandbox);
  renameSync(join(spare, "open"), sandbox.file("taken"));
  const { root } = await wire.ready(reference("two"), { name: "two" });
  await assertWhole(wire, root, "two");
  assert.match(daemon.log(), /"spare\.lost"/);
});

test("a spare that somebody put something into costs no root anything", async (t) => {
  const { sandbox, reference, wire } = await stand(t);
  writeFileSync(join(await made(sandbox), "stranger"), "");
  const { root } = await wire.ready(reference("two"), { name: "two" });
  await assertWhole(wire, root, "two");
});

test("a spare goes with its layer, and the status tells of it until then", async (t) => {
  const { sandbox, wire } = await stand(t);
  const told = async () => (await wire.request("server/status")).store.spares;
  await until("it is told of", async () => (await told()).layers === 1);
  const { layers } = await wire.request("layer/list");
  assert.deepEqual(
    [(await told()).entries],
    layers.map(({ entries }: Json) => entries).filter((entries: number) => entries >= MIN_SPARE_ENTRIES),
  );
  await wire.request("root/remove", { name: "one" });
  await wire.request("store/gc");
  await until("it is gone", () => spares(sandbox).length === 0);
  assert.deepEqual(await told(), { layers: 0, entries: 0 });
});

test("a spare goes when its layer is mended: the next root shows what the layer is", async (t) => {
  const { sandbox, reference, wire } = await stand(t);
  const spare = await made(sandbox);
  writeFileSync(join(spare, "open/3/3"), "damaged");
  assert.equal((await wire.request("store/verify", { deep: true, repair: true })).findings.length, 0);
  const { root } = await wire.ready(reference("two"), { name: "two" });
  assert.equal(readFileSync(join(root.path, "open/3/3"), "utf8"), "open 3");
  await assertWhole(wire, root, "two");
});

test("no layer is mended while a spare of it stands that cannot be removed: the next daemon would believe it", async (t) => {
  const { sandbox, reference, wire } = await stand(t);
  const spare = await made(sandbox);
  writeFileSync(join(spare, "open/3/3"), "damaged");
  rmSync(`${spare}.json`);
  mkdirSync(`${spare}.json`);
  const repair = () => wire.request("store/verify", { deep: true, repair: true });
  await assert.rejects(repair(), (error) => error instanceof RpcError && error.data.code === "STORE_IO");
  const beside = await wire.ready(reference("six"), { name: "six" });
  assert.notEqual(inode(beside.root.path, "open"), inode(spare, "open"));
  assert.ok(existsSync(join(spare, "open/3/3")), "it stands as before");
  rmdirSync(`${spare}.json`);
  assert.deepEqual((await repair()).findings, []);
  const { root } = await wire.ready(reference("two"), { name: "two" });
  await assertWhole(wire, root, "two");
});

test("what stands in the place of a spare is removed for the next one", async (t) => {
  const { sandbox, reference, wire } = await stand(t);
  const spare = await made(sandbox);
  await wire.ready(reference("two"), { name: "two" });
  mkdirSync(join(spare, "stranger"), { recursive: true });
  await made(sandbox);
  assert.ok(!existsSync(join(spare, "stranger")));
});

test("a spare that a refused image took is made again", async (t) => {
  const { sandbox, reference, wire } = await stand(t);
  await made(sandbox);
  await assert.rejects(wire.ready(reference("clash"), { name: "clash" }), /LAYER_OVERLAP/);
  await made(sandbox);
  const { root } = await wire.ready(reference("two"), { name: "two" });
  await assertWhole(wire, root, "two");
});

test("of more layers than may have spares the one that was linked last has one", async (t) => {
  const scope = lastFirst(t);
  const sandbox = await Sandbox.create(scope);
  const layer = (top: string) =>
    tarOf(Array.from({ length: MIN_SPARE_ENTRIES }, (_, i) => ({ name: `${top}/${i}`, content: `${top} ${i}` })));
  const image = buildImage([await layer("low"), await layer("high")]);
  await writeLayout(sandbox.file("layout"), { image });
  const daemon = await serve(sandbox, { env: { STRATAD_SPARE_ENTRIES: String(MIN_SPARE_ENTRIES * 1.5) } });
  const wire = await Wire.connect(scope, daemon.socket);
  await wire.ready(`oci:${sandbox.file("layout")}:image`);
  assert.deepEqual(readdirSync(await made(sandbox)), ["high"]);
});

test("there is no spare while a layer is mended: a daemon that ends in the middle leaves none of what was damaged", async (t) => {
  const image = buildImage([await tarOf(base)]);
  const [blob = ""] = layerDigests(image);
  let asked = false;
  let hold: Promise<void> | undefined;
  const scope = lastFirst(t);
  const registry = await startRegistry({
    images: { "base:1": image },
    script: async ({ request }) => {
      if (hold !== undefined && request.path.endsWith(blob)) {
        asked = true;
        await hold;
      }
      return false;
    },
  });
  scope.after(() => registry.close());
  const sandbox = await Sandbox.create(scope);
  const wire = await Wire.connect(scope, (await serve(sandbox)).socket);
  await wire.ready(`${registry.host}/base:1`, { name: "one" });
  writeFileSync(join(await made(sandbox), "open/3/3"), "damaged");
  let release = (): void => undefined;
  hold = new Promise((resolve) => {
    release = resolve;
  });
  const repair = wire.request("store/verify", { deep: true, repair: true });
  await until("the layer is fetched again", () => asked);
  assert.deepEqual(spares(sandbox), []);
  release();
  assert.deepEqual((await repair).findings, []);
});

test("a daemon takes the spares of its predecessor", async (t) => {
  const there = await stand(t);
  const directory = inode(await made(there.sandbox), "open");
  const wire = await restarted(there, () => undefined);
  const { root } = await wire.ready(there.reference("two"), { name: "two" });
  assert.equal(inode(root.path, "open"), directory);
  await assertWhole(wire, root, "two");
});

test("a spare of another boot is removed at the start, and no root has anything of it", async (t) => {
  const there = await stand(t);
  const document = `${await made(there.sandbox)}.json`;
  const wire = await restarted(there, () =>
    writeFileSync(document, JSON.stringify({ ...JSON.parse(readFileSync(document, "utf8")), bootId: "another" })),
  );
  await until("it is gone", () => spares(there.sandbox).length === 0);
  const { root } = await wire.ready(there.reference("two"), { name: "two" });
  await assertWhole(wire, root, "two");
});

test("a spare without its document is removed at the start", async (t) => {
  const there = await stand(t);
  const document = `${await made(there.sandbox)}.json`;
  await restarted(there, () => rmSync(document));
  await until("it is gone", () => spares(there.sandbox).length === 0);
});

test("spares beyond the setting are removed", async (t) => {
  const there = await stand(t);
  await restarted(there, () => undefined, { STRATAD_SPARE_ENTRIES: "100" });
  await until("it is gone", () => spares(there.sandbox).length === 0);
});

/** Of its inodes `stand` takes about a third. */
const small = await smallTmpfs(fileScope(), { megabytes: 64, inodes: 8000 });
/** The reserve as it is by itself: a twentieth. */
const RESERVE = 8000 / 20;

/** As many inodes are free; a layer that nothing needs is stored, and there is a spare. */
async function standOnSmall(t: Scope, free: number) {
  const below = await mkdtemp(join(small.directory ?? "", "of-"));
  const there = await stand(t, undefined, { stateBelow: below });
  // Behind the sandbox, whose daemon works there.
  t.after(() => rm(below, { recursive: true }));
  const { sandbox, wire } = there;
  await wire.request("root/remove", { name: "small" });
  const unneeded = (await wire.request("layer/list")).layers.find(({ entries }: Json) => entries === 1).diffId;
  for (let i = 0; statfsSync(below).ffree > free; i += 1) writeFileSync(join(below, `filler-${i}`), "");
  const stored = (): string[] => readdirSync(join(sandbox.stateDir, "layers/sha256"));
  return { ...there, isStored: () => stored().includes(unneeded.slice("sha256:".length)) };
}

test("room is made by spares first: no layer goes where that is enough", { skip: small.skip }, async (t) => {
  const { sandbox, reference, wire, isStored } = await standOnSmall(t, RESERVE + 160);
  const { root } = await wire.ready(reference("two"), { name: "two", overlap: "a" });
  await assertWhole(wire, root, "two");
  assert.deepEqual([spares(sandbox), isStored()], [[], true]);
});

test("spares go when the reserve is not there any more, and no layer", { skip: small.skip }, async (t) => {
  const { sandbox, reference, wire, isStored } = await standOnSmall(t, RESERVE - 50);
  await wire.ready(reference("one"), { name: "again" });
  await until("the spare is gone", () => spares(sandbox).length === 0);
  // Takes its turn behind the collection that gave it up, and wants nothing.
  await wire.request("store/gc", { keepBytes: 2 ** 40 });
  assert.ok(isStored());
});

const { skip, path: setpriv } = toolOrSkip("setpriv");
test("an ordinary user's daemon takes directories that nobody may write to", { skip }, async (t) => {
  const { sandbox, reference, wire } = await stand(t, (sandbox) => becomeOtherUser(sandbox, setpriv ?? ""));
  const directory = inode(await made(sandbox), "closed");
  const { root } = await wire.ready(reference("two"), { name: "two" });
  assert.equal(inode(root.path, "closed"), directory);
  await assertWhole(wire, root, "two");
});
