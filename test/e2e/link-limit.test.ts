/**
 * Files that have no link left: a root gets a second inode, which later roots link, and says so. Under a limit of three links by a
 * library that is put before the system's; and once for real, where ext4 has no more than 65,000.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { linkSync, lstatSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { checkout, serve } from "../support/daemon.js";
import { placeOn } from "../support/file-systems.js";
import { type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { fileScope, lastFirst, Sandbox, type Scope } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { everythingBelow, readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const IMAGES = 6;
const shared: readonly TarFile[] = [
  { name: "shared/single", content: "one name", mode: 0o755 },
  { name: "shared/empty", content: "" },
];
const paired: readonly TarFile[] = [
  { name: "shared/first", content: "two names", mode: 0o750 },
  { name: "shared/second", type: "link", linkname: "shared/first" },
];

interface Stage {
  readonly sandbox: Sandbox;
  readonly wires: readonly Wire[];
  /** Images that all have the same lowest layer. */
  readonly references: readonly string[];
}

/** Each image has the layer of these entries and one of its own. */
async function stage(
  scope: Scope,
  entries: readonly TarFile[],
  { env, stateBelow }: { readonly env?: NodeJS.ProcessEnv; readonly stateBelow?: string },
): Promise<Stage> {
  const sandbox = await Sandbox.create(scope, stateBelow === undefined ? {} : { stateBelow });
  const layer = await tarOf(entries);
  const tags = Array.from({ length: IMAGES }, (_, i) => `image-${i}`);
  const images = tags.map(
    async (tag) => [tag, buildImage([layer, await tarOf([{ name: tag, content: tag }])])] as const,
  );
  await writeLayout(sandbox.file("layout"), Object.fromEntries(await Promise.all(images)));
  const { socket } = await serve(sandbox, { env: { STRATAD_WORKERS: "2", ...env } });
  const wires = await Promise.all(tags.map(() => Wire.connect(scope, socket)));
  return { sandbox, wires, references: tags.map((tag) => `oci:${sandbox.file("layout")}:${tag}`) };
}

const inodes = (jobs: readonly Json[], path: string): number[] =>
  jobs.map(({ root }) => lstatSync(join(root.path, path)).ino);
const spilled = ({ stateDir }: Sandbox): number =>
  everythingBelow(join(stateDir, "spill")).filter((path) => path.includes("/")).length;

const compiler = toolOrSkip("cc");

suite("under a limit of few links", { skip: compiler.skip }, () => {
  const scope = fileScope();
  let library: string;
  const limited = (links: number) => ({ env: { LD_PRELOAD: library, LINK_LIMIT: String(links) } });

  before(async () => {
    const workshop = await Sandbox.create(scope);
    library = workshop.file("link-limit.so");
    const source = join(checkout, "test/support/link-limit.c");
    execFileSync(compiler.path ?? "", ["-shared", "-fPIC", "-o", library, source]);
  });

  test("six roots of one layer under three links: each inode has the store's or the spill's name and two roots'", async (t) => {
    const { sandbox, wires, references } = await stage(lastFirst(t), shared, limited(3));
    const jobs: Json[] = [];
    for (const [i, reference] of references.entries()) jobs.push(await (wires[i] as Wire).ready(reference));
    const copied = jobs.map(({ linked }) => linked.copied);
    const late = { count: 0, because: "EMLINK" };
    const first = { count: 1, because: "EMLINK" };
    assert.deepEqual(copied, [{ count: 0 }, { count: 0 }, first, late, first, late]);
    const [a, b, c, d, e, f] = inodes(jobs, "shared/single");
    assert.deepEqual([a, c, e], [b, d, f]);
    assert.equal(new Set([a, c, e]).size, 3);
    assert.equal(spilled(sandbox), 2);
    const trees = jobs.map(({ root }) => readTree(root.path));
    for (const { entries, writable } of trees) {
      assert.deepEqual(entries.get("shared/single"), trees[0]?.entries.get("shared/single"));
      assert.deepEqual(writable, []);
    }
  });

  test("six roots at once make no more inodes than one after another, and none fails", async (t) => {
    const { sandbox, wires, references } = await stage(lastFirst(t), shared, limited(3));
    const jobs = await Promise.all(references.map((reference, i) => (wires[i] as Wire).ready(reference)));
    assert.equal(new Set(inodes(jobs, "shared/single")).size, 3);
    assert.equal(
      jobs.reduce((sum, { linked }) => sum + linked.copied.count, 0),
      2,
    );
    assert.equal(spilled(sandbox), 2);
    for (const { root } of jobs) assert.equal(readFileSync(join(root.path, "shared/single"), "utf8"), "one name");
  });

  for (const overlap of ["c", "a"])
    test(`two names of one file are one inode wherever one has room for both, under policy ${overlap}`, async (t) => {
      const { sandbox, wires, references } = await stage(lastFirst(t), paired, limited(6));
      const jobs: Json[] = [];
      for (const [i, reference] of references.entries())
        jobs.push(await (wires[i] as Wire).ready(reference, { overlap }));
      const [firsts, seconds] = [inodes(jobs, "shared/first"), inodes(jobs, "shared/second")];
      const [a, b, c, d, , f] = firsts;
      assert.deepEqual([a, c], [b, d]);
      assert.notEqual(a, c);
      // The fifth root gets the last link of one and the first of the next.
      assert.deepEqual(seconds, [a, b, c, d, f, f]);
      assert.deepEqual(
        jobs.map(({ linked }) => linked.copied.count),
        [0, 0, 1, 0, 1, 0],
      );
      assert.equal(spilled(sandbox), 2);
    });

  test("a layer with more names of a file than the limit is unpacked and linked, the roots' names on as few inodes as there can be", async (t) => {
    const names = Array.from(
      { length: 7 },
      (_, i): TarFile => ({ name: `shared/${i}`, type: "link", linkname: "shared/f" }),
    );
    const { wires, references } = await stage(
      lastFirst(t),
      [{ name: "shared/f", content: "eight names" }, ...names],
      limited(5),
    );
    const jobs = await Promise.all(references.map((reference, i) => (wires[i] as Wire).ready(reference)));
    const all = jobs.flatMap(({ root }) =>
      readdirSync(join(root.path, "shared")).map((name) => join(root.path, "shared", name)),
    );
    assert.equal(all.length, 8 * IMAGES);
    assert.deepEqual([...new Set(all.map((path) => readFileSync(path, "utf8")))], ["eight names"]);
    // The store has 5 names on one inode and 3 on another; each further one has the spill's name and 4 of the roots'.
    const used = new Set(all.map((path) => lstatSync(path).ino)).size;
    assert.ok(used <= 1 + Math.ceil((8 * IMAGES - 2) / 4), `${used} inodes`);
  });

  test("layers that share a file with more names than the limit go on with a further inode, which the next ones share", async (t) => {
    const scope = lastFirst(t);
    const sandbox = await Sandbox.create(scope);
    const tags = Array.from({ length: 8 }, (_, i) => `image-${i}`);
    const images = tags.map(
      async (tag) => [tag, buildImage([await tarOf([{ name: `${tag}/file`, content: "in all layers" }])])] as const,
    );
    await writeLayout(sandbox.file("layout"), Object.fromEntries(await Promise.all(images)));
    const env = { STRATAD_WORKERS: "2", STRATAD_STORE_DEDUP: "files", ...limited(4).env };
    const wire = await Wire.connect(scope, (await serve(sandbox, { env })).socket);
    const jobs: Json[] = [];
    for (const tag of tags) jobs.push(await wire.ready(`oci:${sandbox.file("layout")}:${tag}`));
    const inodes = jobs.map(({ root }, i) => lstatSync(join(root.path, `image-${i}/file`)).ino);
    // Of each inode's four links: the object, a layer and its root, and one more layer, whose root gets a spilled one.
    assert.equal(new Set(inodes).size, 8);
    const stored = tags.map((tag) =>
      everythingBelow(join(sandbox.stateDir, "layers")).filter((path) => path.endsWith(`${tag}/file`)),
    );
    const storedInodes = stored.flat().map((path) => lstatSync(join(sandbox.stateDir, "layers", path)).ino);
    assert.equal(storedInodes.length, 8);
    assert.equal(new Set(storedInodes).size, 4);
    for (const [i, { root }] of jobs.entries())
      assert.equal(readFileSync(join(root.path, `image-${i}/file`), "utf8"), "in all layers");
  });
});

const EXT4_LINKS = 65_000;

test(`ext4: a file that has ${EXT4_LINKS} links goes on as a second inode, which the next root links`, async (t) => {
  const scope = lastFirst(t);
  const place = await placeOn(scope, "ext4");
  if (place.directory === undefined) return t.skip(place.skip);
  const { wires, references } = await stage(scope, shared, { stateBelow: place.directory });
  const [wire] = wires as [Wire];
  const first = await wire.ready(references[0] ?? "");
  const file = join(first.root.path, "shared/single");
  mkdirSync(join(place.directory, "links"));
  for (let links = lstatSync(file).nlink; links < EXT4_LINKS; links += 1)
    linkSync(file, join(place.directory, "links", String(links)));
  assert.throws(() => linkSync(file, join(place.directory, "links/more")), { code: "EMLINK" });
  const [second, third] = [await wire.ready(references[1] ?? ""), await wire.ready(references[2] ?? "")];
  assert.deepEqual(second.linked.copied, { count: 1, because: "EMLINK" });
  assert.deepEqual(third.linked.copied, { count: 0, because: "EMLINK" });
  const [one, two, other] = inodes([first, second, third], "shared/single");
  assert.equal(two, other);
  assert.notEqual(one, two);
  assert.deepEqual(
    readTree(third.root.path).entries.get("shared/single"),
    readTree(first.root.path).entries.get("shared/single"),
  );
});
