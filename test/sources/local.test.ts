import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readlinkSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { pack, type Header as TarHeader } from "tar-stream";
import type { StrataError } from "../../src/errors.js";
import { MAX_FILES_LOOKED_AT } from "../../src/limits.js";
import { parsePlatform } from "../../src/oci/platform.js";
import { parseReference } from "../../src/oci/reference.js";
import { archiveFiles } from "../../src/sources/archive.js";
import { directoryFiles } from "../../src/sources/directory.js";
import { openSource } from "../../src/sources/open.js";
import { noCredentials } from "../../src/sources/registry/credentials.js";
import { userRegistries } from "../../src/sources/registry/user-registries.js";
import { type ResolvedImage, resolveImage } from "../../src/sources/resolve.js";
import { blobName, layoutFiles, writeFiles } from "../support/images.js";
import { buildImage, buildIndex, json, sha256 } from "../support/registry.js";
import { base256, directory, file, GNU_MAGIC, gnuLong, header, pax, tar } from "../support/tar-builder.js";

const base = await mkdtemp(join(tmpdir(), "strata-local-"));
after(() => rm(base, { recursive: true }));
let serial = 0;
const fresh = () => join(base, `case-${++serial}`);

const registry = { ...userRegistries([], "test"), credentials: noCredentials };
const { signal } = new AbortController();
const amd64 = parsePlatform("linux/amd64");
const tars = [Buffer.alloc(1024), Buffer.alloc(2048)];
const image = buildImage(tars);
const arm = buildImage([Buffer.alloc(512)], { platform: { os: "linux", architecture: "arm64" } });

type Member = Partial<TarHeader> & { readonly name: string; readonly body?: Buffer };

async function writeTar(path: string, members: readonly Member[]): Promise<string> {
  const out = pack();
  for (const { body, ...header } of members) out.entry(header, body ?? Buffer.alloc(0));
  out.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of out) chunks.push(chunk as Buffer);
  await writeFile(path, Buffer.concat(chunks));
  return path;
}

async function writeLayout(files: ReadonlyMap<string, Buffer>): Promise<string> {
  const directory = fresh();
  await writeFiles(directory, files);
  return directory;
}

const writeLayoutArchive = (files: ReadonlyMap<string, Buffer>) =>
  writeTar(
    `${fresh()}.tar`,
    [...files].reverse().map(([name, body]) => ({ name: `./${name}`, body })),
  );

async function resolveText(
  text: string,
  importDirs: readonly string[] | "anywhere" = "anywhere",
): Promise<ResolvedImage> {
  const source = await openSource(parseReference(text), { importDirs, registry });
  try {
    return await resolveImage(source, { platform: amd64, signal });
  } finally {
    await source.close();
  }
}

/** The bytes of each layer, as a worker would read them. */
async function readLayers(text: string): Promise<Buffer[]> {
  const source = await openSource(parseReference(text), { importDirs: "anywhere", registry });
  const { layers } = await resolveImage(source, { platform: amd64, signal });
  const bodies: Buffer[] = [];
  for (const { descriptor } of layers) {
    const { path, offset, length, done } = await source.blob(descriptor, "/unused", signal);
    await done;
    bodies.push((await readFile(path)).subarray(offset, offset + length));
  }
  await source.close();
  return bodies;
}

for (const [form, write] of [
  ["oci", writeLayout],
  ["oci-archive", writeLayoutArchive],
] as const) {
  test(`${form}: the only image is found without a tag, and its layers are the bytes that were put in`, async () => {
    const path = await write(layoutFiles([[undefined, image]]));
    const resolved = await resolveText(`${form}:${path}`);
    assert.equal(resolved.manifestDescriptor.digest, image.descriptor.digest);
    assert.deepEqual(
      resolved.layers.map(({ diffId }) => diffId as string),
      tars.map(sha256),
    );
    const bodies = await readLayers(`${form}:${path}`);
    assert.deepEqual(
      bodies.map(sha256),
      resolved.layers.map(({ descriptor }) => descriptor.digest as string),
    );
  });

  test(`${form}: a tag leads through an index in an index to the platform`, async () => {
    const nested = buildIndex([buildIndex([arm, image])]);
    const path = await write(layoutFiles([["v1", nested]]));
    assert.equal((await resolveText(`${form}:${path}:v1`)).manifestDescriptor.digest, image.descriptor.digest);
  });

  test(`${form}: a missing tag is MANIFEST_UNKNOWN and lists what there is`, async () => {
    const path = await write(
      layoutFiles([
        ["v1", image],
        ["v2", arm],
      ]),
    );
    await assert.rejects(resolveText(`${form}:${path}:v3`), { code: "MANIFEST_UNKNOWN", message: /v1, v2/ });
    await assert.rejects(resolveText(`${form}:${path}`), { code: "MANIFEST_UNKNOWN", message: /2 images/ });
  });

  test(`${form}: a tag with two digests is LAYOUT_INVALID`, async () => {
    const path = await write(
      layoutFiles([
        ["v1", image],
        ["v1", arm],
      ]),
    );
    await assert.rejects(resolveText(`${form}:${path}:v1`), { code: "LAYOUT_INVALID" });
  });

  const broken: readonly (readonly [string, string, (files: Map<string, Buffer>) => unknown])[] = [
    ["without oci-layout", "LAYOUT_INVALID", (files) => files.delete("oci-layout")],
    ["of version 2", "LAYOUT_INVALID", (files) => files.set("oci-layout", json({ imageLayoutVersion: "2.0.0" }))],
    ["without index.json", "LAYOUT_INVALID", (files) => files.delete("index.json")],
    ["whose manifest is missing", "BLOB_UNKNOWN", (files) => files.delete(blobName(image.descriptor.digest))],
    [
      "whose manifest is longer",
      "SIZE_MISMATCH",
      (files) => files.set(blobName(image.descriptor.digest), Buffer.alloc(9999)),
    ],
    [
      "whose manifest is longer than any may be",
      "SIZE_MISMATCH",
      (files) => files.set(blobName(image.descriptor.digest), Buffer.alloc(5 << 20)),
    ],
    [
      "whose manifest is another",
      "DIGEST_MISMATCH",
      (files) => files.set(blobName(image.descriptor.digest), Buffer.alloc(image.bytes.length)),
    ],
  ];
  for (const [what, code, change] of broken) {
    test(`${form}: a layout ${what} is ${code}`, async () => {
      const files = layoutFiles([["v1", image]]);
      change(files);
      await assert.rejects(resolveText(`${form}:${await write(files)}:v1`), { code });
    });
  }
}

test("oci: a digest names a manifest below an index", async () => {
  const path = await writeLayout(layoutFiles([["v1", buildIndex([arm, image])]]));
  const resolved = await resolveText(`oci:${path}@${image.descriptor.digest}`);
  assert.equal(resolved.manifestDescriptor.digest, image.descriptor.digest);
});

test("oci: a digest that the layout does not hold, and a layout of no image, are MANIFEST_UNKNOWN", async () => {
  const path = await writeLayout(layoutFiles([["v1", image]]));
  await assert.rejects(resolveText(`oci:${path}@${arm.descriptor.digest}`), { code: "MANIFEST_UNKNOWN" });
  await assert.rejects(resolveText(`oci:${await writeLayout(layoutFiles([]))}`), { code: "MANIFEST_UNKNOWN" });
});

test("oci: a manifest that its descriptor calls too big is not even looked for", async () => {
  const files = layoutFiles([["v1", image]]);
  const index = JSON.parse(String(files.get("index.json")));
  for (const descriptor of index.manifests) descriptor.size = 2 ** 23;
  const path = await writeLayout(files.set("index.json", json(index)) as Map<string, Buffer>);
  await assert.rejects(resolveText(`oci:${path}:v1`), { code: "MANIFEST_TOO_BIG" });
});

test("oci: a blob that is a symlink, a FIFO or a directory is LAYOUT_INVALID at once", { timeout: 5000 }, async () => {
  for (const replace of [
    (file: string) => symlink("/etc/passwd", file),
    async (file: string) => void execFileSync("mkfifo", [file]),
    (file: string) => mkdir(file),
  ]) {
    const path = await writeLayout(layoutFiles([["v1", image]]));
    await rm(join(path, blobName(image.descriptor.digest)));
    await replace(join(path, blobName(image.descriptor.digest)));
    await assert.rejects(resolveText(`oci:${path}:v1`), { code: "LAYOUT_INVALID" });
  }
});

test("oci: a blobs directory that leads out is LAYOUT_INVALID", async () => {
  const path = await writeLayout(layoutFiles([["v1", image]]));
  await rename(join(path, "blobs"), `${path}-elsewhere`);
  await symlink(`${path}-elsewhere`, join(path, "blobs"));
  await assert.rejects(resolveText(`oci:${path}:v1`), { code: "LAYOUT_INVALID" });
});

test("a local path outside the import directories is denied, whether it exists, or leads out by a symlink, or not", async () => {
  const allowed = fresh();
  await mkdir(allowed);
  const outside = await writeLayout(layoutFiles([["v1", image]]));
  await symlink(outside, join(allowed, "link"));
  for (const path of [outside, join(allowed, "link"), join(base, "absent"), `${allowed}-sibling`]) {
    await assert.rejects(resolveText(`oci:${path}:v1`, [allowed]), { code: "IMPORT_DENIED" });
  }
  await assert.rejects(resolveText(`oci:${join(allowed, "absent")}`, [allowed]), { code: "LAYOUT_INVALID" });
  await resolveText(`oci:${outside}:v1`, [base]);
});

test("indexes that nest too deep are INDEX_DEPTH", async () => {
  let tower = image;
  for (let level = 0; level < 5; level += 1) tower = buildIndex([tower]);
  const path = await writeLayout(layoutFiles([["v1", tower]]));
  await assert.rejects(resolveText(`oci:${path}:v1`), { code: "INDEX_DEPTH" });
});

test("a manifest of another platform is NO_PLATFORM when one was asked for, and a note when none was", async () => {
  const path = await writeLayout(
    layoutFiles([["v1", buildImage(tars, { platform: { os: "plan9", architecture: "mips" } })]]),
  );
  await assert.rejects(resolveText(`oci:${path}:v1`), { code: "NO_PLATFORM", message: /plan9\/mips/ });
  const source = await openSource(parseReference(`oci:${path}:v1`), { importDirs: "anywhere", registry });
  const resolved = await resolveImage(source, { signal });
  assert.match(resolved.platformNote ?? "", /plan9\/mips/);
  await source.close();
});

const config = json({ os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: tars.map(sha256) } });
const entry = {
  Config: "config.json",
  RepoTags: ["app:v1", "docker.io/user/b:latest"],
  Layers: ["1/layer.tar", "2/layer.tar"],
};
const dockerMembers = (): Member[] => [
  { name: "1/layer.tar", body: tars[0] as Buffer },
  { name: "2/layer.tar", body: tars[1] as Buffer },
  { name: "config.json", body: config },
  { name: "manifest.json", body: json([entry]) },
];
const writeDocker = (members: readonly Member[]) => writeTar(`${fresh()}.tar`, members);

test("docker-archive: layers stand in the archive, digests are diffIDs, the manifest is always the same", async () => {
  const path = await writeDocker(dockerMembers());
  const resolved = await resolveText(`docker-archive:${path}`);
  const again = await resolveText(`docker-archive:${await writeDocker(dockerMembers().reverse())}:app:v1`);
  assert.equal(resolved.manifestDescriptor.digest, again.manifestDescriptor.digest);
  assert.deepEqual(
    resolved.layers.map(({ descriptor, diffId }) => [descriptor.digest, diffId] as string[]),
    tars.map((tar) => [sha256(tar), sha256(tar)]),
  );
  assert.deepEqual(await readLayers(`docker-archive:${path}:user/b`), tars);
  await assert.rejects(resolveText(`docker-archive:${path}:app`), { code: "MANIFEST_UNKNOWN", message: /app:v1/ });
});

test("docker-archive: a layer that is a link to another member is that member", async () => {
  const [first, , ...rest] = dockerMembers();
  const same = json({
    ...JSON.parse(config.toString()),
    rootfs: { type: "layers", diff_ids: [tars[0], tars[0]].map((t) => sha256(t as Buffer)) },
  });
  for (const link of [
    { type: "symlink", linkname: "../1/layer.tar" },
    { type: "link", linkname: "1/layer.tar" },
  ] as const) {
    const members = [first as Member, { name: "2/layer.tar", ...link }, ...rest];
    const withSame = members.map((member) => (member.name === "config.json" ? { ...member, body: same } : member));
    assert.deepEqual(await readLayers(`docker-archive:${await writeDocker(withSame)}`), [tars[0], tars[0]]);
  }
});

test("docker-archive: a compressed layer says so, and no digest is known of the bytes of any", async () => {
  const members = dockerMembers().map((m) =>
    m.name === "1/layer.tar" ? { ...m, body: gzipSync(m.body as Buffer) } : m,
  );
  const path = await writeDocker(members);
  const source = await openSource(parseReference(`docker-archive:${path}`), { importDirs: "anywhere", registry });
  const { layers } = await resolveImage(source, { platform: amd64, signal });
  const blobs = await Promise.all(layers.map(({ descriptor }) => source.blob(descriptor, "/unused", signal)));
  assert.match(layers[0]?.descriptor.mediaType ?? "", /gzip$/);
  assert.deepEqual(
    blobs.map(({ digestIsOfBytes }) => digestIsOfBytes),
    [false, false],
  );
  await source.close();
});

const layersOf = (...Layers: string[]) => json([{ ...entry, Layers }]);
const brokenArchives: readonly (readonly [string, string, (members: Member[]) => Member[]])[] = [
  ["without manifest.json", "ARCHIVE_LAYOUT", (members) => members.slice(0, 3)],
  [
    "whose manifest.json is no list",
    "ARCHIVE_LAYOUT",
    (members) => [...members.slice(0, 3), { name: "manifest.json", body: json({}) }],
  ],
  [
    "with a layer too many",
    "LAYER_COUNT",
    (members) => [...members.slice(0, 3), { name: "manifest.json", body: layersOf("a", "b", "c") }],
  ],
  [
    "whose layer is ../../etc/shadow",
    "ARCHIVE_LAYOUT",
    (members) => [...members.slice(0, 3), { name: "manifest.json", body: layersOf("../../etc/shadow", "2/layer.tar") }],
  ],
  [
    "whose layer is a symlink out",
    "ARCHIVE_LAYOUT",
    (members) => [{ name: "1/layer.tar", type: "symlink", linkname: "../../etc/shadow" }, ...members.slice(1)],
  ],
  [
    "whose layer is an absolute symlink",
    "ARCHIVE_LAYOUT",
    (members) => [{ name: "1/layer.tar", type: "symlink", linkname: "/etc/shadow" }, ...members.slice(1)],
  ],
  [
    "whose layer is a link to itself",
    "ARCHIVE_LAYOUT",
    (members) => [{ name: "1/layer.tar", type: "symlink", linkname: "layer.tar" }, ...members.slice(1)],
  ],
  [
    "whose layer is a FIFO",
    "ARCHIVE_LAYOUT",
    (members) => [{ name: "1/layer.tar", type: "fifo" }, ...members.slice(1)],
  ],
  ["with a member twice", "ARCHIVE_LAYOUT", (members) => [...members, members[0] as Member]],
  [
    "with too many members",
    "ARCHIVE_LAYOUT",
    (members) => [...members, ...Array.from({ length: 10_000 }, (_, i) => ({ name: `x${i}` }))],
  ],
];
for (const [what, code, change] of brokenArchives) {
  test(`docker-archive: an archive ${what} is ${code}`, async () => {
    const path = await writeDocker(change(dockerMembers()));
    await assert.rejects(resolveText(`docker-archive:${path}`), { code });
  });
}

test("an archive that is compressed, cut, no tar, a directory or a FIFO is ARCHIVE_LAYOUT", {
  timeout: 5000,
}, async () => {
  const path = await writeDocker(dockerMembers());
  const whole = await readFile(path);
  await writeFile(`${path}.gz`, gzipSync(whole));
  await assert.rejects(resolveText(`docker-archive:${path}.gz`), {
    code: "ARCHIVE_LAYOUT",
    options: {
      hint: "Decompress the archive first; its layers may be compressed.",
      details: { archive: `${path}.gz` },
    },
  });
  for (const length of [1, 511, 513, 1500]) {
    await writeFile(`${path}.cut`, whole);
    await truncate(`${path}.cut`, length);
    await assert.rejects(resolveText(`docker-archive:${path}.cut`), { code: "ARCHIVE_LAYOUT" });
  }
  for (const text of ["x", "x".repeat(2000), "0".repeat(2000)]) {
    await writeFile(`${path}.text`, text);
    await assert.rejects(resolveText(`docker-archive:${path}.text`), ({ code, options }: StrataError) => {
      assert.deepEqual([code, options.hint], ["ARCHIVE_LAYOUT", "It is not a tar archive, or it is damaged."]);
      return true;
    });
  }
  execFileSync("mkfifo", [`${path}.fifo`]);
  for (const other of [`${path}.fifo`, base]) {
    await assert.rejects(resolveText(`docker-archive:${other}`), { code: "ARCHIVE_LAYOUT" });
  }
});

test("a document of 9 GiB is refused before memory is asked for, and the archive is closed", async () => {
  const path = `${fresh()}.tar`;
  const bytes = 9 * 1024 ** 3;
  await writeFile(path, header({ name: "manifest.json", size: base256(BigInt(bytes)), magic: GNU_MAGIC }));
  await truncate(path, 512 + bytes);
  await assert.rejects(resolveText(`docker-archive:${path}`), { code: "MANIFEST_TOO_BIG" });
  await writeFile(path, "x".repeat(2000));
  const open = readdirSync("/proc/self/fd").length;
  await assert.rejects(resolveText(`docker-archive:${path}`), { code: "ARCHIVE_LAYOUT" });
  assert.equal(readdirSync("/proc/self/fd").length, open);
});

const listing = file("manifest.json", json([entry]));
const members = Buffer.concat([
  file("1/layer.tar", tars[0]),
  file("2/layer.tar", tars[1]),
  file("config.json", config),
]);
for (const [what, extension, code] of [
  ["a comment for all members", pax({ comment: "c" }, { type: "g" }), undefined],
  ["a path for all members", pax({ path: "x" }, { type: "g" }), "ARCHIVE_LAYOUT"],
  [
    "two extended headers for one member",
    Buffer.concat([pax({ comment: "a" }), pax({ comment: "b" })]),
    "ARCHIVE_LAYOUT",
  ],
  [
    "two long names for one member",
    Buffer.concat([gnuLong("L", "x"), gnuLong("L", "manifest.json")]),
    "ARCHIVE_LAYOUT",
  ],
] as const) {
  test(`docker-archive: an archive with ${what} is ${code ?? "read"}`, async () => {
    const path = `${fresh()}.tar`;
    await writeFile(path, tar(members, extension, listing));
    if (code === undefined) await resolveText(`docker-archive:${path}`);
    else await assert.rejects(resolveText(`docker-archive:${path}`), { code });
  });
}

for (const [what, last] of [
  ["a member that goes beyond it", header({ name: "x", size: 4096 })],
  ["an extended header without a member", pax({ comment: "c" })],
  ["an extended header that is cut", pax({ comment: "c" }).subarray(0, 600)],
  ["an extended header of 2 MiB", Buffer.concat([pax({ comment: "c".repeat(2 << 20) }), file("x")])],
  ["a directory with a body", directory("d", { size: 512 })],
] as const) {
  test(`docker-archive: an archive that ends in ${what} is ARCHIVE_LAYOUT`, async () => {
    const path = `${fresh()}.tar`;
    await writeFile(
      path,
      Buffer.concat([members, listing, last, ...(what.endsWith("body") ? [Buffer.alloc(512)] : [])]),
    );
    await assert.rejects(resolveText(`docker-archive:${path}`), { code: "ARCHIVE_LAYOUT" });
  });
}

test("an archive that became a symlink, or went, since its path was resolved is ARCHIVE_LAYOUT", async () => {
  const link = fresh();
  await symlink(await writeDocker(dockerMembers()), link);
  for (const path of [link, fresh()]) await assert.rejects(archiveFiles(path, path), { code: "ARCHIVE_LAYOUT" });
});

test("long names, PAX headers and sizes in base-256 are found where GNU tar wrote them", async () => {
  const directory = fresh();
  const long = `${"d".repeat(120)}/${"f".repeat(120)}`;
  await mkdir(join(directory, "d".repeat(120)), { recursive: true });
  await writeFile(join(directory, long), tars[0] as Buffer);
  await writeFile(join(directory, "é.tar"), tars[1] as Buffer);
  await writeFile(join(directory, "config.json"), config);
  await writeFile(join(directory, "manifest.json"), layersOf(long, "é.tar"));
  for (const format of ["gnu", "pax"]) {
    execFileSync("tar", [`--format=${format}`, "-cf", `${directory}.tar`, "-C", directory, "."]);
    assert.deepEqual(await readLayers(`docker-archive:${directory}.tar`), tars);
  }
});

test("a body is skipped, not read: an archive of 8 GiB of nothing is indexed at once", { timeout: 5000 }, async () => {
  const path = await writeDocker(dockerMembers());
  const directory = fresh();
  await mkdir(directory);
  const huge = 9 * 1024 ** 3;
  const header = Buffer.alloc(512);
  header.write("huge");
  header.write("0000644\0", 100);
  header.writeUInt8(0x80, 124);
  header.writeUIntBE(huge, 130, 6);
  header.write("00000000000\0", 136);
  header.write("0", 156);
  header.write("ustar\x0000", 257);
  header.write("        ", 148);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const file = join(directory, "huge.tar");
  await writeFile(file, header);
  await truncate(file, 512 + huge);
  await writeFile(file, await readFile(path), { flag: "a" });
  assert.deepEqual((await resolveText(`docker-archive:${file}`)).layers.length, 2);
});

test("however many blobs of a layout are located, few are open at once", async () => {
  const directory = fresh();
  await mkdir(directory);
  const names = Array.from({ length: 10 * MAX_FILES_LOOKED_AT }, (_, index) => `blob-${index}`);
  for (const name of names) await writeFile(join(directory, name), name);
  const { locate } = directoryFiles(directory, directory);
  const located = Promise.all(names.map((name) => locate(name)));
  let isOver = false;
  void located.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    assert.ok(openFilesBelow(directory) <= MAX_FILES_LOOKED_AT);
    await nextTurn();
  }
  assert.deepEqual(
    (await located).map((place) => place?.length),
    names.map((name) => name.length),
  );
});

function openFilesBelow(directory: string): number {
  const targets = readdirSync("/proc/self/fd").map((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`);
    } catch {
      return ""; // closed meanwhile
    }
  });
  return targets.filter((target) => target.startsWith(`${directory}/`)).length;
}
