/**
 * The command line against a real daemon: each verb's document fits the published schema, and each failure its exit code.
 */
import assert from "node:assert/strict";
import { lstatSync, readFileSync, readlinkSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { z } from "zod";
import { EndpointDocument } from "../../src/messages/endpoint.js";
import { Job } from "../../src/messages/job.js";
import { Layer } from "../../src/messages/layer.js";
import { methods } from "../../src/messages/methods.js";
import { Root } from "../../src/messages/root.js";
import { WireErrorSchema } from "../../src/messages/wire-error.js";
import { runHere } from "../cli/support.js";
import { cli, cliJson, type Daemon, fixtureImages, readEndpoint, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { bulkyTar, layerDigests, tarOf, writeLayout } from "../support/images.js";
import { buildImage, startRegistry } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";

const scope = fileScope();
let sandbox: Sandbox;
let daemon: Daemon;

const amd64 = `oci:${fixtureImages}:gcc-amd64`;
const arm64 = `oci:${fixtureImages}:gcc-arm64`;
const failure = z.object({ error: WireErrorSchema });

before(async () => {
  sandbox = await Sandbox.create(scope);
  daemon = await serve(sandbox);
  await cliJson(sandbox, ["install", amd64]);
});

/** Every field that is said, nothing that the schema does not know. */
async function says<Schema extends z.ZodType>(args: readonly string[], schema: Schema): Promise<z.output<Schema>> {
  const document = await cliJson(sandbox, args);
  const parsed = schema.parse(document);
  assert.deepEqual(parsed, document, `stratad ${args.join(" ")} says more than its schema`);
  return parsed;
}

test("install --json prints the ready job", async () => {
  const job = await says(["install", amd64], Job);
  assert.equal(job.state, "ready");
  assert.equal(job.name?.path, join(sandbox.stateDir, "names/gcc-amd64"));
});

test("install of several prints the jobs in the order asked for; one failure gives the exit code and keeps the others", async () => {
  const both = await says(["install", amd64, arm64], z.object({ jobs: z.array(Job) }));
  assert.deepEqual(
    both.jobs.map(({ name }) => name?.name),
    ["gcc-amd64", "gcc-arm64"],
  );
  const missing = `oci:${fixtureImages}:none`;
  const partly = z
    .object({ error: WireErrorSchema, jobs: z.array(Job) })
    .parse(await cliJson(sandbox, ["install", amd64, missing], { exitCode: 79 }));
  assert.equal(partly.error.code, "MANIFEST_UNKNOWN");
  assert.deepEqual(
    partly.jobs.map(({ state }) => state),
    ["ready", "failed"],
  );
});

test("install --detach prints the job at once, and wait ends as it did", async () => {
  const job = await says(["install", amd64, "--detach", "--name", "detached"], Job);
  const over = await says(["wait", job.jobId], Job);
  assert.deepEqual([over.jobId, over.state, over.name?.name], [job.jobId, "ready", "detached"]);
  const { stdout } = await cli(sandbox, ["wait", job.jobId]);
  assert.equal(stdout, `${join(sandbox.stateDir, "names/detached")}\n`);
});

test("install --to places a symlink to the name, replaces one, and never anything else", async () => {
  const link = sandbox.file("files", "gcc");
  for (const [reference, name] of [
    [amd64, "gcc-amd64"],
    [arm64, "gcc-arm64"],
  ] as const) {
    const { exitCode } = await cli(sandbox, ["install", reference, "--to", "gcc"], { cwd: sandbox.file("files") });
    assert.equal(exitCode, 0);
    assert.equal(readlinkSync(link), join(sandbox.stateDir, "names", name));
  }
  await mkdir(sandbox.file("files", "taken"));
  const refused = failure.parse(
    await cliJson(sandbox, ["install", amd64, "--to", sandbox.file("files/taken")], { exitCode: 64 }),
  );
  assert.equal(refused.error.code, "USAGE");
  assert.ok(lstatSync(sandbox.file("files/taken")).isDirectory());
});

test("status tells of a reference, of a job, of a name and of the daemon", async () => {
  const image = await says(["status", amd64], methods["image/status"].result);
  assert.equal(image.installed, true);
  const unknown = await says(["status", `oci:${fixtureImages}:other`], methods["image/status"].result);
  assert.deepEqual([unknown.installed, unknown.roots], [false, []]);
  const job = await says(["status", image.job?.jobId ?? ""], Job);
  assert.equal(job.jobId, image.job?.jobId);
  const root = await says(["status", "gcc-amd64"], Root);
  assert.equal(root.rootId, image.roots[0]?.rootId);
  const all = z.object({ server: methods["server/status"].result, jobs: z.array(Job) });
  const { server } = await says(["status"], all);
  assert.deepEqual([server.pid, server.stateDir, server.draining], [daemon.pid, sandbox.stateDir, false]);
});

test("ps, roots, layers, endpoint and version print their documents", async () => {
  const { jobs } = await says(["ps"], z.object({ jobs: z.array(Job) }));
  assert.ok(jobs.length > 0);
  const { roots } = await says(["roots"], z.object({ roots: z.array(Root) }));
  const amd = roots.find(({ names }) => names.some(({ name }) => name === "gcc-amd64"));
  const { layers } = await says(["layers"], z.object({ layers: z.array(Layer) }));
  assert.deepEqual(
    [...(amd?.layers ?? [])].sort(),
    layers
      .filter(({ roots: by }) => by.includes(amd?.rootId ?? ""))
      .map(({ diffId }) => diffId)
      .sort(),
  );
  const document = await says(["endpoint"], EndpointDocument);
  assert.deepEqual(document, daemon.document);
  const version = await says(["version"], z.object({ version: z.string(), protocol: z.number(), node: z.string() }));
  assert.match(version.node, new RegExp(process.versions.node.replaceAll(".", "\\.")));
});

test("rm prints the root that the name had, takes the name and the root away, and keeps the layers", async () => {
  await cliJson(sandbox, ["install", arm64, "--name", "to-remove"]);
  for (const name of ["gcc-arm64", "to-remove"]) {
    const listed = await says(["roots"], z.object({ roots: z.array(Root) }));
    if (!listed.roots.some(({ names }) => names.some((own) => own.name === name))) continue;
    const root = await says(["rm", name], methods["root/remove"].result);
    assert.ok(root.names.some((own) => own.name === name));
    assert.throws(() => lstatSync(join(sandbox.stateDir, "names", name)), { code: "ENOENT" });
  }
  const { roots } = await says(["roots"], z.object({ roots: z.array(Root) }));
  assert.ok(!roots.some(({ names }) => names.length === 0));
  const job = await says(["install", arm64], Job);
  assert.ok(job.layers.every(({ reused }) => reused));
});

test("cancel ends a job that nobody else waits for, and wait then ends with 130", async (t) => {
  const image = buildImage([await bulkyTar("bulk", 50, 4096)]);
  const gate = gateAt(layerDigests(image), 1000);
  const registry = await startRegistry({ images: { "app:1": image }, script: gate.script });
  t.after(() => registry.close());
  const job = await says(["install", `${registry.host}/app:1`, "--detach"], Job);
  await gate.reached;
  await says(["cancel", job.jobId], Job);
  const { error } = failure.parse(await cliJson(sandbox, ["wait", job.jobId], { exitCode: 130 }));
  assert.equal(error.code, "CANCELLED");
  gate.open();
});

test("--timeout that runs out exits 75 and the job goes on", async (t) => {
  const image = buildImage([await bulkyTar("bulk", 50, 4096)]);
  const gate = gateAt(layerDigests(image), 1000);
  const registry = await startRegistry({ images: { "slow:1": image }, script: gate.script });
  t.after(() => registry.close());
  const args = ["install", `${registry.host}/slow:1`, "--timeout", "2s"];
  const { error } = failure.parse(await cliJson(sandbox, args, { exitCode: 75 }));
  assert.equal(error.code, "TIMED_OUT");
  gate.open();
  const job = await says(["wait", String(error.details?.jobId)], Job);
  assert.equal(job.state, "ready");
});

/** As a process does, without the half second of processor time that one takes to start. */
async function failsWith(args: readonly string[]) {
  const { code, stdout } = await runHere([...args, "--json"], { env: sandbox.env, cwd: sandbox.directory });
  return { exitCode: code, error: failure.parse(JSON.parse(stdout)).error };
}

const noJob = "01890000-0000-7000-8000-000000000000";
const failures: readonly [what: string, args: readonly string[], exitCode: number, code: string][] = [
  ["an unknown verb", ["instal"], 64, "USAGE"],
  ["a malformed reference", ["install", "oci:"], 64, "INVALID_REFERENCE"],
  ["a malformed name", ["install", amd64, "--name", "../x"], 64, "INVALID_NAME"],
  [
    "a root of symlinks under a policy that merges",
    ["install", amd64, "--overlap", "a", "--link", "symlink"],
    64,
    "INVALID_PARAMS",
  ],
  ["a tag that is not there", ["install", `oci:${fixtureImages}:none`], 79, "MANIFEST_UNKNOWN"],
  ["a directory that is no layout", ["install", "oci:/etc:x"], 65, "LAYOUT_INVALID"],
  ["a link in a directory that is not there", ["install", amd64, "--to", "nowhere/gcc"], 64, "USAGE"],
  ["an unknown job", ["wait", noJob], 79, "UNKNOWN_JOB"],
  ["an unknown name", ["rm", "nobody"], 79, "UNKNOWN_NAME"],
  ["a rollback of an unknown name", ["rollback", "nobody"], 79, "UNKNOWN_NAME"],
  ["a rollback to before the first generation", ["rollback", "gcc-amd64"], 79, "UNKNOWN_ROOT"],
  ["a rollback to a generation that there is not", ["rollback", "gcc-amd64", "99"], 79, "UNKNOWN_ROOT"],
  ["a rollback to no number", ["rollback", "gcc-amd64", "last"], 64, "USAGE"],
  ["a platform that the manifest is not for", ["install", amd64, "--platform", "linux/s390x"], 65, "NO_PLATFORM"],
  ["a daemon that is not there", ["ps", "--endpoint", "unix:/nonexistent.sock"], 69, "DAEMON_UNREACHABLE"],
  ["a registry that does not answer", ["install", "127.0.0.1:1/app:1"], 75, "REGISTRY_UNREACHABLE"],
];
for (const [what, args, exitCode, code] of failures) {
  test(`${what} is ${code} and exits ${exitCode}`, async () => {
    const { error, ...ended } = await failsWith(args);
    assert.deepEqual([error.code, error.exitCode, ended.exitCode], [code, exitCode, exitCode]);
    assert.ok(error.message.startsWith("Cannot "), error.message);
  });
}

test("without a terminal an install says at most ten lines on stderr and only the path on stdout", async () => {
  const { stdout, stderr, exitCode } = await cli(sandbox, ["install", amd64, "--name", "quietly"]);
  assert.equal(exitCode, 0);
  assert.equal(stdout, `${join(sandbox.stateDir, "names/quietly")}\n`);
  assert.ok(stderr.split("\n").length <= 11, stderr);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
  assert.doesNotMatch(stderr, /\x1b/);
});

test("what an image says reaches no terminal unescaped", async () => {
  const layout = sandbox.file("hostile");
  const name = "evil\x1b[2Jname";
  await writeLayout(layout, {
    app: buildImage([await tarOf([{ name, content: "a" }]), await tarOf([{ name, content: "b" }])]),
  });
  const { stderr, stdout } = await cli(sandbox, ["install", `oci:${layout}:app`]);
  assert.match(stderr, /LAYER_OVERLAP/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
  assert.doesNotMatch(stderr + stdout, /\x1b/);
});

test("a verb starts the daemon where none answers, many at once start one, and it goes when idle", async (t) => {
  const alone = await Sandbox.create(t);
  const env = { STRATAD_IDLE_EXIT_MS: "1500" };
  const outcomes = await Promise.all(
    Array.from({ length: 5 }, (_, i) => cli(alone, ["install", amd64, "--name", `n${i}`], { env })),
  );
  assert.deepEqual(
    outcomes.map(({ exitCode }) => exitCode),
    [0, 0, 0, 0, 0],
    outcomes.map(({ stderr }) => stderr).join(""),
  );
  const log = () => readFileSync(join(alone.stateDir, "daemon.log"), "utf8");
  assert.equal(
    log()
      .split("\n")
      .filter((line) => line.includes('"daemon.ready"')).length,
    1,
  );
  const endpoint = await readEndpoint(alone);
  assert.ok(endpoint !== undefined);
  await until("the idle daemon ends", async () => (await alone.processes()).length === 0);
  assert.match(log(), /daemon\.stopped/);
  assert.equal(await readEndpoint(alone), undefined);
});

test("a command whose daemon is killed starts the next one, which goes on with its job", async (t) => {
  const alone = await Sandbox.create(t);
  const image = buildImage([await bulkyTar("bulk", 50, 4096)]);
  const gate = gateAt(layerDigests(image), 1000);
  const registry = await startRegistry({ images: { "lost:1": image }, script: gate.script });
  t.after(() => registry.close());
  const installing = cli(alone, ["install", `${registry.host}/lost:1`]);
  await gate.reached;
  const killed = (await readEndpoint(alone))?.pid;
  assert.ok(killed !== undefined);
  process.kill(killed, "SIGKILL");
  gate.open();
  const { exitCode, stdout, stderr } = await installing;
  assert.deepEqual([exitCode, stdout], [0, `${join(alone.stateDir, "names/lost")}\n`], stderr);
  assert.match(stderr, /^The daemon is gone: starting the next one$/m);
  const [job, ...others] = z.object({ jobs: z.array(Job) }).parse(await cliJson(alone, ["ps"])).jobs;
  assert.deepEqual([job?.state, others], ["ready", []]);
  const { stdout: told } = await cli(alone, ["logs", job?.jobId ?? ""]);
  assert.match(told, /taken up again by the next daemon/);
});

test("a daemon that a service manager keeps is no command's to follow, and one that a service's command starts tells no manager", async (t) => {
  const [kept, own] = [await Sandbox.create(t), await Sandbox.create(t)];
  const env = { NOTIFY_SOCKET: kept.file("notify"), WATCHDOG_USEC: "60000000" };
  await serve(kept, { env });
  assert.equal((await readEndpoint(kept))?.background, false);
  await cli(own, ["ps"], { env });
  const started = await readEndpoint(own);
  assert.equal(started?.background, true);
  const environment = readFileSync(`/proc/${started?.pid}/environ`, "utf8").split("\0");
  assert.ok(environment.some((each) => each.startsWith("STRATAD_IDLE_EXIT_MS=")));
  assert.deepEqual(
    environment.filter((each) => /^(NOTIFY|WATCHDOG|LISTEN)_/.test(each)),
    [],
  );
});

test("an idle daemon does not go while a session is open", async (t) => {
  const alone = await Sandbox.create(t);
  const own = await serve(alone, { env: { STRATAD_IDLE_EXIT_MS: "200" } });
  const wire = await Wire.connect(t, own.socket);
  const { startedAt } = await wire.request("server/status");
  await until("ten idle times are over", () => Date.now() - Date.parse(startedAt) > 2000);
  assert.equal((await wire.request("server/status")).draining, false);
  await wire.close();
  assert.equal((await own.ended).exitCode, 0);
});

test("a daemon that cannot start says why, and the verb exits with its code", async (t) => {
  const alone = await Sandbox.create(t);
  await mkdir(alone.stateDir);
  await writeFile(join(alone.stateDir, "version"), "99\n");
  const { error } = failure.parse(await cliJson(alone, ["ps"], { exitCode: 74 }));
  assert.equal(error.code, "STORE_VERSION");
});

test("a result that cannot be written is a failure, and said", async () => {
  const { exitCode, stderr } = await sandbox.run([
    "sh",
    "-c",
    'exec "$@" >/dev/full',
    "sh",
    ...sandbox.stratad,
    "roots",
    "--json",
  ]);
  assert.deepEqual([exitCode, stderr], [74, "error: Cannot write the result: ENOSPC [STORE_IO]\n"]);
});
