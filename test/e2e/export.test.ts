/**
 * `export` and `import`: names of one store into an oci-archive, judged by skopeo and umoci, and from it into another store.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { cli, cliJson, type Daemon, serve } from "../support/daemon.js";
import { annotatedImage, noise, type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage, sha256, type TestImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { file as member, pax, symlink, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { differences, everythingBelow, readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const judges = [toolOrSkip("skopeo"), toolOrSkip("umoci")];
const noJudge = judges.map(({ skip }) => skip).find((skip) => skip !== false) ?? false;

const dir = (name: string, mode = 0o755): TarFile => ({ name, type: "directory", mode });
const LONG = `deep/${"x".repeat(120)}/${"y".repeat(200)}`;

const lower = await tarOf([
  dir("d/", 0o750),
  { name: "d/hidden", content: "hidden" },
  { name: "d/kept", content: "kept", mode: 0o4755 },
  dir("o/"),
  { name: "o/below", content: "hidden by an opaque whiteout" },
  { name: "target", content: "a file of the lower layer", mode: 0o755 },
]);
const upper = await tarOf([
  dir("d/", 0o700),
  { name: "d/.wh.hidden", content: "" },
  dir("o/"),
  { name: "o/.wh..wh..opq", content: "" },
  { name: "o/new", content: "new" },
  { name: "b", content: "one inode", mode: 0o600 },
  { name: "d/a", type: "link", linkname: "b" },
  { name: "l", type: "symlink", linkname: "d/../x" },
  dir("deep/"),
  dir(`deep/${"x".repeat(120)}/`),
  { name: LONG, content: "long", mtime: new Date("1999-12-31T23:59:59Z") },
]);
const odd = tar(pax({ path: "odd/\xff\n\\" }), member("x", "odd bytes"), symlink("odd/l", "\xfe/x"));
const shared = await tarOf([dir("shared/"), { name: "shared/f", content: noise(300_000) }]);
const config = {
  config: { Env: ["A=1"], Cmd: ["/shared/f"] },
  history: [{ created_by: "one" }, { created_by: "nothing", empty_layer: true }, { created_by: "two" }],
};

const own = (name: string): Promise<Buffer> => tarOf([{ name, content: name }]);
const packaged = annotatedImage(
  [await tarOf([{ name: "pkg-1/bin/tool", content: "tool", mode: 0o755 }])],
  [{ "sh.ocx.layer.strip-components": "1", "sh.ocx.layer.prefix": "opt/tool" }],
);
const { config: _config, ...packageManifest } = JSON.parse(packaged.bytes.toString());
const empty = Buffer.from("{}");
const packageBytes = Buffer.from(
  JSON.stringify({
    ...packageManifest,
    artifactType: "application/vnd.sh.ocx.package.v1",
    annotations: { "org.example.kept": "yes" },
    config: { mediaType: "application/vnd.oci.empty.v1+json", digest: sha256(empty), size: 2 },
  }),
);
const pkg: TestImage = {
  descriptor: { ...packaged.descriptor, digest: sha256(packageBytes), size: packageBytes.length },
  bytes: packageBytes,
  manifests: new Map(),
  blobs: new Map([...packaged.blobs, [sha256(empty), empty]]),
};
const installs: readonly (readonly [name: string, image: TestImage, params: object])[] = [
  ["merged", buildImage([lower, tar(), upper]), { overlap: "a" }],
  ["one", buildImage([shared, await own("one")], { config }), {}],
  ["two", buildImage([shared, await own("two")]), { link: "copy" }],
  ["odd", buildImage([odd]), { overlap: "b" }],
  ["pkg", pkg, {}],
];
const names = installs.map(([name]) => name);

suite("names of a store in an archive", () => {
  const scope = fileScope();
  let sandbox: Sandbox;
  let daemon: Daemon;
  let archive: string;
  let exported: Json;
  const roots = new Map<string, string>();

  before(async () => {
    sandbox = await Sandbox.create(scope);
    await writeLayout(sandbox.file("layout"), Object.fromEntries(installs.map(([name, image]) => [name, image])));
    daemon = await serve(sandbox);
    const wire = await Wire.connect(scope, daemon.socket);
    for (const [name, , params] of installs)
      roots.set(name, (await wire.ready(`oci:${sandbox.file("layout")}:${name}`, params)).root.path);
    archive = sandbox.file("files/tools.tar");
    exported = await cliJson(sandbox, ["export", ...names, "files/tools.tar"]);
  });

  const indexOf = async (path: string): Promise<Json> =>
    JSON.parse(await sandbox.must(["tar", "-xOf", path, "index.json"]));

  test("the answer and the index list each name, with its policy and its mode", async () => {
    assert.equal(exported.path, archive);
    assert.equal(exported.bytes, statSync(archive).size);
    assert.deepEqual(
      exported.images.map(({ name }: Json) => name),
      names,
    );
    const { manifests } = await indexOf(archive);
    assert.deepEqual(
      manifests.map(({ annotations, digest }: Json) => [
        annotations["org.opencontainers.image.ref.name"],
        annotations["dev.stratad.overlap"],
        annotations["dev.stratad.link"],
        digest,
      ]),
      exported.images.map(({ name, manifestDigest }: Json) => [
        name,
        { merged: "a", odd: "b" }[name as string] ?? "c",
        name === "two" ? "copy" : "hardlink",
        manifestDigest,
      ]),
    );
  });

  test("a layer that two images have is there once, and the archive is what tar lists without a word", async () => {
    const [one, two] = [exported.images[1], exported.images[2]];
    assert.equal(one.layers[0].digest, two.layers[0].digest);
    const listed = (await sandbox.must(["tar", "-tf", archive])).trim().split("\n");
    assert.equal(new Set(listed).size, listed.length);
    assert.equal(listed.filter((name) => name.endsWith(one.layers[0].digest.slice(7))).length, 1);
  });

  test("a config keeps what its image says, a package its type, its annotations and the places of its layers", async () => {
    const { manifests } = await indexOf(archive);
    const read = async (digest: string): Promise<Json> =>
      JSON.parse(await sandbox.must(["tar", "-xOf", archive, `blobs/${digest.replace(":", "/")}`]));
    const one = await read(manifests[1].digest);
    const ownConfig = await read(one.config.digest);
    assert.deepEqual(ownConfig.config, config.config);
    assert.deepEqual(ownConfig.history, config.history);
    assert.deepEqual(
      ownConfig.rootfs.diff_ids,
      exported.images[1].layers.map(({ diffId }: Json) => diffId),
    );
    const ofPackage = await read(manifests[4].digest);
    assert.equal(ofPackage.artifactType, "application/vnd.sh.ocx.package.v1");
    assert.deepEqual(ofPackage.annotations, { "org.example.kept": "yes" });
    assert.deepEqual(ofPackage.layers[0].annotations, packageManifest.layers[0].annotations);
    assert.deepEqual(await read(ofPackage.config.digest), {});
  });

  test("skopeo copies each image, and umoci unpacks it to the root's tree", { skip: noJudge }, async () => {
    for (const name of ["merged", "one", "odd"]) {
      const inspected = await sandbox.must(["skopeo", "inspect", `oci-archive:${archive}:${name}`]);
      assert.equal(JSON.parse(inspected).Digest, exported.images[names.indexOf(name)].manifestDigest);
      await sandbox.must(["skopeo", "copy", "--quiet", `oci-archive:${archive}:${name}`, `oci:judged:${name}`]);
      const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];
      await sandbox.must(["umoci", "raw", "unpack", ...rootless, "--image", `judged:${name}`, `out-${name}`]);
      const [ours, theirs] = [readTree(roots.get(name) ?? ""), readTree(sandbox.file(`out-${name}`))];
      // A directory that no entry declares has no time.
      const implied = (path: string): boolean => name === "odd" && path === "odd";
      const entries = new Map([...theirs.entries].filter(([path]) => !implied(path)));
      const kept = new Map([...ours.entries].filter(([path]) => !implied(path)));
      assert.deepEqual(differences({ ...ours, entries: kept }, { ...theirs, entries }), [], name);
    }
  });

  test("skopeo copies layers of zstd too, and makes gzip of them, which umoci unpacks", { skip: noJudge }, async () => {
    await sandbox.must([...sandbox.stratad, "export", "one", "zstd.tar", "--codec", "zstd"]);
    const copy = (...args: string[]) =>
      sandbox.must(["skopeo", "copy", "--quiet", "oci-archive:zstd.tar:one", ...args]);
    const typesOf = async (reference: string): Promise<string[]> =>
      JSON.parse(await sandbox.must(["skopeo", "inspect", "--raw", reference])).layers.map(
        ({ mediaType }: Json) => mediaType.split("+")[1],
      );
    await copy("oci:judged:zstd");
    assert.deepEqual(await typesOf("oci:judged:zstd"), ["zstd", "zstd"]);
    // umoci reads no zstd.
    await copy("--dest-compress-format", "gzip", "oci:recoded:zstd");
    assert.deepEqual(await typesOf("oci:recoded:zstd"), ["gzip", "gzip"]);
    const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];
    await sandbox.must(["umoci", "raw", "unpack", ...rootless, "--image", "recoded:zstd", "out-zstd"]);
    assert.deepEqual(differences(readTree(roots.get("one") ?? ""), readTree(sandbox.file("out-zstd"))), []);
  });

  test("another store imports all of it, and exports the same bytes again", async (t) => {
    const other = await Sandbox.create(t);
    const { jobs } = (await cliJson(other, ["import", archive])) as Json;
    assert.deepEqual(
      jobs.map(({ state, name, overlap, link }: Json) => [state, name.name, overlap, link]),
      names.map((name) => [
        "ready",
        name,
        { merged: "a", odd: "b" }[name] ?? "c",
        name === "two" ? "copy" : "hardlink",
      ]),
    );
    for (const { name, root } of jobs)
      assert.deepEqual(differences(readTree(root.path), readTree(roots.get(name.name) ?? "")), [], name.name);
    await other.must([...other.stratad, "export", ...names, "again.tar"]);
    assert.ok(readFileSync(other.file("again.tar")).equals(readFileSync(archive)));
    for (const codec of ["none", "zstd"]) {
      await other.must([...other.stratad, "export", "one", `${codec}.tar`, "--codec", codec]);
      const ended = await cli(other, ["import", `${codec}.tar`, "-q"]);
      assert.deepEqual([ended.exitCode, ended.stdout, ended.stderr], [0, `${join(other.stateDir, "names/one")}\n`, ""]);
    }
  });

  const codeOf = async (...args: string[]): Promise<unknown> => {
    const answer = (await cli(sandbox, ["export", ...args, "--json"])).stdout;
    return JSON.parse(answer).error?.code;
  };

  test("a file that is there stays, unless it is to be replaced; a failure leaves nothing", async () => {
    const place = sandbox.file("files/place");
    mkdirSync(place);
    const target = join(place, "there.tar");
    writeFileSync(target, "there");
    assert.equal(await codeOf("one", target), "INVALID_PARAMS");
    assert.equal(await codeOf("nobody", join(place, "new.tar")), "UNKNOWN_NAME");
    assert.equal(await codeOf("one", join(place, "no/new.tar")), "INVALID_PARAMS");
    assert.equal(await codeOf("one", place, "--force"), "INVALID_PARAMS");
    const refused = await cli(sandbox, ["export", "one", target, "--events", "ndjson"]);
    assert.match(refused.stderr, /^error: Cannot export to .*: there is something already \[INVALID_PARAMS\]\nhint: /);
    assert.doesNotMatch(refused.stdout, /progress/, "it was packed for nothing");
    assert.equal(readFileSync(target, "utf8"), "there");
    assert.deepEqual(readdirSync(place), ["there.tar"]);
    assert.equal(await codeOf("one", target, "--force"), undefined);
    assert.ok(statSync(target).size > 5);
    assert.deepEqual(readdirSync(place), ["there.tar"]);
    assert.deepEqual(readdirSync(sandbox.file("files")).sort(), ["place", "tools.tar"]);
  });

  for (const [path, fact] of [
    ["one.tar", "the path is not absolute"],
    ["/nowhere/one.tar", "its directory does not exist"],
    ["/proc/one.tar", "ENOENT"],
    [`/tmp/${"x".repeat(300)}.tar`, "ENAMETOOLONG"],
  ] as const)
    test(`a place that cannot be is told with its path: ${fact}`, async () => {
      const wire = await Wire.connect(scope, daemon.socket);
      const { data } = await wire.refused("store/export", { names: ["one"], path });
      assert.deepEqual([data.code, data.message], ["INVALID_PARAMS", `Cannot write to ${path}: ${fact}`]);
    });

  test("progress begins, never falls and ends; a request that is cancelled leaves nothing", async () => {
    const wire = await Wire.connect(scope, daemon.socket);
    const path = sandbox.file("files/progress.tar");
    await wire.request("store/export", { names, path, workDoneToken: "t", force: true });
    const cancelled = wire.refused("store/export", { names, path: sandbox.file("files/cancelled.tar") });
    wire.notify("$/cancelRequest", { id: wire.lastId });
    assert.equal((await cancelled).data.code, "REQUEST_CANCELLED");
    const values = wire.notifications.filter(({ params }) => params.token === "t").map(({ params }) => params.value);
    const kinds = values.map(({ kind }) => kind).filter((kind) => kind !== "report");
    assert.deepEqual(kinds, ["begin", "end"]);
    const percentages = values.flatMap(({ percentage }) => percentage ?? []);
    assert.deepEqual(
      percentages,
      percentages.toSorted((a, b) => a - b),
    );
    assert.ok(!existsSync(sandbox.file("files/cancelled.tar")));
    assert.ok(!readdirSync(sandbox.file("files")).some((name) => name.startsWith(".stratad-")));
    assert.deepEqual(readdirSync(join(sandbox.stateDir, "staging")), []);
  });

  test("nothing is exported into the store itself, also where the place is one that is asked to be replaced", async () => {
    const before = everythingBelow(sandbox.stateDir);
    const root = readlinkSync(join(sandbox.stateDir, "names/one"));
    for (const place of ["version", "one.tar", join("names", root, "one.tar")]) {
      assert.equal(await codeOf("one", join(sandbox.stateDir, place), "--force"), "INVALID_PARAMS");
    }
    assert.deepEqual(everythingBelow(sandbox.stateDir), before);
  });

  test("a layer that was changed behind the store is not exported", async (t) => {
    const other = await Sandbox.create(t);
    await cliJson(other, ["import", archive]);
    const [layer] = exported.images[1].layers;
    const tree = join(other.stateDir, "layers", layer.diffId.replace(":", "/"), "tree");
    await other.must(["sh", "-c", 'chmod u+w "$1" && printf x >> "$1"', "sh", join(tree, "shared/f")]);
    const answer = (await cliJson(other, ["export", "one", "x.tar"], { exitCode: 74 })) as Json;
    assert.equal(answer.error.code, "STORE_CORRUPT");
    assert.ok(!existsSync(other.file("x.tar")));
  });

  test("a daemon with import directories writes there and nowhere else, and reads archives there and nowhere else", async (t) => {
    const other = await Sandbox.create(t);
    const allowed = other.file("files");
    await serve(other, { env: { STRATAD_IMPORT_DIRS: allowed } });
    const refused = async (...args: string[]): Promise<unknown> =>
      ((await cliJson(other, args, { exitCode: 77 })) as Json).error.code;
    assert.equal(await refused("import", archive), "IMPORT_DENIED");
    await other.must(["cp", archive, join(allowed, "tools.tar")]);
    await cliJson(other, ["import", "files/tools.tar"]);
    assert.equal(await refused("export", "one", "out.tar"), "IMPORT_DENIED");
    await other.must(["ln", "-s", other.file("home"), join(allowed, "out")]);
    assert.equal(await refused("export", "one", "files/out/out.tar"), "IMPORT_DENIED");
    await cliJson(other, ["export", "one", "files/out.tar"]);
  });
});
