/**
 * An install under a name that has another root: what it added, changed and removed, as the job, the event and the command tell it.
 */
import assert from "node:assert/strict";
import { appendFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Job } from "../../src/messages/job.js";
import { cli, cliJson, type Daemon, serve } from "../support/daemon.js";
import { type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { fileScope, Sandbox, type Scope } from "../support/sandbox.js";
import { type Json, Wire } from "../support/wire.js";

const images: Record<string, TestImage> = {};
const file = (name: string, content = name): TarFile => ({ name, content });
const many = Array.from({ length: 30 }, (_, i) => `n${String(i).padStart(2, "0")}`);

before(async () => {
  const base = [file("base/tool"), file("LICENSE")];
  const shared = await tarOf(base);
  images.one = buildImage([shared, await tarOf([file("old"), file("bin/x", "1"), file("lib/x")])]);
  images.two = buildImage([shared, await tarOf([file("new"), file("bin/x", "2"), file("lib/x")])]);
  // What image one holds, from one layer that no other image has.
  images.flat = buildImage([await tarOf([file("lib/x"), file("bin/x", "1"), file("old"), ...base.toReversed()])]);
  images.stacked = buildImage([
    await tarOf([...base, file("gone")]),
    await tarOf([file("base/tool", "upper"), file(".wh.gone")]),
  ]);
  const each = (content: string) => tarOf(Array.from({ length: 10_000 }, (_, i) => file(`d/${i}`, content)));
  images.large = buildImage([await each("large")]);
  images.larger = buildImage([await each("larger")]);
  images.many = buildImage([await tarOf([...many.map((name) => file(name)), file("evil\x1b[2J")])]);
});

const scope = fileScope();
let shared: Host;
before(async () => {
  shared = await host(scope);
});

interface Host {
  readonly sandbox: Sandbox;
  readonly daemon: Daemon;
}

async function host(of: Scope): Promise<Host> {
  const sandbox = await Sandbox.create(of);
  await writeLayout(sandbox.file("layout"), images);
  return { sandbox, daemon: await serve(sandbox) };
}

let names = 0;

/** A name that nobody has installed under; on the daemon of all tests here, unless one needs a store of its own. */
async function stage(t: TestContext, on: Host = shared) {
  const { sandbox, daemon } = on;
  names += 1;
  const name = `app-${names}`;
  const wire = await Wire.connect(t, daemon.socket);
  const reference = (tag: string) => `oci:${sandbox.file("layout")}:${tag}`;
  const install = (tag: string, params: object = {}): Promise<Json> => wire.ready(reference(tag), { name, ...params });
  return { sandbox, daemon, wire, name, reference, install };
}

const listed = ({ changes }: Json) => changes && [changes.added, changes.changed, changes.removed];

test("an update says which top-level entries it added, changed and removed: the job and name.changed", async (t) => {
  const { wire, install } = await stage(t);
  const first = await install("one");
  assert.equal("changes" in first, false, "there was nothing to compare with");
  await wire.request("events/subscribe", { filter: { types: ["name.changed"] } });
  const { changes, ...job } = await install("two");
  assert.deepEqual(changes, {
    added: ["new"],
    changed: ["bin"],
    removed: ["old"],
    total: { added: 1, changed: 1, removed: 1 },
  });
  const { params } = await wire.notified("the flip", ({ method }) => method === "event");
  const { rootId } = job.root;
  assert.deepEqual(params.data, { rootId, path: job.name.path, generation: 2, changes });
  const back = await install("one");
  assert.equal(back.linked, undefined, "its root stands already");
  assert.deepEqual(listed(back), [["old"], ["bin"], ["new"]]);
});

test("what comes from other layers, under another policy, is no change; what a whiteout hid or an upper layer replaced is", async (t) => {
  const { install } = await stage(t);
  await install("one");
  assert.deepEqual((await install("flat")).changes.total, { added: 0, changed: 0, removed: 0 });
  assert.deepEqual((await install("one", { overlap: "a" })).changes.total, { added: 0, changed: 0, removed: 0 });
  assert.deepEqual(listed(await install("stacked", { overlap: "a" })), [[], ["base"], ["bin", "lib", "old"]]);
  assert.deepEqual(listed(await install("one", { overlap: "b" })), [["bin", "lib", "old"], ["base"], []]);
});

test("the write bits that copies have are a change; symlinks into the layers are none", async (t) => {
  const { install } = await stage(t);
  await install("one");
  assert.deepEqual((await install("one", { link: "symlink" })).changes.total, { added: 0, changed: 0, removed: 0 });
  assert.deepEqual((await install("one", { link: "copy" })).changes.changed, ["LICENSE", "base", "bin", "lib", "old"]);
  assert.deepEqual(listed(await install("two", { link: "copy" })), [["new"], ["bin"], ["old"]]);
});

test("a name that keeps its root, by whatever reference, has no changes to tell", async (t) => {
  const { sandbox, wire, name, install } = await stage(t);
  await install("one");
  assert.equal("changes" in (await install("one")), false);
  await writeLayout(sandbox.file("other"), { one: images.one as TestImage });
  const job = await wire.ready(`oci:${sandbox.file("other")}:one`, { name });
  assert.deepEqual([job.name.generation, "changes" in job], [2, false]);
});

test("twenty names of each kind are listed, escaped, and all are counted", async (t) => {
  const { install } = await stage(t);
  await install("one");
  const { changes } = await install("many");
  assert.deepEqual(changes.added, ["evil\\x1b[2J", ...many.slice(0, 19)]);
  assert.deepEqual(changes.removed, ["LICENSE", "base", "bin", "lib", "old"]);
  assert.deepEqual(changes.total, { added: 31, changed: 0, removed: 5 });
});

test("the command says it in one clause, and --json in full", async (t) => {
  const { sandbox, name, reference } = await stage(t, await host(t));
  const update = (tag: string, ...args: string[]) => cli(sandbox, ["install", reference(tag), "--name", name, ...args]);
  assert.doesNotMatch((await update("one")).stderr, /added|changed|removed/);
  assert.match(
    (await update("two")).stderr,
    /^app-\d+: ready, 2 layers \(1 shared\), 5 files linked, 1 added, 1 changed, 1 removed, /m,
  );
  assert.match((await update("flat")).stderr, /, 1 added, 1 changed, 1 removed, /);
  assert.match(
    (await update("one")).stderr,
    /^app-\d+: ready, 2 layers \(2 shared\), already installed, nothing changed, /m,
  );
  const document = await cliJson(sandbox, ["install", reference("many"), "--name", name]);
  const job = Job.parse(document);
  assert.deepEqual(job, document, "it says no more than its schema");
  assert.deepEqual(job.changes?.total, { added: 31, changed: 0, removed: 5 });
});

test("flips of one name are told in their order, however long the first of them compares", async (t) => {
  const { wire, name, install } = await stage(t);
  // All stand: what takes long is to compare two large ones.
  await install("one");
  await install("larger");
  await install("large");
  await wire.request("events/subscribe", { filter: { names: [name], types: ["name.changed"] } });
  for (let round = 0; round < 8; round += 1) {
    const first = install("larger");
    // At another moment of its comparison each time.
    await delay(3 * round);
    await Promise.all([first, install("one")]);
    await install("large");
  }
  const { names } = await wire.request("root/get", { name });
  const { generation } = names.find((named: Json) => named.name === name);
  await wire.notified("the last flip", ({ params }) => params.data?.generation === generation);
  const told = wire.notifications
    .filter(({ method }) => method === "event")
    .map(({ params }) => params.data.generation);
  assert.deepEqual(
    told,
    Array.from({ length: generation - 3 }, (_, index) => index + 4),
  );
});

test("an update whose old root cannot be read any more is an update all the same", async (t) => {
  const { sandbox, daemon, wire, name, install } = await stage(t, await host(t));
  const { layers } = await install("one");
  const own = layers[1].diffId.replace(":", "/");
  appendFileSync(join(sandbox.stateDir, "layers", own, "changeset"), "x");
  await wire.request("events/subscribe", { filter: { types: ["name.changed"] } });
  const job = await install("two");
  assert.deepEqual([job.state, "changes" in job, job.name.generation], ["ready", false, 2]);
  assert.match(readlinkSync(join(sandbox.stateDir, "names", name)), new RegExp(job.root.rootId));
  const { params } = await wire.notified("the flip", ({ method }) => method === "event");
  assert.equal("changes" in params.data, false);
  assert.match(daemon.log(), /"changes\.unknown".*STORE_CORRUPT/);
});
