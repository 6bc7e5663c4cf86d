/**
 * The daemon of an ordinary user, with what only root never notices: files and directories without any permission.
 */
import assert from "node:assert/strict";
import { chownSync, lstatSync, readdirSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { cli, cliJson, type Daemon, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { type TarFile, tarOf, writeLayout } from "../support/images.js";
import { becomeOtherUser, OTHER_UID } from "../support/other-user.js";
import { buildImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { everythingBelow, readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const scope = fileScope();
const { skip, path: setpriv } = toolOrSkip("setpriv");
let sandbox: Sandbox;
let daemon: Daemon;
let wire: Wire;
/** Enough entries for several ranges of links, with a closed directory open at the border. */
const MANY = 9000;

const directory = (name: string, mode: number): TarFile => ({ name: `${name}/`, type: "directory", mode });
const odd: TarFile[] = [
  directory("closed", 0o555),
  { name: "closed/file", content: "in a directory without its write bit", mode: 0o444 },
  directory("closed/deeper", 0o500),
  { name: "closed/deeper/file", content: "deeper", mode: 0o400 },
  directory("nothing", 0o000),
  { name: "nothing/file", content: "in a directory without permissions" },
  { name: "secret", content: "a file without permissions", mode: 0o000 },
  { name: "write-only", content: "a file with its write bits only", mode: 0o222 },
  { name: "empty-secret", content: "", mode: 0o000 },
  { name: "setuid", content: "not kept", mode: 0o4755 },
  { name: "linked", type: "link", linkname: "secret" },
  // More of them than are held open at a time where they are removed.
  ...Array.from({ length: 100 }, (_, i) => directory(Array.from({ length: i + 1 }, () => "deep").join("/"), 0o555)),
];
const many: TarFile[] = [
  directory("many", 0o555),
  ...Array.from({ length: MANY }, (_, i) => ({
    name: `many/${String(i).padStart(5, "0")}`,
    content: `${i}`,
    mode: 0o000,
  })),
];

before(async () => {
  if (skip) return;
  sandbox = await Sandbox.create(scope);
  await becomeOtherUser(sandbox, setpriv ?? "");
  const layout = sandbox.file("layout");
  await writeLayout(layout, { odd: buildImage([await tarOf(odd), await tarOf(many)]) });
  daemon = await serve(sandbox);
  if (process.getuid?.() === 0)
    for (const path of [daemon.socket, daemon.readOnlySocket]) assert.equal(lstatSync(path).uid, OTHER_UID);
  wire = await Wire.connect(scope, daemon.socket);
  // A session that says nothing for ten seconds is dropped, and the first tests may take longer on a busy machine.
  await wire.request("server/status");
});

const reference = () => `oci:${sandbox.file("layout")}:odd`;
const mode = (path: string) => (lstatSync(path).mode & 0o7777).toString(8);

test("directories without write bits and files without any are installed, readable for the daemon only", {
  skip,
}, async () => {
  const job: Json = await cliJson(sandbox, ["install", reference()]);
  const at = (path: string) => mode(join(job.root.path, path));
  assert.deepEqual(
    ["closed", "closed/deeper", "nothing", "many", "secret", "write-only", "empty-secret", "setuid", "many/00000"].map(
      at,
    ),
    ["555", "500", "500", "555", "400", "400", "400", "555", "400"],
  );
  const { entries, writable } = readTree(job.root.path);
  assert.equal(entries.size, odd.length + many.length);
  assert.deepEqual(writable, []);
  assert.deepEqual(entries.get("linked"), entries.get("secret"));
  if (process.getuid?.() === 0) assert.equal(lstatSync(join(job.root.path, "secret")).uid, OTHER_UID);
});

test("such a root is removed whole, and staging is empty afterwards", { skip }, async () => {
  const root: Json = await cliJson(sandbox, ["rm", "odd"]);
  assert.throws(() => lstatSync(root.path), { code: "ENOENT" });
  assert.deepEqual(await readdir(join(sandbox.stateDir, "roots")), []);
  await until("staging is empty", () =>
    everythingBelow(join(sandbox.stateDir, "staging")).every((path) => !path.includes("/")),
  );
});

test("the layers stand after the removal, and the next install links them again", { skip }, async () => {
  const before = await wire.counters();
  const job = await wire.ready(reference());
  assert.ok(job.layers.every(({ reused }: Json) => reused));
  assert.equal((await wire.counters()).layersUnpacked, before.layersUnpacked);
  assert.equal(readTree(job.root.path).entries.size, odd.length + many.length);
});

test("kill -9 of this user's daemon leaves closed directories that its successor sweeps", { skip }, async (t) => {
  await wire.request("root/remove", { name: "odd" });
  wire.request("install/start", { reference: reference() }).catch(() => undefined);
  await until("links are in staging", () =>
    everythingBelow(join(sandbox.stateDir, "staging")).some((path) => /\/root\/tree\/./.test(path)),
  );
  daemon.kill("SIGKILL");
  await daemon.ended;
  daemon = await serve(sandbox);
  // It goes on with the job, in a directory of its own.
  const left = readdirSync(join(sandbox.stateDir, "staging")).filter((name) => !name.includes(`-${daemon.pid}-`));
  assert.deepEqual(left, []);
  wire = await Wire.connect(t, daemon.socket);
  await wire.ready(reference());
});

test("a state directory that this user may not write is STORE_NOT_WRITABLE, exit code 77", {
  skip: skip || (process.getuid?.() !== 0 && "not root"),
}, async (t) => {
  const other = await Sandbox.create(t);
  await becomeOtherUser(other, setpriv ?? "");
  chownSync(other.stateDir, 0, 0);
  const { exitCode, stderr } = await cli(other, ["ps"]);
  assert.equal(exitCode, 77, stderr);
  assert.match(stderr, /STORE_NOT_WRITABLE/);
});

test("an image that this user may not read is IMPORT_DENIED, exit code 77", {
  skip: skip || (process.getuid?.() !== 0 && "not root"),
}, async (t) => {
  wire = await Wire.connect(t, daemon.socket);
  const layout = sandbox.file("private");
  await writeLayout(layout, { odd: buildImage([await tarOf([{ name: "a", content: "a" }])]) });
  await sandbox.must(["chmod", "-R", "go-rwx", layout]);
  const { error } = await wire.install(`oci:${layout}:odd`);
  assert.deepEqual([error.code, error.exitCode], ["IMPORT_DENIED", 77]);
});
