/**
 * Files that layers share, in a daemon: layers that are unpacked at the same moment too, and only where the setting says so.
 */
import assert from "node:assert/strict";
import { chmodSync, lstatSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { serve } from "../support/daemon.js";
import { noise, type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { lastFirst, Sandbox } from "../support/sandbox.js";
import { everythingBelow, readTree } from "../support/trees.js";
import { Wire } from "../support/wire.js";

const contents = [...Array.from({ length: 600 }, () => noise(2000)), noise(700_000), noise(900_000)];
const names = contents.map((_, i) => `file-${i}`);
const layerOf = (directory: string): Promise<Buffer> =>
  tarOf(contents.map((content, i): TarFile => ({ name: `${directory}/file-${i}`, content })));

suite("files that layers share", () => {
  test("layers unpacked at once have one inode for each content; a daemon without the setting shares no more", async (t) => {
    const scope = lastFirst(t);
    const sandbox = await Sandbox.create(scope);
    const layers = await Promise.all(["a", "b", "c"].map(layerOf));
    const [a, b, c] = layers as [Buffer, Buffer, Buffer];
    await writeLayout(sandbox.file("layout"), { two: buildImage([a, b]), third: buildImage([c]) });
    const reference = `oci:${sandbox.file("layout")}`;

    const sharing = await serve(sandbox, { env: { STRATAD_WORKERS: "2", STRATAD_STORE_DEDUP: "files" } });
    const wire = await Wire.connect(scope, sharing.socket);
    const two = await wire.ready(`${reference}:two`);
    const inode = (job: { root: { path: string } }, path: string): number => lstatSync(join(job.root.path, path)).ino;
    for (const name of names) assert.equal(inode(two, `a/${name}`), inode(two, `b/${name}`), name);
    const objects = everythingBelow(join(sandbox.stateDir, "files")).filter((path) => path.includes("/"));
    assert.equal(objects.length, contents.length);
    const documents = readdirSync(join(sandbox.stateDir, "layers/sha256")).map((hex) =>
      JSON.parse(readFileSync(join(sandbox.stateDir, "layers/sha256", hex, "layer.json"), "utf8")),
    );
    assert.equal(documents[0].sharedFiles + documents[1].sharedFiles, contents.length);
    sharing.kill("SIGTERM");
    assert.equal((await sharing.ended).exitCode, 0);

    const daemon = await serve(sandbox, { env: { STRATAD_STORE_DEDUP: "off" } });
    const later = await Wire.connect(scope, daemon.socket);
    const third = await later.ready(`${reference}:third`);
    for (const name of names) assert.notEqual(inode(third, `c/${name}`), inode(two, `a/${name}`), name);
    const [ofTwo, ofThird] = [readTree(two.root.path).entries, readTree(third.root.path).entries];
    for (const name of names) {
      const { names: _names, ...shared } = ofTwo.get(`a/${name}`) ?? {};
      assert.deepEqual(shared, ofThird.get(`c/${name}`));
    }

    await later.request("root/remove", { name: "two" });
    await later.request("store/gc", {});
    const left = everythingBelow(join(sandbox.stateDir, "files")).filter((path) => path.includes("/"));
    assert.deepEqual(left, [], "a collection gives back what no layer has any more");
  });

  test("a byte that changed in a file of two layers, with its time kept, is mended in both: nothing is made of the damaged file", async (t) => {
    const scope = lastFirst(t);
    const sandbox = await Sandbox.create(scope);
    const [a, b] = await Promise.all(["a", "b"].map((at) => tarOf([{ name: `${at}/file`, content: noise(5000) }])));
    const shared = await Promise.all(
      ["c", "d", "e"].map((at) => tarOf([{ name: `${at}/file`, content: "the same everywhere" }])),
    );
    const [c, d, e] = shared as [Buffer, Buffer, Buffer];
    const images = { first: buildImage([a as Buffer, c]), second: buildImage([b as Buffer, d, e]) };
    await writeLayout(sandbox.file("layout"), images);
    const reference = `oci:${sandbox.file("layout")}`;
    const daemon = await serve(sandbox, { env: { STRATAD_WORKERS: "1", STRATAD_STORE_DEDUP: "files" } });
    const wire = await Wire.connect(scope, daemon.socket);
    const first = await wire.ready(`${reference}:first`);
    const second = await wire.ready(`${reference}:second`);
    const path = join(first.root.path, "c/file");
    const before = lstatSync(path);
    assert.equal(before.ino, lstatSync(join(second.root.path, "d/file")).ino);
    chmodSync(path, 0o644);
    writeFileSync(path, "the sane everywhere");
    chmodSync(path, before.mode & 0o7777);
    utimesSync(path, before.mtime, before.mtime);

    const found = await wire.request("store/verify", { deep: true });
    assert.deepEqual([found.findingsTotal, found.findings[0].code], [3, "CONTENT"]);
    const repaired = await wire.request("store/verify", { deep: true, repair: true });
    assert.deepEqual([repaired.findings, repaired.repairedTotal >= 3], [[], true]);
    for (const [job, at] of [
      [first, "c"],
      [second, "d"],
      [second, "e"],
    ] as const)
      assert.equal(readFileSync(join(job.root.path, at, "file"), "utf8"), "the same everywhere");
  });
});
