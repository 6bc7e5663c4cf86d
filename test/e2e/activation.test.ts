/**
 * Where the daemon runs: sockets handed over by systemd, a machine without the usual tools, a user without XDG_RUNTIME_DIR.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { adopt, cli, cliJson, fixtureImages, readEndpoint, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { mainScript, Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { type Json, Wire } from "../support/wire.js";

const reference = `oci:${fixtureImages}:gcc-amd64`;
const activate = toolOrSkip("systemd-socket-activate");

test("a connection to systemd's sockets starts the daemon, which serves each with its scope", {
  skip: activate.skip,
}, async (t) => {
  const sandbox = await Sandbox.create(t);
  await sandbox.must(["mkdir", "-m", "700", sandbox.runtimeDir]);
  const [full, read] = [join(sandbox.runtimeDir, "stratad.sock"), join(sandbox.runtimeDir, "stratad-ro.sock")];
  const settings = Object.entries(sandbox.env).map(([name, value]) => `--setenv=${name}=${value}`);
  const args = ["--listen", full, "--listen", read, "--fdname=full:read", ...settings];
  const child = spawn(activate.path ?? "", [...args, process.execPath, mainScript, "serve"], {
    env: sandbox.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  await until("systemd's sockets are there", () => existsSync(full) && existsSync(read));
  assert.equal(await readEndpoint(sandbox), undefined);
  const [wires, daemon] = await Promise.all([
    Promise.all([Wire.connect(t, full), Wire.connect(t, read)]),
    adopt(child, sandbox),
  ]);
  const [writer, reader] = wires;
  assert.deepEqual([daemon.socket, daemon.readOnlySocket], [full, read]);
  const job = await writer.ready(reference);
  assert.ok(existsSync(join(job.name.path, "bin/gcc")));
  assert.equal((await reader.refused("install/start", { reference })).data.code, "NOT_ALLOWED");
  assert.equal((await reader.request("image/status", { reference })).installed, true);
  const status: Json = await cliJson(sandbox, ["status"]);
  assert.equal(status.server.pid, daemon.pid);
  daemon.kill("SIGTERM");
  assert.equal((await daemon.ended).exitCode, 0);
  assert.ok(existsSync(full), "the socket file is systemd's to remove");
});

test("without flock, sync and systemd-notify everything works, and the log says what is done instead", async (t) => {
  const sandbox = await Sandbox.create(t);
  const env = { PATH: sandbox.file("files"), NOTIFY_SOCKET: sandbox.file("notify.sock") };
  const daemon = await serve(sandbox, { env });
  const wire = await Wire.connect(t, daemon.socket);
  const job = await wire.ready(reference, { durable: true });
  assert.equal(job.durable, false);
  const lines = () =>
    daemon
      .log()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Json);
  for (const event of ["lock.flock.unavailable", "sync.unavailable", "readiness.unavailable"]) {
    const said = await until(event, () => lines().find((line) => Object.values(line).includes(event)));
    assert.equal(typeof said.instead, "string", JSON.stringify(said));
  }
  const second = await cli(sandbox, ["serve"], { env: { ...env, XDG_RUNTIME_DIR: sandbox.file("tmp") } });
  assert.equal(second.exitCode, 75, second.stderr);
  assert.match(second.stderr, new RegExp(`STORE_LOCKED[^]*\\b${daemon.pid}\\b`));
  daemon.kill("SIGKILL");
  await daemon.ended;
  const successor = await Wire.connect(t, (await serve(sandbox, { env })).socket);
  assert.equal((await successor.request("image/status", { reference })).installed, true);
});

test("with flock and without, two daemons exclude each other all the same", async (t) => {
  const sandbox = await Sandbox.create(t);
  const bare = { PATH: sandbox.file("files") };
  const daemon = await serve(sandbox, { env: bare });
  const env = { XDG_RUNTIME_DIR: sandbox.file("tmp") };
  assert.equal((await cli(sandbox, ["serve"], { env })).exitCode, 75);
  daemon.kill("SIGTERM");
  await daemon.ended;
  await serve(sandbox);
  assert.equal((await cli(sandbox, ["serve"], { env: { ...env, ...bare } })).exitCode, 75);
});

test("--durable is answered when the disk has it", { skip: toolOrSkip("sync").skip }, async (t) => {
  const sandbox = await Sandbox.create(t);
  const wire = await Wire.connect(t, (await serve(sandbox)).socket);
  assert.equal((await wire.ready(reference, { durable: true })).durable, true);
  const { layers } = await wire.request("layer/list");
  assert.ok(layers.every(({ durable }: Json) => durable));
});

test("a root of copies is durable when its own files are, not when its layers are", {
  skip: toolOrSkip("sync").skip,
}, async (t) => {
  const sandbox = await Sandbox.create(t);
  const wire = await Wire.connect(t, (await serve(sandbox)).socket);
  const reference = `oci:${fixtureImages}:gcc-amd64`;
  assert.equal((await wire.ready(reference, { durable: true })).durable, true);
  assert.equal((await wire.ready(reference, { name: "linked" })).durable, true);
  assert.equal((await wire.ready(reference, { name: "copied", link: "copy" })).durable, false);
  assert.equal((await wire.ready(reference, { name: "kept", link: "copy", durable: true })).durable, true);
});

test("without XDG_RUNTIME_DIR and any setting the daemon meets its clients in the temporary directory", async (t) => {
  const sandbox = await Sandbox.create(t);
  const env = { XDG_RUNTIME_DIR: undefined, STRATAD_STATE_DIR: undefined, PATH: undefined };
  const job: Json = await cliJson(sandbox, ["install", reference], { env });
  assert.equal(job.name.path, join(sandbox.home, ".local/share/stratad/names/gcc-amd64"));
  const runtimeDir = sandbox.file("tmp", `stratad-${process.getuid?.()}`);
  assert.equal(statSync(runtimeDir).mode & 0o777, 0o700);
  const document = await readEndpoint(sandbox, runtimeDir);
  const status: Json = await cliJson(sandbox, ["status"], { env });
  assert.equal(status.server.pid, document?.pid);
});
