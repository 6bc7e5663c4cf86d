import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pack } from "tar-stream";
import { MAX_KNOWN_MANIFEST_BYTES, MAX_KNOWN_MANIFESTS, SETTLED_MS } from "../../src/limits.js";
import { parsePlatform } from "../../src/oci/platform.js";
import { parseReference } from "../../src/oci/reference.js";
import { KnownManifests } from "../../src/sources/known-manifests.js";
import { openSource } from "../../src/sources/open.js";
import { noCredentials } from "../../src/sources/registry/credentials.js";
import { userRegistries } from "../../src/sources/registry/user-registries.js";
import { resolveManifest } from "../../src/sources/resolve.js";
import { until } from "../support/deadline.js";
import { layoutFiles, writeFiles } from "../support/images.js";
import { buildImage } from "../support/registry.js";

const base = await mkdtemp(join(tmpdir(), "strata-known-"));
after(() => rm(base, { recursive: true }));
let serial = 0;
const fresh = () => join(base, `case-${++serial}`);

const options = {
  importDirs: "anywhere",
  registry: { ...userRegistries([], "test"), credentials: noCredentials },
} as const;
const { signal } = new AbortController();
const amd64 = parsePlatform("linux/amd64");
const [one, other] = [buildImage([Buffer.alloc(1024)]), buildImage([Buffer.alloc(2048)])];

/** Whatever was written is settled for it. */
const later = () => new KnownManifests(() => Date.now() + 10 * SETTLED_MS);

/** The digest that was known, or `anew` with the one that was found out. */
async function ask(known: KnownManifests, text: string, { platform = amd64, looked = async () => {} } = {}) {
  const reference = parseReference(text);
  const look = await known.look(reference, platform);
  if (look.known !== undefined) return look.known.manifestDescriptor.digest;
  await looked();
  const source = await openSource(reference, options);
  const resolved = await resolveManifest(source, { platform, signal });
  await source.close();
  await look.remember(resolved);
  return `anew ${resolved.manifestDescriptor.digest}`;
}

async function writeLayout(image = one, tag?: string): Promise<string> {
  const directory = fresh();
  await writeFiles(directory, layoutFiles([[tag, image]]));
  return directory;
}

/** Whatever is written from here on has a time of its own: until then the file system's clock stands still. */
async function tick(path: string): Promise<void> {
  const { ctimeNs } = await stat(path, { bigint: true });
  const probe = fresh();
  await until("the clock goes on", async () => {
    await writeFile(probe, "");
    return (await stat(probe, { bigint: true })).ctimeNs > ctimeNs;
  });
}

const indexOf = (image = one) => layoutFiles([[undefined, image]]).get("index.json") as Buffer;

test("a layout whose index.json is as it was is known without reading, whatever else was touched", async () => {
  const [layout, known] = [await writeLayout(), later()];
  assert.equal(await ask(known, `oci:${layout}`), `anew ${one.descriptor.digest}`);
  await rm(join(layout, "blobs"), { recursive: true });
  assert.equal(await ask(known, `oci:${layout}`), one.descriptor.digest);
});

/** In whole seconds, so that it can be given to a file again. */
const LONG_AGO = 1_700_000_000;

const changes: Readonly<Record<string, (layout: string) => Promise<void>>> = {
  "written in place": (layout) => writeFile(join(layout, "index.json"), indexOf(other)),
  "written in place, of the same size and with its old time": async (layout) => {
    const path = join(layout, "index.json");
    assert.equal(indexOf(other).byteLength, (await stat(path)).size);
    await writeFile(path, indexOf(other));
    await utimes(path, LONG_AGO, LONG_AGO);
  },
  "replaced by rename": async (layout) => {
    await writeFile(join(layout, "index.new"), indexOf(other));
    await rename(join(layout, "index.new"), join(layout, "index.json"));
  },
};

for (const [how, change] of Object.entries(changes))
  test(`an index.json that is ${how} is read again`, async () => {
    const [layout, known] = [await writeLayout(), later()];
    await writeFiles(
      layout,
      new Map([...layoutFiles([[undefined, other]])].filter(([name]) => name.startsWith("blobs"))),
    );
    await utimes(join(layout, "index.json"), LONG_AGO, LONG_AGO);
    await ask(known, `oci:${layout}`);
    await tick(join(layout, "index.json"));
    await change(layout);
    assert.equal(await ask(known, `oci:${layout}`), `anew ${other.descriptor.digest}`);
    assert.equal(await ask(known, `oci:${layout}`), other.descriptor.digest);
  });

test("a path that leads to another layout, and one that leads nowhere any more, are read again", async () => {
  const [layout, elsewhere, link, known] = [await writeLayout(), await writeLayout(other), fresh(), later()];
  await symlink(layout, link);
  await ask(known, `oci:${link}`);
  assert.equal(await ask(known, `oci:${link}`), one.descriptor.digest);
  await rm(link);
  await assert.rejects(ask(known, `oci:${link}`), { code: "LAYOUT_INVALID" });
  await symlink(elsewhere, link);
  assert.equal(await ask(known, `oci:${link}`), `anew ${other.descriptor.digest}`);
});

test("an archive that was replaced is read again", async () => {
  const [layout, archive, known] = [await writeLayout(), `${fresh()}.tar`, later()];
  const write = async (image: typeof one) => {
    const out = pack();
    for (const [name, body] of layoutFiles([[undefined, image]])) out.entry({ name }, body);
    out.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of out) chunks.push(chunk as Buffer);
    await writeFile(`${layout}.new`, Buffer.concat(chunks));
    await rename(`${layout}.new`, archive);
  };
  await write(one);
  assert.equal(await ask(known, `oci-archive:${archive}`), `anew ${one.descriptor.digest}`);
  assert.equal(await ask(known, `oci-archive:${archive}`), one.descriptor.digest);
  await write(other);
  assert.equal(await ask(known, `oci-archive:${archive}`), `anew ${other.descriptor.digest}`);
});

test("what changed just now is not remembered", async () => {
  const [layout, known] = [await writeLayout(), new KnownManifests()];
  for (let n = 0; n < 2; n += 1) assert.match(await ask(known, `oci:${layout}`), /^anew/);
});

test("what was read behind a path that led elsewhere meanwhile is not remembered", async () => {
  const [layout, elsewhere, link, known] = [await writeLayout(), await writeLayout(other), fresh(), later()];
  const leadTo = async (target: string) => {
    await rm(link, { force: true });
    await symlink(target, link);
  };
  await leadTo(layout);
  assert.equal(await ask(known, `oci:${link}`, { looked: () => leadTo(elsewhere) }), `anew ${other.descriptor.digest}`);
  await leadTo(layout);
  assert.equal(await ask(known, `oci:${link}`), `anew ${one.descriptor.digest}`);
});

test("another tag and another platform are not what is known", async () => {
  const layout = fresh();
  await writeFiles(
    layout,
    layoutFiles([
      ["a", one],
      ["b", other],
    ]),
  );
  const known = later();
  await ask(known, `oci:${layout}:a`);
  assert.equal(await ask(known, `oci:${layout}:b`), `anew ${other.descriptor.digest}`);
  const platform = parsePlatform("linux/arm64");
  assert.equal(await ask(known, `oci:${layout}:a`, { platform }), `anew ${one.descriptor.digest}`);
  assert.equal(await ask(known, `oci:${layout}:a`), one.descriptor.digest);
});

test("a registry's reference and a relative path are never known", async () => {
  for (const text of ["docker.io/library/app:1", "oci:images"]) {
    const reference = parseReference(text);
    const look = await later().look(reference, amd64);
    assert.equal(look.known, undefined);
  }
});

test("a large manifest is not remembered, and of many the least recently used goes", async () => {
  const known = later();
  const annotations = { text: randomBytes(MAX_KNOWN_MANIFEST_BYTES).toString("hex") };
  const large = await writeLayout(buildImage([Buffer.alloc(512)], { manifest: { annotations } }));
  await ask(known, `oci:${large}`);
  assert.match(await ask(known, `oci:${large}`), /^anew/);
  const layout = fresh();
  const tags = Array.from({ length: MAX_KNOWN_MANIFESTS + 1 }, (_, index) => `t${index}`);
  await writeFiles(layout, layoutFiles(tags.map((tag) => [tag, one])));
  const askFor = (tag: string | undefined) => ask(known, `oci:${layout}:${tag}`);
  for (const tag of tags.slice(0, -1)) await askFor(tag);
  assert.equal(await askFor("t0"), one.descriptor.digest);
  await askFor(tags.at(-1));
  assert.equal(await askFor("t0"), one.descriptor.digest);
  assert.match(await askFor("t1"), /^anew/);
});
