/**
 * One image of real files in every form and codec in which images come: the same tree each time, and the tree that umoci and
 * GNU tar extract.
 */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { serve } from "../support/daemon.js";
import { basicUser, startDebianRegistry } from "../support/debian-registry.js";
import { realTar, writeLayout } from "../support/images.js";
import { buildImage, startRegistry, type TestImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { differences, readTree, type TreeFacts } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const skopeo = toolOrSkip("skopeo");
const umoci = toolOrSkip("umoci");
const debianRegistry = toolOrSkip("docker-registry");
const gnuTar = toolOrSkip("tar");
const { skip: noSkopeo } = skopeo;
const { skip: noUmoci } = umoci;
const noRegistry = noSkopeo || debianRegistry.skip;

const scope = fileScope();
let workshop: Sandbox;
let image: TestImage;
let expected: TreeFacts;

/** Where real files are taken from, for a layer each; the names of one are left out in the next. */
const sources = ["/usr/share", "/usr/lib", "/usr/include", "/etc"];
const MIN_ENTRIES = 2000;
const LAYER_BYTES = 12 * 1024 * 1024;
const LAYER_ENTRIES = 1500;

before(async () => {
  if (gnuTar.skip) return;
  workshop = await Sandbox.create(scope);
  const taken = new Set<string>();
  const layers: Buffer[] = [];
  await mkdir(workshop.file("by-tar"));
  for (const [index, source] of sources.entries()) {
    const names = await someOf(source, taken);
    if (names.length === 0) continue;
    const file = workshop.file(`layer-${index}.tar`);
    await realTar(file, source, names);
    layers.push(await readFile(file));
    await workshop.must(["tar", "-xf", file, "-C", workshop.file("by-tar"), "-p", "--no-same-owner"]);
  }
  image = buildImage(layers, { codec: "none" });
  await writeLayout(workshop.file("plain"), { app: image });
  expected = readTree(workshop.file("by-tar"));
});

/** Top-level names of `directory` that no other layer has, up to the budget of a layer. */
async function someOf(directory: string, taken: Set<string>): Promise<string[]> {
  const chosen: string[] = [];
  let [bytes, count] = [0, 0];
  for (const name of (await readdir(directory)).sort()) {
    if (taken.has(name)) continue;
    const size = await sizeOf(join(directory, name));
    if (size === undefined || bytes + size.bytes > LAYER_BYTES || count + size.entries > LAYER_ENTRIES) continue;
    bytes += size.bytes;
    count += size.entries;
    taken.add(name);
    chosen.push(name);
  }
  return chosen;
}

/** Undefined for what this user cannot read, and for what is neither file, directory nor symlink. */
async function sizeOf(path: string): Promise<{ bytes: number; entries: number } | undefined> {
  try {
    const sum = { bytes: 0, entries: 1 };
    const top = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
    for (const entry of top) {
      sum.entries += 1;
      if (entry.isFile()) sum.bytes += (await stat(join(entry.parentPath, entry.name))).size;
      else if (!entry.isDirectory() && !entry.isSymbolicLink()) return undefined;
      if (sum.bytes > LAYER_BYTES || sum.entries > LAYER_ENTRIES) return undefined;
    }
    return sum;
  } catch {
    return undefined;
  }
}

const copy = (from: string, to: string, ...flags: string[]) =>
  workshop.must(["skopeo", "--insecure-policy", "copy", "--quiet", ...flags, from, to], { deadlineMs: 120_000 });
const plain = () => `oci:${workshop.file("plain")}:app`;

interface Install {
  readonly reference: string;
  readonly auths?: Readonly<Record<string, { auth: string }>>;
}

/** Installs into a store of its own, so that each layer is really unpacked, and compares. */
async function installs(t: TestContext, { reference, auths }: Install): Promise<Json> {
  const sandbox = await Sandbox.create(t);
  if (auths !== undefined) {
    await mkdir(join(sandbox.home, ".docker"));
    await writeFile(join(sandbox.home, ".docker/config.json"), JSON.stringify({ auths }));
  }
  const wire = await Wire.connect(t, (await serve(sandbox)).socket);
  const job = await wire.ready(reference);
  const actual = readTree(job.root.path);
  assert.deepEqual(differences(actual, expected), []);
  assert.deepEqual(actual.writable, []);
  const layers = image.blobs.size - 1;
  assert.deepEqual(await wire.counters(), { blobsRead: layers, layersUnpacked: layers, rootsLinked: 1 });
  assert.equal(job.progress.entriesDone >= expected.entries.size, true);
  return job;
}

const suffixOf = (job: Json) => [...new Set(job.layers.map(({ mediaType }: Json) => mediaType.replace(/.*\./, "")))];

test("the image holds thousands of real files in several layers", { skip: gnuTar.skip }, () => {
  assert.ok(expected.entries.size >= MIN_ENTRIES, `${expected.entries.size} entries`);
  assert.ok(image.blobs.size > 2);
});

test("umoci unpacks the same tree as GNU tar, so that the judges agree", { skip: gnuTar.skip || noUmoci }, async () => {
  const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];
  const out = workshop.file("by-umoci");
  await workshop.must(["umoci", "raw", "unpack", ...rootless, "--image", `${workshop.file("plain")}:app`, out]);
  assert.deepEqual(differences(readTree(out), expected), []);
});

test("plain tar layers in an OCI layout give the tree of GNU tar", { skip: gnuTar.skip }, async (t) => {
  const job = await installs(t, { reference: plain() });
  assert.deepEqual(suffixOf(job), ["tar"]);
});

for (const codec of ["gzip", "zstd"]) {
  test(`${codec} layers in an OCI layout give the tree of GNU tar`, { skip: gnuTar.skip || noSkopeo }, async (t) => {
    await copy(plain(), `oci:${workshop.file(`${codec}-layout`)}:app`, "--dest-compress-format", codec);
    const job = await installs(t, { reference: `oci:${workshop.file(`${codec}-layout`)}:app` });
    assert.deepEqual(suffixOf(job), [`tar+${codec}`]);
  });
}

test("an oci-archive gives the tree of GNU tar", { skip: gnuTar.skip || noSkopeo }, async (t) => {
  const file = workshop.file("image.oci.tar");
  await copy(plain(), `oci-archive:${file}:app`);
  await installs(t, { reference: `oci-archive:${file}:app` });
});

test("a docker-archive gives the tree of GNU tar, its layers named by their diffIDs", {
  skip: gnuTar.skip || noSkopeo,
}, async (t) => {
  const file = workshop.file("image.docker.tar");
  await copy(plain(), `docker-archive:${file}:example/app:1`);
  const job = await installs(t, { reference: `docker-archive:${file}:example/app:1` });
  for (const { digest, diffId } of job.layers) assert.equal(digest, diffId);
});

test("a registry that asks nobody serves the tree of GNU tar, gzip and zstd", {
  skip: gnuTar.skip || noRegistry,
}, async (t) => {
  for (const codec of ["gzip", "zstd"]) {
    // One for each: skopeo would find the other codec's blobs in the registry and take those.
    const { host } = await startDebianRegistry(workshop, { name: codec, auth: "anonymous" });
    const name = `${host}/team/${codec}:1`;
    await copy(plain(), `docker://${name}`, "--dest-tls-verify=false", "--dest-compress-format", codec);
    const job = await installs(t, { reference: name });
    assert.deepEqual(suffixOf(job), [`tar+${codec}`]);
    assert.equal(job.name.name, codec);
  }
});

test("a registry that asks for a password gets docker's, and refuses without it", {
  skip: gnuTar.skip || noRegistry,
}, async (t) => {
  const { host } = await startDebianRegistry(workshop, { name: "basic", auth: "basic" });
  const credentials = `${basicUser.username}:${basicUser.password}`;
  await copy(plain(), `docker://${host}/app:1`, "--dest-tls-verify=false", "--dest-creds", credentials);
  const auth = Buffer.from(credentials).toString("base64");
  await installs(t, { reference: `${host}/app:1`, auths: { [host]: { auth } } });

  const sandbox = await Sandbox.create(t);
  const wire = await Wire.connect(t, (await serve(sandbox)).socket);
  const { error } = await wire.install(`${host}/app:1`);
  assert.deepEqual([error.code, error.exitCode], ["AUTH_REQUIRED", 80]);
});

test("a registry with a token service serves the tree of GNU tar", { skip: gnuTar.skip }, async (t) => {
  const registry = await startRegistry({ images: { "team/app:1": image }, auth: "bearer" });
  t.after(() => registry.close());
  const { username, password } = registry.user;
  const auth = Buffer.from(`${username}:${password}`).toString("base64");
  await installs(t, { reference: `${registry.host}/team/app:1`, auths: { [registry.host]: { auth } } });
  const blobs = registry.requests.filter(({ path, headers }) => path.includes("/blobs/") && headers.authorization);
  assert.equal(new Set(blobs.map(({ path }) => path)).size, image.blobs.size);
});
