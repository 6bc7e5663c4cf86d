/**
 * Accepted jobs outlive their daemon: killed in the middle, stopped before they are done, or asked to survive a power cut.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { before, test } from "node:test";
import { StratadClient } from "../../src/client/client.js";
import { cli, cliJson, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { bulkyTar, layerDigests, tarOf, writeLayout } from "../support/images.js";
import { buildImage, startRegistry, type TestImage } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { type Json, Wire } from "../support/wire.js";

/** One layer that all have, and one that is held back in its middle. */
const images: TestImage[] = [];
let held: string[];
let shared: string;
const JOBS = 6;

before(async () => {
  const common = await tarOf([{ name: "common", content: "stored before the daemon dies" }]);
  for (let n = 0; n < JOBS; n += 1) images.push(buildImage([common, await bulkyTar(`own-${n}`, 40, 8192)]));
  [shared = ""] = layerDigests(images[0] as TestImage);
  held = images.map((image) => layerDigests(image)[1] ?? "");
});

async function startScene(t: Parameters<typeof Wire.connect>[0]) {
  const gate = gateAt(held, 64 * 1024);
  const registry = await startRegistry({
    images: Object.fromEntries(images.map((image, n) => [`app-${n}:1`, image])),
    script: gate.script,
  });
  t.after(() => registry.close());
  const sandbox = await Sandbox.create(t);
  const references = images.map((_, n) => `${registry.host}/app-${n}:1`);
  const fetched = (digest: string) => registry.requests.filter(({ path }) => path.endsWith(`/blobs/${digest}`)).length;
  return { gate, registry, sandbox, references, fetched };
}

const states = (jobs: readonly Json[]) => jobs.map(({ state }) => state);

test("kill -9 in the middle: the same jobs end ready, nothing committed is done twice, and who waits gets the answer", async (t) => {
  const { gate, sandbox, references, fetched } = await startScene(t);
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(t, daemon.socket);
  const follower = await StratadClient.connect({ endpoint: daemon.socket });
  t.after(() => follower.close());
  // The command waits with a key of its own, the client of this process follows, `wait` asks again. With an endpoint no command
  // starts a daemon of its own where it is killed in the first moment.
  const at = ["--endpoint", daemon.socket];
  const command = cliJson(sandbox, ["install", references[0] ?? "", ...at]);
  const { jobId: first } = await until("the command's job is there", async () => {
    return (await wire.request("install/list")).jobs[0];
  });
  const followed = follower.install({ reference: references[1] ?? "" });
  const jobIds: string[] = [first, (await followed.started).jobId];
  // Long before the kill: one that has just connected has not asked for anything yet.
  const { sessions } = await wire.request("server/status");
  const waiting = cli(sandbox, ["wait", jobIds[1] ?? "", ...at]);
  await until("`wait` is connected", async () => {
    return (await wire.request("server/status")).sessions.full > sessions.full;
  });
  for (const reference of references.slice(2)) {
    const requestKey = `key of ${reference}`;
    jobIds.push((await wire.request("install/start", { reference, requestKey })).jobId);
  }
  const cancelled = (await wire.request("install/start", { reference: references[5], name: "unwanted" })).jobId;
  await wire.request("install/cancel", { jobId: cancelled });
  await until("a layer is stored, another half fetched, and jobs wait", async () => {
    const { jobs } = await wire.request("install/list");
    const stored = jobs.filter(({ layers }: Json) => layers[0]?.state === "stored" && layers[1]?.state !== "stored");
    return stored.length >= 4;
  });
  await gate.reached;
  const before = (await wire.request("install/list")).jobs;
  daemon.kill("SIGKILL");
  await daemon.ended;
  assert.equal(fetched(shared), 1);

  gate.open();
  const next = await serve(sandbox);
  const again = await Wire.connect(t, next.socket);
  const jobs = await Promise.all(jobIds.map((jobId) => again.request("install/wait", { jobId })));
  assert.deepEqual(states(jobs), Array(JOBS).fill("ready"));
  assert.equal((await again.request("install/get", { jobId: cancelled })).state, "cancelled");
  for (const job of jobs) {
    const { createdAt } = before.find(({ jobId }: Json) => jobId === job.jobId);
    assert.equal(job.createdAt, createdAt);
    assert.equal(job.layers[0].reused, true);
  }
  assert.equal(fetched(shared), 1, "what was committed is not fetched again");
  assert.deepEqual(await again.counters(), { blobsRead: JOBS, layersUnpacked: JOBS, rootsLinked: JOBS });

  const told = (await command) as Json;
  assert.deepEqual([told.jobId, told.state], [first, "ready"]);
  const seen = await followed.finished;
  assert.deepEqual([seen.jobId, seen.state], [jobIds[1], "ready"]);
  const waited = await waiting;
  assert.deepEqual([waited.exitCode, waited.stdout], [0, `${jobs[1].name.path}\n`]);
  const reference = references[3];
  const repeated = await again.request("install/start", { reference, requestKey: `key of ${reference}` });
  assert.deepEqual([repeated.jobId, repeated.state], [jobIds[3], "ready"]);

  const log = (await cliJson(sandbox, ["logs", first])) as Json;
  const events = log.lines.map(({ event }: Json) => event);
  assert.deepEqual(events.slice(0, 2), ["accepted", "started"]);
  assert.deepEqual(events.slice(-2), ["named", "ended"]);
  assert.ok(events.includes("resumed"));
  const { stdout } = await cli(sandbox, ["logs", first]);
  assert.match(stdout, /^\S+Z {2}layer 1, sha256:[0-9a-f]{64}, unpacked$/m);
  assert.match(stdout, /^\S+Z {2}ready$/m);
});

test("a stop that does not wait leaves its jobs to the next daemon, and tells nobody that they failed", async (t) => {
  const { gate, sandbox, references } = await startScene(t);
  const daemon = await serve(sandbox, { env: { STRATAD_DRAIN_TIMEOUT_MS: "50" } });
  const wire = await Wire.connect(t, daemon.socket);
  const { jobId } = await wire.request("install/start", { reference: references[0] });
  const waited = wire.request("install/wait", { jobId }).catch((error: Error) => error.message);
  await gate.reached;
  daemon.kill("SIGTERM");
  assert.match(String(await waited), /^closed/);
  const { exitCode, stderr } = await daemon.ended;
  assert.equal(exitCode, 0);
  assert.match(stderr, /daemon\.drain\.timeout/);
  gate.open();
  const again = await Wire.connect(t, (await serve(sandbox)).socket);
  assert.equal((await again.request("install/wait", { jobId })).state, "ready");
  const { lines } = await again.request("job/log", { jobId });
  const events = lines.map(({ event }: Json) => event);
  assert.deepEqual(
    events.filter((event: string) => event === "interrupted" || event === "ended"),
    ["interrupted", "ended"],
  );
});

const strace = toolOrSkip("strace");

test("an acceptance is on the disk before it is answered", { skip: strace.skip }, async (t) => {
  const sandbox = await Sandbox.create(t);
  await writeLayout(sandbox.file("layout"), { app: images[0] as TestImage });
  const trace = sandbox.file("trace");
  const [program, ...args] = sandbox.stratad;
  const calls = "trace=fdatasync,fsync,write,writev,pwrite64,sendto,sendmsg";
  sandbox.stratad = [
    strace.path ?? "",
    "-D",
    "-f",
    "-qq",
    "-y",
    "-s",
    "400",
    "-e",
    calls,
    "-o",
    trace,
    program,
    ...args,
  ];
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(t, daemon.socket);
  const { jobId } = await wire.request("install/start", { reference: `oci:${sandbox.file("layout")}:app` });
  await wire.request("install/wait", { jobId });
  const lines = (await readFile(trace, "utf8")).split("\n");
  const after = (from: number, what: RegExp) => {
    const found = lines.findIndex((line, index) => index >= from && what.test(line));
    assert.notEqual(found, -1, `no ${what} behind line ${from} of\n${lines.slice(from, from + 200).join("\n")}`);
    return found;
  };
  const written = after(0, new RegExp(`write.*/journal/.*job\\.accepted.*${jobId}`));
  const begun = after(written, /fdatasync\(\d+<[^>]*\/journal\//);
  const [, thread = ""] = /^(\d+) /.exec(lines[begun] ?? "") ?? [];
  const synced = / = 0$/.test(lines[begun] ?? "")
    ? begun
    : after(begun, new RegExp(`^${thread} .*fdatasync resumed.* = 0$`));
  const answered = after(0, new RegExp(`(write|send).*\\\\"result\\\\":\\{\\\\"jobId\\\\":\\\\"${jobId}`));
  assert.ok(synced < answered, `synced in line ${synced}, answered in line ${answered}`);
});
