/**
 * `stratad repack` end to end: images with all that images may hold, repacked under each policy, installed by a daemon and unpacked by umoci
 * to the trees that the inputs have; the layouts judged by skopeo; and what a failure leaves, which is nothing.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { cli, cliJson, type Daemon, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { startDebianRegistry } from "../support/debian-registry.js";
import { smallTmpfs } from "../support/file-systems.js";
import { blobName, noise, type TarFile, tarOf, writeFiles, writeLayout } from "../support/images.js";
import { buildImage, buildIndex, json, sha256, stall, startRegistry, type TestImage } from "../support/registry.js";
import { collect, fileScope, Sandbox } from "../support/sandbox.js";
import { file as member, pax, symlink, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { differences, everythingBelow, readTree, type TreeFacts } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const judges = [toolOrSkip("skopeo"), toolOrSkip("umoci")];
const buildah = toolOrSkip("buildah");
const noJudge = judges.map(({ skip }) => skip).find((skip) => skip !== false) ?? false;

const dir = (name: string, mode = 0o755): TarFile => ({ name, type: "directory", mode });
const base = await tarOf([
  dir("usr/"),
  dir("usr/lib/", 0o750),
  { name: "usr/lib/large", content: noise(200_000) },
  { name: "usr/lib/hidden", content: "hidden by a whiteout" },
  { name: "usr/lib/setuid", content: "setuid is dropped", mode: 0o4755 },
  dir("usr/share/"),
  { name: "usr/share/below", content: "hidden by an opaque whiteout" },
  { name: "usr/late", content: "later than the others", mtime: new Date("2030-01-01T00:00:00Z") },
  { name: "lib", type: "symlink", linkname: "usr/lib" },
  dir("empty/", 0o700),
  { name: "hollow/below/gone", content: "all that declares its directories" },
]);
const upper = (name: string): Promise<Buffer> =>
  tarOf([
    dir("usr/"),
    dir("usr/lib/", 0o755),
    { name: "usr/lib/.wh.hidden", content: "" },
    { name: "hollow/below/.wh.gone", content: "" },
    dir("usr/share/"),
    { name: "usr/share/.wh..wh..opq", content: "" },
    { name: "usr/share/new", content: `new in ${name}` },
    // Through the lower layer's symlink.
    { name: "lib/own", content: name, mode: 0o755 },
    { name: "b", content: `one inode of ${name}`, mode: 0o600 },
    { name: "usr/a", type: "link", linkname: "b" },
    // Of a file in the lower layer.
    { name: "usr/linked", type: "link", linkname: "usr/lib/setuid" },
    { name: "zero", content: "" },
    { name: `deep/${"x".repeat(120)}/${"y".repeat(200)}`, content: "long" },
  ]);
const odd = tar(pax({ path: "odd/\xff\n\\" }), member("x", "odd bytes"), symlink("odd/l", "\xfe/x"));
const config = {
  config: { Env: ["A=1"], Cmd: ["/usr/a"], Labels: { kept: "yes" } },
  created: "2026-01-01T00:00:00Z",
  history: [{ created_by: "base" }, { created_by: "nothing", empty_layer: true }, { created_by: "upper" }],
};
const images: Readonly<Record<string, TestImage>> = {
  one: buildImage([base, await upper("one"), odd], {
    config,
    manifest: { annotations: { "org.example.kept": "yes" } },
  }),
  two: buildImage([base, await upper("two")], { config }),
  three: buildImage([odd, base, await upper("three")]),
  nothing: buildImage([tar()]),
};
const names = Object.keys(images);
const places = (layout: string, tags: readonly string[] = names): string[] =>
  tags.map((tag) => `oci:${layout}:${tag}=${tag}`);

const facts = (tree: TreeFacts, without: ReadonlySet<string> = new Set()): TreeFacts => ({
  writable: [],
  entries: new Map([...tree.entries].filter(([path]) => !without.has(path))),
});
/** umoci gives a directory that no layer declares the time of its making. */
const implied = new Set(["odd", "hollow", "hollow/below", "deep", `deep/${"x".repeat(120)}`]);

suite("repacked images", () => {
  const scope = fileScope();
  let sandbox: Sandbox;
  let daemon: Daemon;
  let wire: Wire;
  const trees = new Map<string, TreeFacts>();
  const layout = (name: string): string => sandbox.file("files", name);
  const indexOf = (name: string): Json => JSON.parse(readFileSync(join(layout(name), "index.json"), "utf8"));
  const blob = (name: string, digest: string): Json =>
    JSON.parse(readFileSync(join(layout(name), blobName(digest)), "utf8"));
  const repack = (args: readonly string[], options = {}): Promise<Json> =>
    cliJson(sandbox, ["repack", ...args], { cwd: sandbox.file("files"), ...options }) as Promise<Json>;

  before(async () => {
    sandbox = await Sandbox.create(scope);
    await writeLayout(layout("in"), images);
    daemon = await serve(sandbox);
    wire = await Wire.connect(scope, daemon.socket);
    for (const name of names) {
      const { root } = await wire.ready(`oci:${layout("in")}:${name}`, { name: `in-${name}`, overlap: "a" });
      trees.set(name, facts(readTree(root.path)));
    }
  });

  const expected = (name: string): TreeFacts => trees.get(name) as TreeFacts;

  async function judged(out: string, overlap: "c" | "b"): Promise<void> {
    for (const name of names) {
      const { root } = await wire.ready(`oci:${layout(out)}:${name}`, { name: `${out}-${name}`, overlap });
      assert.deepEqual(differences(facts(readTree(root.path)), expected(name)), [], `${out}, ${name}`);
    }
  }

  async function judgedByOthers(out: string, report: Json): Promise<void> {
    for (const [at, name] of [...names.entries()].filter(([, each]) => each !== "two")) {
      const inspected = await sandbox.must(["skopeo", "inspect", "--raw", `oci:${layout(out)}:${name}`]);
      assert.equal(sha256(Buffer.from(inspected)), report.images[at].digest);
      const [copy, tree] = [`${out}-copy`, sandbox.file(`${out}-${name}`)];
      await sandbox.must(["skopeo", "copy", "--quiet", `oci:${layout(out)}:${name}`, `oci:${copy}:${name}`]);
      const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];
      await sandbox.must(["umoci", "raw", "unpack", ...rootless, "--image", `${copy}:${name}`, tree]);
      assert.deepEqual(differences(facts(readTree(tree), implied), facts(expected(name), implied)), [], name);
    }
  }

  test("under policy b nothing is stored twice, and every other program reads the same trees", {
    skip: noJudge,
  }, async () => {
    const report = await repack([...places("in"), "--out", "oci:b", "--policy", "b"]);
    assert.equal(report.lostToPolicy.bytes, 0);
    assert.ok(report.bytesAfter <= report.bytesBefore);
    assert.equal(report.bytesAfter, report.perFileBytes + 0, "contents that are equal stand at equal paths here");
    await judged("b", "b");
    await judgedByOthers("b", report);
  });

  test("under policy c layers share no name at the root, and hoisted ones do not either", {
    skip: noJudge,
  }, async () => {
    const plain = await repack([...places("in"), "--out", "oci:c", "--policy", "c"]);
    await judged("c", "c");
    await judgedByOthers("c", plain);
    const hoisted = await repack([...places("in"), "--out", "oci:hoisted", "--hoist", "--codec", "zstd"]);
    assert.ok(hoisted.hoist.links > 0 && hoisted.bytesAfter < plain.bytesAfter);
    assert.match(hoisted.notes.join(), /\$ORIGIN/);
    for (const name of names) {
      const { root } = await wire.ready(`oci:${layout("hoisted")}:${name}`, { name: `hoisted-${name}`, overlap: "c" });
      for (const [path, { type, content, target }] of expected(name).entries) {
        if (type !== "file") continue;
        const seen = readFileSync(Buffer.from(`${root.path}/${path}`, "latin1"));
        assert.deepEqual([sha256(seen).slice(7), target], [content, undefined], path);
      }
    }
  });

  test("buildah mounts the trees that the inputs have, of layers under either policy", {
    skip: buildah.skip || (process.getuid?.() === 0 ? false : "buildah mounts as root only"),
  }, async () => {
    const store = ["--storage-driver", "vfs", "--root", sandbox.file("containers"), "--runroot", sandbox.file("run")];
    for (const [out, name] of [
      ["c", "one"],
      ["b", "three"],
    ] as const) {
      // A relative path, since buildah makes a name of it: no upper case.
      const from = ["from", `oci:${out}:${name}`];
      const container = await sandbox.must(["buildah", ...store, ...from], { cwd: layout("") });
      const mounted = await sandbox.must(["buildah", ...store, "mount", container.trim()]);
      const found = facts(readTree(mounted.trim()), implied);
      assert.deepEqual(differences(found, facts(expected(name), implied)), [], `${out}, ${name}`);
      await sandbox.must(["buildah", ...store, "rm", container.trim()]);
    }
  });

  test("what an image says of itself stays, and its history says what happened", () => {
    const { manifests } = indexOf("c");
    assert.deepEqual(
      manifests.map(({ annotations }: Json) => annotations["org.opencontainers.image.ref.name"]),
      names,
    );
    const manifest = blob("c", manifests[0].digest);
    assert.deepEqual(manifest.annotations, { "org.example.kept": "yes" });
    const said = blob("c", manifest.config.digest);
    assert.deepEqual([said.config, said.created, said.os], [config.config, config.created, "linux"]);
    assert.equal(said.rootfs.diff_ids.length, manifest.layers.length);
    assert.deepEqual(said.history.slice(0, 3), [
      { created_by: "base", empty_layer: true },
      { created_by: "nothing", empty_layer: true },
      { created_by: "upper", empty_layer: true },
    ]);
    assert.deepEqual(
      said.history.slice(3),
      manifest.layers.map(() => ({ created_by: "stratad repack" })),
    );
  });

  test("its own output repacked is that again, byte for byte, also in its place", async () => {
    const hoisted = ["--hoist", "--codec", "zstd"];
    await repack([...places("hoisted"), "--out", "oci:hoisted-again", ...hoisted]);
    await sandbox.must(["diff", "-r", layout("hoisted"), layout("hoisted-again")]);
    cpSync(layout("b"), layout("b-again"), { recursive: true });
    const report = await repack([...places("b-again"), "--out", "oci:b-again", "--policy", "b"]);
    assert.equal(report.blobBytesAfter, report.blobBytesBefore);
    await sandbox.must(["diff", "-r", layout("b"), layout("b-again")]);
  });

  test("the platforms of an index stay one, with its annotations, or one is chosen", async () => {
    const platforms = ["amd64", "arm64"].map((architecture) => ({ os: "linux", architecture }));
    const [amd64, arm64] = await Promise.all(
      platforms.map(async (platform) => buildImage([base, await upper(platform.architecture)], { platform })),
    );
    const index = buildIndex([amd64 as TestImage, arm64 as TestImage]);
    const document = JSON.parse(index.bytes.toString());
    const attestation = {
      ...document.manifests[0],
      digest: sha256(Buffer.from("an attestation")),
      annotations: { "vnd.docker.reference.type": "attestation-manifest" },
    };
    const osVersion = { ...document.manifests[1].platform, "os.version": "1.2" };
    document.manifests[1] = {
      ...document.manifests[1],
      platform: osVersion,
      annotations: { "org.example.of": "arm64" },
    };
    document.manifests.push(attestation);
    const bytes = json({ ...document, annotations: { "org.example.index": "kept" } });
    const descriptor = { ...index.descriptor, digest: sha256(bytes), size: bytes.length };
    await writeLayout(layout("index"), { multi: { ...index, bytes, descriptor } });

    const { images: made, indexes, notes } = await repack(["oci:index:multi=multi", "--out", "oci:multi"]);
    assert.deepEqual(
      made.map(({ platform }: Json) => platform),
      ["linux/amd64", "linux/arm64"],
    );
    assert.match(notes.join(), /^multi: 1 of its index's descriptors/);
    const [{ digest, mediaType }] = indexOf("multi").manifests;
    assert.deepEqual([digest, mediaType], [indexes[0].digest, "application/vnd.oci.image.index.v1+json"]);
    const kept = blob("multi", digest);
    assert.deepEqual(kept.annotations, { "org.example.index": "kept" });
    assert.equal(kept.manifests.length, 2);
    assert.deepEqual(
      [kept.manifests[1].platform, kept.manifests[1].annotations, kept.manifests[1].digest],
      [osVersion, { "org.example.of": "arm64" }, made[1].digest],
    );
    const { job } = { job: await wire.ready(`oci:${layout("multi")}:multi`, { platform: "linux/arm64" }) };
    assert.equal(readFileSync(join(job.root.path, "usr/lib/own"), "utf8"), "arm64");

    const one = await repack(["oci:index:multi=arm", "--platform", "linux/arm64", "--out", "oci:multi"]);
    assert.deepEqual([one.images.length, one.indexes], [1, []]);
    assert.deepEqual(
      indexOf("multi").manifests.map(({ annotations }: Json) => annotations["org.opencontainers.image.ref.name"]),
      ["multi", "arm"],
      "what another repack called its images stays",
    );
  });

  test("a registry gets what it has not, and what it has of the inputs is mounted", {
    skip: toolOrSkip("docker-registry").skip || noJudge,
  }, async () => {
    const { host } = await startDebianRegistry(sandbox, { name: "registry", auth: "anonymous" });
    const out = ["--out", `docker://${host}/team/out`, "--policy", "b"];
    const { pushed, images: made } = await repack([...places("in", ["one", "two"]), ...out]);
    assert.ok(pushed.uploaded.blobs > 2 && pushed.present.blobs === 0);
    const raw = await sandbox.must([
      "skopeo",
      "inspect",
      "--tls-verify=false",
      "--raw",
      `docker://${host}/team/out:two`,
    ]);
    assert.equal(sha256(Buffer.from(raw)), made[1].digest);
    const from = [`${host}/team/out:one=one`, `${host}/team/out:two=two`];
    const moved = await repack([...from, "--out", `docker://${host}/other/out`, "--policy", "b"]);
    assert.equal(moved.pushed.uploaded.blobs, 0, "its own output is what the first repository has");
    assert.equal(moved.pushed.mounted.blobs, pushed.uploaded.blobs);
  });

  test("no time is later than SOURCE_DATE_EPOCH, and no other time changes", async () => {
    await repack(["oci:in:two=two", "--out", "oci:epoch"], { env: { SOURCE_DATE_EPOCH: "1800000000" } });
    const { root } = await wire.ready(`oci:${layout("epoch")}:two`, { name: "epoch" });
    const [found, was] = [readTree(root.path).entries, expected("two").entries];
    assert.equal(found.get("usr/late")?.mtime, 1_800_000_000);
    assert.equal(found.get("usr/lib/large")?.mtime, was.get("usr/lib/large")?.mtime);
  });

  test("a report without a place packs nothing, and people get tables and a picture", async () => {
    const stood = readdirSync(layout(""));
    const kept = await repack([...places("in"), "--plan", "--out", "oci:planned", "--hoist", "--no-hoist", "usr/**"]);
    assert.deepEqual([kept.blobBytesAfter, kept.hoist.links], [undefined, 0]);
    assert.deepEqual(readdirSync(layout("")), stood);
    const told = await cli(sandbox, ["repack", ...places("in"), "--plan", "--picture", "picture.svg"], {
      cwd: layout(""),
    });
    assert.equal(told.exitCode, 0);
    assert.match(told.stdout, /^IMAGE +DIGEST +LAYERS +SIZE\none +planned/);
    assert.match(told.stdout, /\nstored {3}.* before, .* after \([+]\d+%\)\n/);
    assert.match(told.stdout, /\npolicy c .* more than b would store\n +.* usr/);
    assert.match(told.stderr, /^repack: resolved 4 references\nrepack: unpacked \d+ layers, /);
    const picture = readFileSync(layout("picture.svg"), "utf8");
    assert.match(picture, /^<svg [^>]*>\n(<(rect|text)[^\n]*\n)+<\/svg>\n$/);
    assert.doesNotMatch(picture, /NaN|undefined/);
  });

  test("of twelve layers that are read at once Node warns nobody, in a repack or in the daemon", async () => {
    const layers = Array.from({ length: 12 }, (_, at) => tar(member(`layer-${at}`, `${at}`)));
    await writeLayout(layout("wide"), { wide: buildImage(layers) });
    const told = await cli(sandbox, ["repack", ...places("wide", ["wide"]), "--out", "oci:wide-out"], {
      cwd: layout(""),
    });
    assert.equal(told.exitCode, 0);
    assert.match(told.stderr, /^(repack: .*\n)+$/);
    await wire.ready(`oci:${layout("wide")}:wide`, { name: "wide", overlap: "c" });
    assert.doesNotMatch(daemon.log(), /Warning/);
  });

  test("what is wrong is told before anything is read or written", async () => {
    mkdirSync(layout("full"));
    writeFileSync(layout("full/file"), "");
    const refused: readonly (readonly [args: readonly string[], code: string])[] = [
      [["oci:in:one", "--out", "oci:x"], "USAGE"],
      [["oci:in:one=a", "--out", "oci:full"], "INVALID_PARAMS"],
      [["oci:in:none=a", "--out", "oci:x"], "MANIFEST_UNKNOWN"],
      [["oci:in:one=a", "--out", "oci:x", "--overlap", "c"], "LAYER_OVERLAP"],
    ];
    const stood = readdirSync(layout(""));
    for (const [args, code] of refused) {
      const { stdout } = await cli(sandbox, ["repack", ...args, "--json"], { cwd: layout("") });
      assert.equal(JSON.parse(stdout).error?.code, code, args.join(" "));
    }
    assert.deepEqual(readdirSync(layout("")), stood);
    assert.deepEqual(readdirSync(layout("full")), ["file"]);
  });

  for (const signal of ["SIGINT", "SIGTERM"] as const)
    test(`${signal} leaves nothing of what was under way`, async (t) => {
      const registry = await startRegistry({
        images: { "team/slow:1": images.one as TestImage },
        script: (exchange) => {
          if (!exchange.request.path.includes("/blobs/") || (exchange.body?.length ?? 0) < 10_000) return false;
          stall(exchange, 100);
          return true;
        },
      });
      t.after(() => registry.close());
      const out = layout(`interrupted-${signal}`);
      const [program, ...args] = sandbox.stratad;
      const reference = `${registry.host}/team/slow:1=one`;
      const child = spawn(program, [...args, "repack", reference, "oci:in:two=two", "--out", `oci:${out}`], {
        cwd: layout(""),
        env: sandbox.env,
        stdio: ["ignore", "pipe", "pipe"],
      });
      const said = collect(child.stderr);
      const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
      await until("something is unpacked", () =>
        everythingBelow(out).some((path) => path.includes("/layers/") && path.endsWith("layer.json")),
      );
      child.kill(signal);
      assert.equal(await ended, 130, said.text);
      assert.match(said.text, /Cannot finish the repack: interrupted \[CANCELLED\]/);
      assert.ok(!existsSync(out));
    });

  test("a blob that is damaged in the layout is made whole, and others' images stay", async () => {
    cpSync(layout("c"), layout("damaged"), { recursive: true });
    const { layers } = blob("damaged", indexOf("damaged").manifests[0].digest);
    writeFileSync(join(layout("damaged"), blobName(layers[0].digest)), "damaged");
    await writeFiles(layout("damaged"), new Map([["other", Buffer.from("a stranger's")]]));
    await repack([...places("in"), "--out", "oci:damaged"]);
    await sandbox.must(["diff", "-r", "--exclude=other", layout("c"), layout("damaged")]);
    const mode = statSync(join(layout("damaged"), blobName(layers[0].digest))).mode & 0o777;
    assert.equal(mode, 0o644);
  });
});

const scope = fileScope();
const place = await smallTmpfs(scope, { megabytes: 24, inodes: 700 });

test("a full disk is NO_SPACE, and the layout is as it was", { skip: place.skip }, async (t) => {
  const sandbox = await Sandbox.create(t);
  await writeLayout(sandbox.file("in"), {
    small: buildImage([await tarOf([{ name: "small", content: "small" }])]),
    large: buildImage([await tarOf([{ name: "large", content: Buffer.alloc(40_000_000) }])]),
  });
  const out = join(place.directory ?? "", "out");
  await cliJson(sandbox, ["repack", "oci:in:small=small", "--out", `oci:${out}`]);
  const stood = everythingBelow(out);
  const large = ["repack", "oci:in:large=large", "--out", `oci:${out}`];
  const { error } = (await cliJson(sandbox, large, { exitCode: 74 })) as Json;
  assert.deepEqual([error.code, /stratad gc/.test(error.hint)], ["NO_SPACE", false]);
  assert.deepEqual(everythingBelow(out), stood);
});
