/**
 * The machine goes down: what was reported durable is there, of the rest nothing damaged is trusted, and the next install makes it whole. A
 * power cut is a killed daemon, a store that was damaged in every way that a file system may, and a start under another boot id.
 */
import assert from "node:assert/strict";
import {
  chmodSync,
  lstatSync,
  readdirSync,
  readlinkSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { type Daemon, serve } from "../support/daemon.js";
import { noise, tarOf, writeLayout } from "../support/images.js";
import { Machine, machineParts } from "../support/machine.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { lastFirst, Sandbox, type Scope } from "../support/sandbox.js";
import { differences, everythingBelow, readTree, type TreeFacts } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

/** An image of one layer below the top-level directory of that name. */
async function imageOf(name: string): Promise<TestImage> {
  const layer = await tarOf([
    { name: `${name}/`, type: "directory" },
    { name: `${name}/file`, content: noise(20_000), mode: 0o755 },
    { name: `${name}/other`, content: `${name}'s other file` },
    { name: `${name}/link`, type: "symlink", linkname: "file" },
  ]);
  return buildImage([layer]);
}

/** As the owner of the store, whatever the modes and leaving no trace in them or in the times. */
function write(path: string, change: (path: string) => void): void {
  const { mode, mtime } = lstatSync(path);
  chmodSync(path, 0o644);
  change(path);
  chmodSync(path, mode);
  utimesSync(path, mtime, mtime);
}

/** What each does to a layer whose top-level directory it is given. */
const damages: Readonly<Record<string, (directory: string) => void>> = {
  emptied: (directory) => write(join(directory, "file"), (path) => truncateSync(path)),
  zeroed: (directory) => write(join(directory, "file"), (path) => writeFileSync(path, Buffer.alloc(20_000))),
  lost: (directory) => rmSync(join(directory, "other")),
  grown: (directory) => writeFileSync(join(directory, "stranger"), ""),
  opened: (directory) => chmodSync(join(directory, "file"), 0o644),
  relinked: (directory) => {
    rmSync(join(directory, "link"));
    writeFileSync(join(directory, "link"), "");
  },
  unlisted: (directory) => write(join(directory, "../../changeset"), (path) => truncateSync(path, 10)),
};

interface Stage {
  readonly sandbox: Sandbox;
  readonly machine: Machine;
  reference(tag: string): string;
}

async function stage(scope: Scope, tags: readonly string[]): Promise<Stage> {
  const sandbox = await Sandbox.create(scope);
  const images = await Promise.all(tags.map(async (tag) => [tag, await imageOf(tag)] as const));
  await writeLayout(sandbox.file("layout"), Object.fromEntries(images));
  return { sandbox, machine: await Machine.make(sandbox), reference: (tag) => `oci:${sandbox.file("layout")}:${tag}` };
}

interface Started {
  readonly daemon: Daemon;
  readonly wire: Wire;
}

async function start(scope: Scope, { sandbox, machine }: Stage): Promise<Started> {
  const daemon = await serve(sandbox, { env: machine.env });
  return { daemon, wire: await Wire.connect(scope, daemon.socket) };
}

/** Once the journal has the end of the job: without it the next daemon would take the job up again. */
async function kill({ daemon, wire }: Started, { jobId }: Json): Promise<void> {
  await wire.request("job/log", { jobId });
  daemon.kill("SIGKILL");
  await daemon.ended;
}

const said = (daemon: Daemon, event: string): Json[] =>
  daemon
    .log()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line))
    .filter((line) => line.event === event);

/** Where the layer of that image keeps what stands at its top under the image's name. */
const layerDirectory = ({ sandbox }: Stage, job: Json, tag: string): string =>
  join(sandbox.stateDir, "layers", job.layers[0].diffId.replace(":", "/"), "tree", tag);

suite("after a power cut", { skip: machineParts().skip }, () => {
  test("what was durable stands, what was not stands where it is whole, and what is damaged is gone until it is installed again", async (t) => {
    const scope = lastFirst(t);
    const on = await stage(scope, ["durable", "sound", "edited", "copied", "cut", ...Object.keys(damages)]);
    const first = await start(scope, on);
    await on.machine.letSync();
    const durable = await first.wire.ready(on.reference("durable"), { name: "app", durable: true });
    await on.machine.letSync(false);
    const sound = await first.wire.ready(on.reference("sound"));
    const edited = await first.wire.ready(on.reference("edited"));
    const copied = await first.wire.ready(on.reference("copied"), { link: "copy" });
    const cut = await first.wire.ready(on.reference("copied"), { link: "copy", name: "cut" });
    const jobs = new Map<string, Json>();
    const trees = new Map<string, TreeFacts>();
    for (const [index, tag] of Object.keys(damages).entries()) {
      const wire = await Wire.connect(scope, first.daemon.socket);
      jobs.set(tag, await wire.ready(on.reference(tag), index === 0 ? { name: "app" } : {}));
      trees.set(tag, readTree(jobs.get(tag).root.path));
    }
    assert.equal(durable.durable, true);
    for (const job of [sound, edited, copied, ...jobs.values()]) assert.equal(job.durable, false);
    await kill(first, durable);
    for (const [tag, damage] of Object.entries(damages)) damage(layerDirectory(on, jobs.get(tag), tag));
    writeFileSync(join(edited.root.path, "edited/stranger"), "");
    truncateSync(join(cut.root.path, "copied/file"));
    await on.machine.reboot();
    await on.machine.letSync();

    const { daemon, wire } = await start(scope, on);
    const { layers } = await wire.request("layer/list");
    const stands = [durable, sound, edited, copied].map((job) => job.layers[0].diffId);
    assert.deepEqual(layers.map(({ diffId }: Json) => diffId).sort(), stands.sort());
    assert.ok(layers.every(({ durable }: Json) => durable));
    const { roots } = await wire.request("root/list");
    const left = [durable, sound, copied].map(({ root }) => root.rootId);
    assert.deepEqual(roots.map(({ rootId }: Json) => rootId).sort(), left.sort());
    const [opened] = said(daemon, "store.opened");
    const [total, bad] = [Object.keys(damages).length + 3, Object.keys(damages).length];
    assert.deepEqual(opened.suspect, { layers: total, roots: total + 1 });
    assert.deepEqual(opened.dropped, { layers: bad, roots: bad + 2, documents: 0 });
    assert.equal(said(daemon, "layer.damaged").length, bad);
    assert.deepEqual(everythingBelow(join(on.sandbox.stateDir, "staging")), []);
    // The name goes back to the generation that stands.
    assert.match(readlinkSync(join(on.sandbox.stateDir, "names/app")), new RegExp(durable.root.rootId));
    assert.equal((await wire.request("root/get", { name: "app" })).rootId, durable.root.rootId);

    for (const tag of Object.keys(damages)) {
      const job = await (await Wire.connect(scope, daemon.socket)).ready(on.reference(tag));
      assert.deepEqual(differences(readTree(job.root.path), trees.get(tag) as TreeFacts), []);
    }
    assert.equal((await wire.counters()).layersUnpacked, bad);
    assert.equal((await wire.ready(on.reference("edited"))).layers[0].reused, true);
  });

  test("in the same boot nothing is suspect, and a job is told to be durable when the disk has it", async (t) => {
    const scope = lastFirst(t);
    const on = await stage(scope, ["app", "next"]);
    const first = await start(scope, on);
    const { jobId } = await first.wire.ready(on.reference("app"));
    await kill(first, { jobId });
    const { daemon, wire } = await start(scope, on);
    assert.deepEqual(said(daemon, "store.opened")[0].suspect, { layers: 0, roots: 0 });
    await wire.request("events/subscribe");
    await on.machine.letSync();
    const job = await wire.ready(on.reference("next"));
    assert.notEqual(job.jobId, jobId);
    const { params } = await wire.notified("job.durable", ({ params }) => params.type === "job.durable");
    assert.deepEqual([params.jobId, params.name, params.data.job.durable], [job.jobId, "next", true]);
    assert.equal((await wire.request("install/get", { jobId: job.jobId })).durable, true);
    const { layers } = await wire.request("layer/list");
    assert.deepEqual(
      layers.map(({ durable }: Json) => durable),
      [true, true],
    );
    // What is durable is not compared, whatever the boot.
    await kill({ daemon, wire }, job);
    await on.machine.reboot();
    const last = await start(scope, on);
    assert.deepEqual(said(last.daemon, "store.opened")[0].suspect, { layers: 0, roots: 0 });
  });

  test("a layer that is made again is not durable because the one before it was", async (t) => {
    const scope = lastFirst(t);
    const on = await stage(scope, ["app"]);
    const first = await start(scope, on);
    await on.machine.letSync();
    const before = await first.wire.ready(on.reference("app"), { durable: true });
    await on.machine.letSync(false);
    await first.wire.request("root/remove", { name: "app" });
    rmSync(join(layerDirectory(on, before, "app"), "../.."), { recursive: true });
    const again = await first.wire.ready(on.reference("app"));
    assert.equal(again.durable, false);
    await kill(first, again);
    damages.emptied?.(layerDirectory(on, again, "app"));
    await on.machine.reboot();
    const { wire } = await start(scope, on);
    assert.deepEqual((await wire.request("layer/list")).layers, []);
    assert.deepEqual((await wire.request("root/list")).roots, []);
  });

  test("starts that are killed one after another, renames and removals further each, lead to the store that one start leads to", async (t) => {
    const scope = lastFirst(t);
    const on = await stage(scope, ["durable", "sound", "emptied"]);
    const { stateDir } = on.sandbox;
    const first = await start(scope, on);
    await on.machine.letSync();
    const durable = await first.wire.ready(on.reference("durable"), { name: "app", durable: true });
    await on.machine.letSync(false);
    const sound = await first.wire.ready(on.reference("sound"));
    const emptied = await first.wire.ready(on.reference("emptied"), { name: "app" });
    await kill(first, emptied);
    damages.emptied?.(layerDirectory(on, emptied, "emptied"));
    await leaveHalfDone(stateDir);
    await on.machine.reboot();
    await on.machine.letSync();

    let kills = 0;
    // A start removes what the one before it was writing, too: so many are not further than that one was, and go further later.
    const starting = () =>
      serve(on.sandbox, { env: { ...on.machine.env, KILL_AT: String(2 + Math.floor(kills / 3)) } }).catch(
        () => undefined,
      );
    let whole = await starting();
    for (; whole === undefined; whole = await starting()) kills += 1;
    assert.ok(kills >= 10, `only ${kills} moments`);
    // A later rename may have killed it already; the lock is free when it has ended.
    for (const pid of await on.sandbox.processes()) process.kill(pid, "SIGKILL");
    await whole.ended;
    const { wire } = await start(scope, on);
    const { roots } = await wire.request("root/list");
    const left = [durable, sound].map(({ root }) => root.rootId);
    assert.deepEqual(roots.map(({ rootId }: Json) => rootId).sort(), left.sort());
    const { layers } = await wire.request("layer/list");
    assert.deepEqual(
      layers.map(({ durable }: Json) => durable),
      [true, true],
    );
    assert.match(readlinkSync(join(stateDir, "names/app")), new RegExp(durable.root.rootId));
    assertNothingHalfDone(stateDir);
    assert.equal((await wire.ready(on.reference("emptied"), { name: "app" })).name.generation, 3);
  });
});

/** As a daemon that was killed in the middle of everything leaves it. */
async function leaveHalfDone(stateDir: string): Promise<void> {
  const orphan = "0".repeat(64);
  await mkdir(join(stateDir, "staging/old-1-a/1"), { recursive: true });
  await writeFile(join(stateDir, "staging/old-1-a/1/blob"), "");
  await writeFile(join(stateDir, "staging/probe"), "");
  await mkdir(join(stateDir, "spill", orphan));
  await writeFile(join(stateDir, "spill", orphan, "key-0"), "");
  for (const file of [
    `meta/${orphan}.json`,
    `meta/roots/${orphan}.json`,
    `meta/${orphan}.json.1-1.new`,
    `blobs/sha256/${orphan}.1-1.new`,
    "version.1-1.new",
    "names/.meta/app.json.1-1.new",
    "layers/sha256/.probe",
    "roots/.probe",
  ])
    await writeFile(join(stateDir, file), "");
  await writeFile(join(stateDir, "names/.app.new"), "");
}

function assertNothingHalfDone(stateDir: string): void {
  const left = everythingBelow(stateDir).filter((path) => /\.new$|probe|0{64}/.test(path));
  assert.deepEqual(left, []);
  assert.deepEqual(readdirSync(join(stateDir, "staging")), []);
}
