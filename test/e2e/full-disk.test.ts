/**
 * A disk that is too small, full, or out of inodes: what cannot fit is refused before anything is written, what runs into the end all the
 * same leaves nothing behind, and the daemon goes on. On a file system of 24 MB and 700 inodes.
 */
import assert from "node:assert/strict";
import { readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { type Daemon, serve } from "../support/daemon.js";
import { smallTmpfs } from "../support/file-systems.js";
import { noise, type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { everythingBelow, readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const MB = 1024 * 1024;
const files = (top: string, count: number, content: string | Buffer): TarFile[] =>
  Array.from({ length: count }, (_, i) => ({ name: `${top}/${i}`, content }));
const directories = (top: string, count: number): TarFile[] =>
  Array.from({ length: count }, (_, i) => ({ name: `${top}/${i}/`, type: "directory" as const }));

const images: Readonly<Record<string, readonly TarFile[]>> = {
  small: [{ name: "small", content: "fits always" }],
  next: [{ name: "next", content: "fits afterwards" }],
  third: [{ name: "third", content: "fits in the end" }],
  large: [{ name: "large", content: noise(40 * MB) }],
  /** A few kB as a blob. */
  swelling: files("swelling", 10, Buffer.alloc(4 * MB)),
  crowded: files("crowded", 900, "x"),
  branched: directories("branched", 300),
  half: [{ name: "half", content: Buffer.alloc(9 * MB) }],
};

const scope = fileScope();
const place = await smallTmpfs(scope, { megabytes: 24, inodes: 700 });

suite("on a small disk", { skip: place.skip }, () => {
  let sandbox: Sandbox;
  let daemon: Daemon;
  const reference = (tag: string) => `oci:${sandbox.file("layout")}:${tag}`;
  const env = { STRATAD_RESERVE_BYTES: "0", STRATAD_RESERVE_INODES: "0", STRATAD_WORKERS: "2" };

  before(async () => {
    sandbox = await Sandbox.create(scope, { stateBelow: place.directory ?? "" });
    const built = Object.entries(images).map(
      async ([tag, entries]) => [tag, buildImage([await tarOf(entries)])] as const,
    );
    await writeLayout(sandbox.file("layout"), Object.fromEntries(await Promise.all(built)));
    daemon = await serve(sandbox, { env });
    await (await Wire.connect(scope, daemon.socket)).ready(reference("small"));
  });

  const roots = () => readdirSync(join(sandbox.stateDir, "roots")).sort();
  const staged = () => everythingBelow(join(sandbox.stateDir, "staging")).filter((path) => path.includes("/"));

  /** The error of an install that leaves nothing behind, after which another works. */
  async function noSpace(wire: Wire, tag: string, params: object = {}): Promise<Json> {
    const before = roots();
    const job = await wire.install(reference(tag), params);
    assert.equal(job.error?.code, "NO_SPACE", JSON.stringify(job.error ?? job.state));
    assert.equal(job.error.exitCode, 74);
    assert.deepEqual(roots(), before);
    assert.deepEqual(staged(), []);
    const again = await wire.ready(reference("small"), { name: `after-${tag}` });
    assert.equal(readTree(again.root.path).entries.size, 1);
    return job.error;
  }

  test("what cannot fit is refused before a byte of it is read, with the need and the have", async (t) => {
    const wire = await Wire.connect(t, daemon.socket);
    const before = await wire.counters();
    const { details, message } = await noSpace(wire, "large");
    assert.ok(details.needBytes >= 40 * MB && details.haveBytes < 24 * MB, JSON.stringify(details));
    assert.match(message, /needs 4\d\.\d MB and \d+ inodes or more, and .* has 2\d\.\d MB/);
    assert.equal((await wire.counters()).blobsRead, before.blobsRead);
  });

  test("a root that has more directories than there are inodes is refused before it is linked", async (t) => {
    const wire = await Wire.connect(t, daemon.socket);
    await wire.ready(reference("branched"));
    const { details } = await noSpace(wire, "branched", { overlap: "a" });
    assert.ok(details.needInodes >= 300 && details.haveInodes < 300, JSON.stringify(details));
    await wire.request("root/remove", { name: "branched" });
  });

  for (const tag of ["swelling", "crowded"])
    test(`a layer that fills the disk while it is unpacked leaves nothing behind: ${tag}`, async (t) => {
      const wire = await Wire.connect(t, daemon.socket);
      const free = () => statfsSync(sandbox.stateDir).ffree;
      const before = free();
      await noSpace(wire, tag);
      assert.ok(before - free() < 10, `${before - free()} inodes are gone`);
    });

  test("a copy that does not fit beside its layer is refused, or leaves nothing behind", async (t) => {
    const wire = await Wire.connect(t, daemon.socket);
    await wire.ready(reference("half"));
    await wire.ready(reference("half"), { link: "copy", name: "copied" });
    const { details } = await noSpace(wire, "half", { link: "copy", name: "another" });
    assert.ok(details.needBytes >= 9 * MB, JSON.stringify(details));
    await wire.request("root/remove", { name: "copied" });
  });

  test("the last two inodes are left to a collection: an install that lacks some takes none before there is room", async (t) => {
    const wire = await Wire.connect(t, daemon.socket);
    await wire.ready(reference("branched"));
    await wire.request("root/remove", { name: "branched" });
    const filler = (i: number) => join(sandbox.stateDir, "..", `last-${i}`);
    let fillers = 0;
    for (; statfsSync(sandbox.stateDir).ffree > 2; fillers += 1) writeFileSync(filler(fillers), "");
    const job = await wire.install(reference("next"));
    for (let i = 0; i < fillers; i += 1) rmSync(filler(i));
    assert.equal(job.state, "ready", JSON.stringify(job.error));
    assert.deepEqual(staged(), []);
    await wire.request("root/remove", { name: "next" });
    await wire.request("store/gc", {});
  });

  test("on a disk that is full to the last inode a daemon goes on, starts again, removes, and then installs", async (t) => {
    let wire = await Wire.connect(t, daemon.socket);
    const filler = (i: number) => join(sandbox.stateDir, "..", `filler-${i}`);
    let fillers = 0;
    for (; statfsSync(sandbox.stateDir).ffree > 0; fillers += 1) writeFileSync(filler(fillers), "");
    const job = await wire.install(reference("next"));
    assert.equal(job.error?.code, "NO_SPACE", JSON.stringify(job));
    assert.equal((await wire.request("server/status")).draining, false);
    daemon.kill("SIGKILL");
    await daemon.ended;
    // The holder of the lock and the log want an inode or two.
    for (let i = 0; i < 4; i += 1) rmSync(filler(i));
    daemon = await serve(sandbox, { env });
    wire = await Wire.connect(t, daemon.socket);
    const other = await wire.install(reference("next"));
    assert.equal(other.error?.code, "NO_SPACE", JSON.stringify(other));
    await wire.request("root/remove", { name: "half" });
    for (let i = 4; i < fillers; i += 1) rmSync(filler(i));
    assert.equal(readTree((await wire.ready(reference("third"))).root.path).entries.size, 1);
    assert.deepEqual(staged(), []);
  });
});

test("a daemon whose log is on a full disk goes on without it", async (t) => {
  const own = await Sandbox.create(t);
  await writeLayout(own.file("layout"), { app: buildImage([await tarOf(images.small ?? [])]) });
  own.stratad = ["sh", "-c", 'exec "$@" 2>/dev/full', "sh", ...own.stratad];
  const wire = await Wire.connect(t, (await serve(own)).socket);
  assert.equal((await wire.ready(`oci:${own.file("layout")}:app`)).state, "ready");
});
