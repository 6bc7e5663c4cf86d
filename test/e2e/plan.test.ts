/**
 * What an install would do, told without doing it: against what the install then does, with find(1) as the judge of the disk.
 */
import assert from "node:assert/strict";
import { statfsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { Plan } from "../../src/messages/plan.js";
import { cli, cliJson, type Daemon, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { layerDigests, noise, type TarFile, tarOf, writeLayout } from "../support/images.js";
import { openFiles } from "../support/open-files.js";
import { buildImage, type Script, startRegistry, type TestImage, type TestRegistry } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { type Json, Wire } from "../support/wire.js";

const images: Record<string, TestImage> = {};
const dir = (name: string): TarFile => ({ name: `${name}/`, type: "directory" });
const file = (name: string, content: string | Buffer = name): TarFile => ({ name, content });
const link = (name: string, linkname: string): TarFile => ({ name, type: "link", linkname });
const symlink = (name: string, linkname: string): TarFile => ({ name, type: "symlink", linkname });

const annotated = (image: TestImage, annotations: Record<string, string>): object => {
  const { layers } = JSON.parse(image.bytes.toString());
  return { layers: layers.map((layer: object, index: number) => (index === 0 ? { ...layer, annotations } : layer)) };
};

before(async () => {
  const tools = await tarOf([
    dir("bin"),
    file("bin/tool", noise(50_000)),
    link("bin/alias", "bin/tool"),
    file("bin/empty", ""),
    link("bin/empty-too", "bin/empty"),
    symlink("sbin", "bin"),
    file("deep/below/file", "12345"),
  ]);
  const share = await tarOf([dir("share"), file("share/a", noise(20_000)), file("LICENSE")]);
  const upper = await tarOf([dir("bin"), file("bin/more", "more"), file("deep/.wh.below"), file("share/b")]);
  const merging = await tarOf([dir("bin"), file("bin/extra", noise(3000)), dir("share"), file("share/c", "")]);
  images.app = buildImage([tools, share]);
  images.stacked = buildImage([tools, share, upper]);
  images.merged = buildImage([tools, share, merging]);
  images.placed = buildImage([tools, share], {
    manifest: annotated(images.app, { "sh.ocx.layer.prefix": "opt/tools" }),
  });
  images.clash = buildImage([tools, await tarOf([file("LICENSE"), file("bin")]), share]);
  images.twice = buildImage([share, share]);
  images.plain = buildImage([tools, share], { codec: "none" });
});

const REPOSITORY = "test/app";

interface Stage {
  readonly sandbox: Sandbox;
  readonly daemon: Daemon;
  readonly wire: Wire;
  readonly registry: TestRegistry;
  /** In the layout, and in the registry. */
  local(tag: string): string;
  remote(tag: string): string;
}

async function stage(t: TestContext, script?: Script): Promise<Stage> {
  const sandbox = await Sandbox.create(t);
  await writeLayout(sandbox.file("layout"), images);
  const tagged = Object.entries(images).map(([tag, image]) => [`${REPOSITORY}:${tag}`, image]);
  const registry = await startRegistry({ images: Object.fromEntries(tagged), ...(script ? { script } : {}) });
  t.after(() => registry.close());
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(t, daemon.socket);
  const local = (tag: string) => `oci:${sandbox.file("layout")}:${tag}`;
  return { sandbox, daemon, wire, registry, local, remote: (tag) => `${registry.host}/${REPOSITORY}:${tag}` };
}

/** Asked over the socket that changes nothing. */
async function planOf(t: TestContext, { daemon }: Stage, reference: string, params: object = {}): Promise<Plan> {
  const readOnly = await Wire.connect(t, daemon.readOnlySocket);
  const plan = await readOnly.request("install/plan", { reference, ...params });
  assert.deepEqual(Plan.parse(plan), plan, "it says no more than its schema");
  return plan;
}

const everything = (sandbox: Sandbox): Promise<string> =>
  sandbox.must(["find", sandbox.stateDir, "-printf", "%p %i %n %s %m %T@ %C@\\n"]);

interface Found {
  readonly bytes: number;
  readonly inodes: number;
}

/** What the root's tree has that is in no layer, and what it has of the layers' files. */
async function inRoot(sandbox: Sandbox, path: string): Promise<{ own: Found; shared: Found }> {
  const list = async (below: string) => {
    const found = await sandbox.must(["find", below, "-mindepth", "1", "-printf", "%i %y %s\\n"]);
    return new Map(found.split("\n").map((line) => [line.split(" ")[0] as string, line.split(" ").slice(1)]));
  };
  const [stored, root] = await Promise.all([list(join(sandbox.stateDir, "layers")), list(path)]);
  root.delete("");
  const sum = (isShared: boolean): Found => {
    const own = [...root].filter(([inode]) => stored.has(inode) === isShared);
    return {
      inodes: own.length,
      bytes: own.reduce((all, [, [type, size]]) => all + (type === "f" ? Number(size) : 0), 0),
    };
  };
  return { own: sum(false), shared: sum(true) };
}

const isBlob = ({ path }: { readonly path: string }): boolean => path.includes("/blobs/");
const blobsAsked = ({ requests }: TestRegistry, image: TestImage): number =>
  requests.filter((request) => isBlob(request) && layerDigests(image).some((digest) => request.path.endsWith(digest)))
    .length;
const sizesOf = (image: TestImage): number[] =>
  (JSON.parse(image.bytes.toString()).layers as { size: number }[]).map(({ size }) => size);

test("a plan asks for documents and no blob, and leaves the state directory as it was", async (t) => {
  const on = await stage(t);
  const app = images.app as TestImage;
  await on.wire.ready(on.local("twice"), { overlap: "a", durable: true });
  const before = await everything(on.sandbox);
  const { seq } = await on.wire.request("events/subscribe");
  const counters = await on.wire.counters();
  const plan = await planOf(t, on, on.remote("app"));
  assert.equal(blobsAsked(on.registry, app), 0);
  assert.equal(await everything(on.sandbox), before);
  assert.deepEqual(await on.wire.counters(), counters);
  assert.equal((await on.wire.request("events/subscribe")).seq, seq, "nothing happened");
  assert.deepEqual([plan.installed, plan.complete, plan.conflicts, plan.conflictsTotal], [false, false, [], 0]);
  assert.equal(plan.manifestDigest, app.descriptor.digest);
  const [size = 0] = sizesOf(app);
  assert.equal(plan.toFetchBytes, size, "the other layer is stored");
  assert.equal(plan.toWriteBytes, 3 * size, "it is reckoned as three times its blob");
  const job = await on.wire.ready(on.remote("app"));
  assert.deepEqual(
    plan.layers.map(({ digest, diffId, size, stored }) => [digest, diffId, size, stored]),
    job.layers.map(({ digest, diffId, size, reused }: Json) => [digest, diffId, size, reused]),
  );
  const after = await on.wire.counters();
  assert.equal(after.layersUnpacked - counters.layersUnpacked, plan.layers.filter(({ stored }) => !stored).length);
});

const roots: readonly [tag: string, params: { overlap?: string; link?: string }][] = [
  ["app", {}],
  ["app", { link: "copy" }],
  ["app", { link: "symlink" }],
  ["app", { overlap: "a" }],
  ["placed", {}],
  ["placed", { link: "copy" }],
  ["placed", { link: "symlink" }],
  ["merged", { overlap: "b" }],
  ["merged", { overlap: "b", link: "copy" }],
  ["stacked", { overlap: "a" }],
  ["stacked", { overlap: "a", link: "copy" }],
];

test("of stored layers a plan is exact: bytes, inodes and what is shared are those of the root that is then made", async (t) => {
  const on = await stage(t);
  for (const tag of ["app", "stacked", "merged"]) await on.wire.ready(on.local(tag), { overlap: "a", name: "first" });
  await on.wire.request("root/remove", { name: "first" });
  for (const [tag, params] of roots) {
    const what = `${tag} ${JSON.stringify(params)}`;
    const plan = await planOf(t, on, on.local(tag), { ...params, name: "app" });
    assert.deepEqual([plan.complete, plan.installed, plan.conflicts], [true, false, []], what);
    assert.ok(
      plan.layers.every(({ stored }) => stored),
      what,
    );
    const counters = await on.wire.counters();
    const job = await on.wire.ready(on.local(tag), { ...params, name: "app" });
    assert.equal((await on.wire.counters()).layersUnpacked, counters.layersUnpacked, what);
    const { own, shared } = await inRoot(on.sandbox, job.root.path);
    assert.deepEqual([plan.toWriteBytes, plan.toWriteInodes], [own.bytes, own.inodes], what);
    // Symlinks into the layers share what no walk through the root counts.
    if (params.link !== "symlink") assert.equal(plan.sharedBytes, shared.bytes, what);
    assert.equal(plan.sharedBytes + plan.toWriteBytes, job.linked.bytes, what);
    const again = await planOf(t, on, on.local(tag), { ...params, name: "app" });
    const { toWriteBytes, toWriteInodes, toFetchBytes, sharedBytes } = again;
    assert.deepEqual([again.installed, again.complete], [true, true], what);
    assert.deepEqual([toFetchBytes, toWriteBytes, toWriteInodes], [0, 0, 0], what);
    assert.equal(sharedBytes, plan.sharedBytes, what);
    const { manifestDigest, platform, name, overlap } = plan;
    assert.deepEqual([manifestDigest, platform, overlap], [job.manifestDigest, job.platform, job.overlap], what);
    assert.deepEqual([name, plan.link, plan.reference], ["app", job.link, job.reference], what);
    await on.wire.request("root/remove", { name: "app" });
  }
});

test("a root of copies is its name's own: under another name it is still to be made", async (t) => {
  const on = await stage(t);
  await on.wire.ready(on.local("app"), { link: "copy", name: "mine" });
  assert.equal((await planOf(t, on, on.local("app"), { link: "copy", name: "mine" })).installed, true);
  assert.equal((await planOf(t, on, on.local("app"), { link: "copy", name: "other" })).installed, false);
});

test("what a layout holds is read and not fetched, and a tar that is not compressed is reckoned as it is", async (t) => {
  const on = await stage(t);
  const plain = sizesOf(images.plain as TestImage).reduce((sum, size) => sum + size, 0);
  const read = await planOf(t, on, on.local("plain"));
  assert.deepEqual([read.toFetchBytes, read.toWriteBytes, read.sharedBytes], [0, plain, 0]);
  const copied = await planOf(t, on, on.remote("plain"), { link: "copy" });
  assert.deepEqual([copied.toFetchBytes, copied.toWriteBytes, copied.sharedBytes], [plain, 2 * plain, 0]);
  assert.ok(read.toWriteInodes > 0 && copied.toWriteInodes === 2 * read.toWriteInodes);
});

test("a layer that an image names twice is fetched once", async (t) => {
  const on = await stage(t);
  const plan = await planOf(t, on, on.remote("twice"), { overlap: "a" });
  const [size = 0] = sizesOf(images.twice as TestImage);
  assert.deepEqual([plan.layers.length, plan.toFetchBytes, plan.toWriteBytes], [2, size, 3 * size]);
});

test("what is free afterwards is what statfs says, less what is written; below 0 it does not fit", async (t) => {
  const on = await stage(t);
  const { bavail, bsize } = statfsSync(on.sandbox.stateDir);
  const plan = await planOf(t, on, on.local("app"));
  const apart = Math.abs(plan.freeAfterBytes + plan.toWriteBytes - bavail * bsize);
  assert.ok(apart < 2 ** 30, `${apart} bytes apart`);
  const { layers } = JSON.parse((images.app as TestImage).bytes.toString());
  const claimed = layers.map((layer: object) => ({ ...layer, size: Number.MAX_SAFE_INTEGER }));
  const huge = buildImage([], { config: configOf(images.app as TestImage), manifest: { layers: claimed } });
  await writeLayout(on.sandbox.file("huge"), { huge });
  const beyond = await planOf(t, on, `oci:${on.sandbox.file("huge")}:huge`);
  assert.equal(beyond.toWriteBytes, Number.MAX_SAFE_INTEGER);
  assert.ok(beyond.freeAfterBytes < 0);
});

function configOf(image: TestImage): object {
  const { config } = JSON.parse(image.bytes.toString());
  return JSON.parse(String(image.blobs.get(config.digest)));
}

test("conflicts are those that the install is refused with, path for path, and proven hints", async (t) => {
  const on = await stage(t);
  for (const [tag, params] of [
    ["clash", {}],
    ["clash", { overlap: "b" }],
    ["stacked", {}],
    ["twice", {}],
  ] as const) {
    const { error } = await on.wire.install(on.local(tag), params);
    const plan = await planOf(t, on, on.local(tag), params);
    const { conflicts, total, hints } = error.details;
    assert.deepEqual([plan.conflicts, plan.conflictsTotal, plan.hints ?? []], [conflicts, total, hints], tag);
    assert.deepEqual([plan.complete, plan.installed], [true, false], tag);
    assert.deepEqual([plan.toFetchBytes, plan.toWriteBytes, plan.toWriteInodes, plan.sharedBytes], [0, 0, 0, 0], tag);
  }
});

test("conflicts among the layers that are stored are known before anything is fetched", async (t) => {
  const on = await stage(t);
  await on.wire.ready(on.local("app"));
  const both = images.clash as TestImage;
  const [tools, , share] = layerDigests(both);
  const none = await planOf(t, on, on.remote("clash"));
  assert.deepEqual([none.complete, none.conflicts], [false, []], "the layer that clashes is not there");
  await on.wire.install(on.local("clash"));
  const third = buildImage([await tarOf([file("third", noise(100))])]);
  const layers = [third, both].flatMap((image) => JSON.parse(image.bytes.toString()).layers);
  const diffIds = [third, both].flatMap((image) => (configOf(image) as Json).rootfs.diff_ids);
  const wider = buildImage([], { config: { rootfs: { type: "layers", diff_ids: diffIds } }, manifest: { layers } });
  await writeLayout(on.sandbox.file("wider"), { wider });
  const plan = await planOf(t, on, `oci:${on.sandbox.file("wider")}:wider`);
  assert.deepEqual([plan.complete, plan.hints], [false, undefined], "nothing is proven before every layer is there");
  assert.deepEqual(
    plan.conflicts.map(({ path, sides }) => [path, sides.map(({ layer, digest }) => [layer, digest])]),
    [
      [
        "LICENSE",
        [
          [2, layerDigests(both)[1]],
          [3, share],
        ],
      ],
      [
        "bin",
        [
          [1, tools],
          [2, layerDigests(both)[1]],
        ],
      ],
    ],
  );
  const stacked = await planOf(t, on, `oci:${on.sandbox.file("wider")}:wider`, { overlap: "a" });
  assert.deepEqual([stacked.complete, stacked.conflicts], [false, []]);
});

test("under policy a nothing is a conflict that a layer which is missing may explain", async (t) => {
  const on = await stage(t);
  const upper = await tarOf([link("bin/linked", "bin/tool"), file("new/file", "12345"), symlink("new/link", "file")]);
  const lower = await tarOf([file("bin/tool", noise(1000))]);
  const linked = buildImage([lower, upper]);
  await writeLayout(on.sandbox.file("upper"), { alone: buildImage([upper]), linked });
  const reference = (tag: string) => `oci:${on.sandbox.file("upper")}:${tag}`;
  const { error } = await on.wire.install(reference("alone"), { overlap: "a" });
  assert.equal(error.code, "HARDLINK_TARGET", "and its layer is stored");
  const plan = await planOf(t, on, reference("linked"), { overlap: "a", link: "copy" });
  assert.deepEqual([plan.complete, plan.conflicts], [false, []]);
  const [size = 0] = sizesOf(linked);
  assert.equal(plan.toWriteBytes, 2 * 3 * size + 5, "the layer that is missing and its copy, and what is known");
  assert.equal((await planOf(t, on, reference("linked"))).conflicts[0]?.path, "bin/linked");
  await on.wire.ready(reference("linked"), { overlap: "a", link: "copy" });
});

test("a root that stands is installed, whatever became of its layers", async (t) => {
  const on = await stage(t);
  await on.wire.ready(on.local("app"), { durable: true });
  const [first] = (configOf(images.app as TestImage) as Json).rootfs.diff_ids;
  await rm(join(on.sandbox.stateDir, "layers", first.replace(":", "/")), { recursive: true });
  const plan = await planOf(t, on, on.remote("app"));
  assert.deepEqual([plan.installed, plan.complete, plan.toFetchBytes, plan.toWriteBytes], [true, true, 0, 0]);
  assert.deepEqual(
    plan.layers.map(({ stored }) => stored),
    [false, true],
  );
});

test("a plan holds no file of the image when it is answered", async (t) => {
  const on = await stage(t);
  const archive = on.sandbox.file("app.tar");
  await on.sandbox.must(["tar", "--create", "--file", archive, "-C", on.sandbox.file("layout"), "."]);
  const plan = await planOf(t, on, `oci-archive:${archive}:app`);
  assert.equal(plan.layers.length, 2);
  const held = openFiles(on.daemon.pid);
  assert.ok(held.length > 0 && !held.includes(archive), held.join("\n"));
});

const refusals: readonly [what: string, of: (on: Stage) => string, params: object, code: string][] = [
  ["a tag that there is not", ({ local }) => local("none"), {}, "MANIFEST_UNKNOWN"],
  ["a registry's tag that there is not", ({ remote }) => remote("none"), {}, "MANIFEST_UNKNOWN"],
  ["a layout that there is not", () => "oci:/nowhere:app", {}, "LAYOUT_INVALID"],
  ["what is no reference", () => "oci:", {}, "INVALID_REFERENCE"],
  ["what is no name", ({ local }) => local("app"), { name: "../app" }, "INVALID_NAME"],
  ["a platform that it is not for", ({ local }) => local("app"), { platform: "linux/s390x" }, "NO_PLATFORM"],
  ["symlinks under policy a", ({ local }) => local("app"), { link: "symlink", overlap: "a" }, "INVALID_PARAMS"],
];

test("a plan is refused with what the install is refused with", async (t) => {
  const on = await stage(t);
  for (const [what, of, params, code] of refusals) {
    const { data } = await on.wire.refused("install/plan", { reference: of(on), ...params });
    assert.equal(data.code, code, what);
    const install = await on.wire.install(of(on), params).then(
      ({ error }) => error,
      (error) => error.data,
    );
    assert.equal(install.code, code, what);
  }
});

test("a session has two plans worked out at a time, all sessions four; one that is cancelled makes room", async (t) => {
  let asked = 0;
  const held: (() => void)[] = [];
  const on = await stage(t, async ({ request }) => {
    if (!request.path.endsWith("/manifests/app")) return false;
    asked += 1;
    await new Promise<void>((resolve) => held.push(resolve));
    return false;
  });
  const wires = await Promise.all(Array.from({ length: 3 }, () => Wire.connect(t, on.daemon.readOnlySocket)));
  const [first, ...others] = wires as [Wire, ...Wire[]];
  const ask = (wire: Wire) => {
    const answer = wire.request("install/plan", { reference: on.remote("app") });
    const id = wire.lastId;
    return { answer, cancel: () => wire.notify("$/cancelRequest", { id }) };
  };
  const [running, second, waiting] = [ask(first), ask(first), ask(first)];
  await until("two of the session are at the registry", () => asked === 2);
  const more = others.flatMap((wire) => [ask(wire), ask(wire)]);
  await until("four are at the registry", () => asked === 4);
  waiting.cancel();
  await assert.rejects(waiting.answer, /REQUEST_CANCELLED/);
  assert.equal(asked, 4, "no fifth is before one is over");
  running.cancel();
  await assert.rejects(running.answer, /REQUEST_CANCELLED/);
  await until("another took its place", () => asked === 5);
  const going = [second, ...more];
  for (let n = 0; n <= going.length; n += 1) (await until("one is at the registry", () => held.shift()))();
  const plans: Json[] = await Promise.all(going.map(({ answer }) => answer));
  assert.ok(plans.every(({ installed, complete }) => !installed && !complete));
  assert.equal(asked, 6);
});

test("the command prints the plan for people and as one document, and exits 65 where the install would fail", async (t) => {
  const on = await stage(t);
  await on.wire.ready(on.local("app"), { name: "first" });
  const people = await cli(on.sandbox, ["plan", on.local("app"), "--link", "copy", "--name", "mine"]);
  assert.equal(people.exitCode, 0, people.stderr);
  assert.equal(people.stderr, "");
  assert.match(people.stdout, /^write +70\.0 kB, \d+ inodes$/m);
  const document = await cliJson(on.sandbox, ["plan", on.local("app"), "--link", "copy", "--name", "mine"]);
  assert.deepEqual(Plan.parse(document), document);
  await on.wire.install(on.local("clash"));
  const refused = await cliJson(on.sandbox, ["plan", on.local("clash")], { exitCode: 65 });
  assert.equal(Plan.parse(refused).conflictsTotal, 2);
  const { exitCode, stdout } = await cli(on.sandbox, ["plan", on.local("clash")]);
  assert.equal(exitCode, 65);
  assert.match(stdout, /^ {2}bin: layer 0 sha256:[0-9a-f]+… \(dir\), layer 1 sha256:[0-9a-f]+… \(file\)$/m);
  assert.match(stdout, /^ {2}--overlap a accepts this image$/m);
  const missing: Json = await cliJson(on.sandbox, ["plan", on.local("none")], { exitCode: 79 });
  assert.equal(missing.error.code, "MANIFEST_UNKNOWN");
});
