/**
 * A store that was edited by hand: `verify` finds each edit and names the roots that show it, `--repair` mends it from the registry or
 * the layout that the image came from, with no more fetched and no more touched than what is damaged.
 */
import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { cli, type Daemon, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { layerDigests, tarOf, writeLayout } from "../support/images.js";
import { buildImage, type Exchange, startRegistry, type TestImage, type TestRegistry } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const scope = fileScope();
let sandbox: Sandbox;
let daemon: Daemon;
let wire: Wire;
let registry: TestRegistry;
let image: TestImage;
/** A blob that the registry does not answer for until it is released. */
const held = {
  digest: "nothing",
  asked: (): void => undefined,
  release: (): void => undefined,
  released: Promise.resolve(),
};

function hold(digest: string): Promise<void> {
  held.digest = digest;
  held.released = new Promise((resolve) => {
    held.release = resolve;
  });
  return new Promise((resolve) => {
    held.asked = resolve;
  });
}

/** The roots' trees, by name. */
const trees: Record<string, string> = {};
const rootIds: Record<string, string> = {};
let shared: string;

before(async () => {
  sandbox = await Sandbox.create(scope);
  const sharedTar = await tarOf([
    { name: "shared/", type: "directory" },
    { name: "shared/tool", content: "#!/bin/sh\n", mode: 0o755 },
    { name: "shared/alias", type: "link", linkname: "shared/tool" },
    { name: "shared/data", content: "the data" },
    { name: "shared/empty", content: "" },
    { name: "shared/link", type: "symlink", linkname: "data" },
    { name: "shared/closed/", type: "directory", mode: 0o555 },
    { name: "shared/closed/deep", content: "deep" },
    { name: "shared/implied/x", content: "x" },
  ]);
  const own = (name: string) => tarOf([{ name: `${name}/file`, content: `only ${name}` }]);
  image = buildImage([sharedTar, await own("app")]);
  const other = buildImage([sharedTar, await own("other")]);
  registry = await startRegistry({
    images: { "app:1": image, "other:1": other },
    script: async ({ request }: Exchange) => {
      if (request.path.endsWith(held.digest)) {
        held.asked();
        await held.released;
      }
      return false;
    },
  });
  scope.after(() => registry.close());
  await writeLayout(sandbox.file("layout"), {
    local: buildImage([await tarOf([{ name: "local", content: "local" }])]),
  });
  daemon = await serve(sandbox);
  wire = await Wire.connect(scope, daemon.socket);
  await install(`${registry.host}/app:1`, "app");
  await install(`${registry.host}/other:1`, "other");
  await install(`${registry.host}/app:1`, "planned", { overlap: "b" });
  await install(`${registry.host}/app:1`, "symlinks", { link: "symlink" });
  await install(`${registry.host}/app:1`, "copies", { link: "copy" });
  await install(`oci:${sandbox.file("layout")}:local`, "local");
  shared = (await wire.request("root/get", { name: "app" })).layers[0];
});

async function install(reference: string, name: string, params: object = {}): Promise<void> {
  const { root } = await wire.ready(reference, { name, ...params });
  trees[name] = root.path;
  rootIds[name] = root.rootId;
}

const layer = (...below: string[]): string => join(sandbox.stateDir, "layers", shared.replace(":", "/"), ...below);
const shown = (name: string, path: string): string => join(trees[name] as string, path);
const inode = (path: string): number => lstatSync(path).ino;

const verify = (params: object = {}): Promise<Json> => wire.request("store/verify", params);
const told = (findings: Json[]): string[] => findings.map(({ code, path }) => `${code} ${path}`).sort();
const sharing = ({ roots = [] }: Json): string[] => roots.flatMap(({ names }: Json) => names).sort();
/** Blobs that the registry was asked for since its log had `from` requests. */
const fetched = (from: number): string[] =>
  registry.requests.slice(from).flatMap(({ path }) => /\/blobs\/(.*)$/.exec(path)?.[1] ?? []);

/** Of every file of the layer, and of the roots that share it. */
function inodes(): Map<string, number> {
  const found = new Map<string, number>();
  const walk = (tree: string, below: string): void => {
    for (const name of readdirSync(join(tree, below))) {
      const path = join(below, name);
      const stat = lstatSync(join(tree, path));
      found.set(join(tree, path), stat.ino);
      if (stat.isDirectory()) walk(tree, path);
    }
  };
  for (const tree of [layer("tree"), ...Object.values(trees)]) walk(tree, "");
  return found;
}

/** As somebody with a root and an editor does it, without a trace in size and time. */
function overwrite(path: string, text: string): void {
  const { mode, atime, mtime } = lstatSync(path);
  chmodSync(path, 0o600);
  writeFileSync(path, text, { flag: "r+" });
  chmodSync(path, mode & 0o777);
  utimesSync(path, atime, mtime);
}

interface Edit {
  readonly title: string;
  readonly edit: () => void;
  readonly finds: readonly string[];
  /** The names whose roots show the first of them. */
  readonly shownBy?: readonly string[];
  /** Whether contents have to come from the registry again. */
  readonly fetches?: boolean;
  /** Paths of the layer whose inode is another afterwards, in the layer and in the roots that share it. */
  readonly replaced?: readonly string[];
  /** Roots get the inode that stands for the damaged one, also where theirs is whole. */
  readonly isLinkedAgain?: boolean;
  /** `verify` without --deep finds it. */
  readonly shallow?: boolean;
}

const linked = ["app", "other", "planned", "symlinks"];
const edits: readonly Edit[] = [
  {
    title: "a byte flipped through a root",
    edit: () => overwrite(shown("app", "shared/data"), "the dato"),
    finds: ["CONTENT shared/data"],
    shownBy: linked,
    fetches: true,
    replaced: ["shared/data"],
    isLinkedAgain: true,
  },
  {
    title: "a file with two names written through one of them",
    edit: () => overwrite(shown("other", "shared/alias"), "#!/bin/ls\n"),
    finds: ["CONTENT shared/tool"],
    shownBy: linked,
    fetches: true,
    replaced: ["shared/tool", "shared/alias"],
    isLinkedAgain: true,
  },
  {
    title: "a file made writable through a root",
    edit: () => chmodSync(shown("planned", "shared/data"), 0o644),
    finds: ["MODE shared/data"],
    shownBy: linked,
  },
  {
    title: "a file deleted from the layer",
    edit: () => rmSync(layer("tree/shared/closed/deep")),
    finds: ["MISSING shared/closed/deep", "MODE shared/closed"],
    shownBy: ["symlinks"],
    fetches: true,
    replaced: ["shared/closed/deep"],
    isLinkedAgain: true,
  },
  {
    title: "a whole directory deleted from the layer",
    edit: () => rmSync(layer("tree/shared"), { recursive: true }),
    finds: ["MISSING shared"],
    fetches: true,
    replaced: ["shared", "shared/data"],
  },
  {
    title: "a file added to the layer",
    edit: () => writeFileSync(layer("tree/shared/implied/new"), ""),
    finds: ["EXTRA shared/implied/new", "MODE shared/implied"],
    shownBy: ["symlinks"],
  },
  {
    title: "a symlink of the layer that leads elsewhere",
    edit: () => {
      rmSync(layer("tree/shared/link"));
      symlinkSync("/etc/passwd", layer("tree/shared/link"));
    },
    finds: ["LINK_TARGET shared/link", "MODE shared"],
    replaced: ["shared/link"],
  },
  {
    title: "a file of the layer that became a directory with something in it",
    edit: () => {
      rmSync(layer("tree/shared/data"));
      mkdirSync(layer("tree/shared/data/more"), { recursive: true });
    },
    finds: ["CONTENT shared/data", "MODE shared"],
    fetches: true,
    replaced: ["shared/data"],
  },
  {
    title: "a directory of the layer that became a symlink",
    edit: () => {
      renameSync(layer("tree/shared/closed"), sandbox.file("files/closed"));
      symlinkSync(sandbox.file("files/closed"), layer("tree/shared/closed"));
    },
    finds: ["CONTENT shared/closed", "MODE shared"],
    fetches: true,
    replaced: ["shared/closed", "shared/closed/deep"],
  },
  {
    title: "a directory of the layer that nobody may look into",
    edit: () => chmodSync(layer("tree/shared/closed"), 0),
    finds: ["MODE shared/closed"],
  },
  {
    title: "a changeset with a line more",
    edit: () => appendFileSync(layer("changeset"), "i\tmore\n"),
    finds: ["DOCUMENT changeset"],
    fetches: true,
    shallow: true,
  },
  {
    title: "a changeset that is gone",
    edit: () => rmSync(layer("changeset")),
    finds: ["MISSING changeset"],
    fetches: true,
    shallow: true,
  },
  {
    title: "a layer.json that says another size",
    edit: () => {
      const document = JSON.parse(readFileSync(layer("layer.json"), "utf8"));
      writeFileSync(layer("layer.json"), JSON.stringify({ ...document, bytes: 1 }));
    },
    finds: ["DOCUMENT layer.json"],
    shallow: true,
  },
  {
    title: "a layer that is gone altogether",
    edit: () => rmSync(layer(), { recursive: true }),
    finds: Array(6).fill("MISSING "),
    fetches: true,
    shallow: true,
  },
];

suite("a store that was edited by hand", () => {
  test("an untouched store has no findings, and everything was read", async () => {
    const { checked, findings, findingsTotal } = await verify({ deep: true });
    assert.deepEqual([findings, findingsTotal], [[], 0]);
    assert.deepEqual([checked.layers, checked.roots], [4, 6]);
    assert.ok(checked.entries > 0 && checked.bytes > 0 && checked.documents > 0);
    assert.deepEqual((await verify()).checked, { ...checked, entries: 0, bytes: 0 });
  });

  for (const {
    title,
    edit,
    finds,
    shownBy,
    fetches = false,
    replaced = [],
    isLinkedAgain = false,
    shallow = false,
  } of edits)
    test(`${title}: ${[...new Set(finds)].join(", ")}, and repaired`, async () => {
      const facts = readTree(trees.other as string).entries;
      const known = inodes();
      edit();
      const found = await verify({ deep: true });
      assert.deepEqual(told(found.findings), [...finds].sort());
      assert.ok(found.findings.some((finding: Json) => finding.layer === shared));
      const first = found.findings.find(({ code, path }: Json) => `${code} ${path}` === finds[0]);
      if (shownBy !== undefined) assert.deepEqual(sharing(first), [...shownBy].sort());
      assert.deepEqual(told((await verify()).findings), shallow ? [...finds].sort() : []);

      const requests = registry.requests.length;
      const mended = await verify({ deep: true, repair: true });
      assert.deepEqual([mended.findings, mended.findingsTotal], [[], 0]);
      assert.deepEqual(told(mended.repaired), [...finds].sort());
      const blobs = fetched(requests).filter((digest) => digest !== configOf(image));
      assert.deepEqual(blobs, fetches ? [layerDigests(image)[0]] : []);

      assert.deepEqual((await verify({ deep: true })).findings, []);
      assert.deepEqual(readTree(trees.other as string).entries, facts);
      if (title.includes("gone altogether") || replaced.includes("shared")) return;
      for (const [path, ino] of known)
        if (!replaced.some((name) => path.endsWith(`/${name}`))) assert.equal(inode(path), ino, path);
      for (const path of isLinkedAgain ? replaced : []) {
        assert.notEqual(inode(layer("tree", path)), known.get(layer("tree", path)), path);
        for (const name of ["app", "other", "planned"])
          assert.equal(inode(shown(name, path)), inode(layer("tree", path)), `${name}/${path}`);
      }
    });
});

const configOf = ({ bytes }: TestImage): string => JSON.parse(bytes.toString()).config.digest;

const root = (name: string, ...below: string[]): string =>
  join(sandbox.stateDir, "roots", rootIds[name] as string, ...below);
const state = (...below: string[]): string => join(sandbox.stateDir, ...below);

interface RootEdit {
  readonly title: string;
  readonly name: string;
  readonly edit: () => void;
  readonly finds: readonly string[];
}

const ofRoots: readonly RootEdit[] = [
  {
    title: "links deleted from a root",
    name: "app",
    edit: () => rmSync(shown("app", "shared/closed"), { recursive: true }),
    finds: ["MISSING shared/closed", "MODE shared"],
  },
  {
    title: "a link replaced by a file of its own",
    name: "planned",
    edit: () => {
      rmSync(shown("planned", "shared/data"));
      writeFileSync(shown("planned", "shared/data"), "own data");
    },
    finds: ["CONTENT shared/data", "MODE shared"],
  },
  {
    title: "something written into an empty file",
    name: "other",
    edit: () => appendFileSync(shown("other", "shared/empty"), "x"),
    finds: ["CONTENT shared/empty"],
  },
  {
    title: "a file added at the top",
    name: "other",
    edit: () => writeFileSync(shown("other", "new"), ""),
    finds: ["EXTRA new"],
  },
  {
    title: "a symlink into a layer that leads elsewhere",
    name: "symlinks",
    edit: () => {
      rmSync(shown("symlinks", "shared"));
      symlinkSync("/etc", shown("symlinks", "shared"));
    },
    finds: ["LINK_TARGET shared"],
  },
  {
    title: "a tree that is gone",
    name: "app",
    edit: () => rmSync(root("app", "tree"), { recursive: true }),
    finds: ["MISSING tree"],
  },
  {
    title: "a root.json that says other layers",
    name: "app",
    edit: () => {
      const document = JSON.parse(readFileSync(root("app", "root.json"), "utf8"));
      writeFileSync(root("app", "root.json"), JSON.stringify({ ...document, layers: [] }));
    },
    finds: ["DOCUMENT root.json"],
  },
];

suite("a root that was edited by hand", () => {
  for (const { title, name, edit, finds } of ofRoots)
    test(`${title}: ${finds.join(", ")}, and repaired without fetching anything`, async () => {
      const requests = registry.requests.length;
      // A symlink into a layer has the time at which it was made.
      const look = () =>
        name === "symlinks" ? readlinkSync(shown(name, "shared")) : readTree(trees[name] as string).entries;
      const facts = look();
      edit();
      const { findings } = await verify({ deep: true, name });
      assert.deepEqual(told(findings), [...finds].sort());
      assert.ok(findings.every((finding: Json) => finding.root === rootIds[name]));
      assert.deepEqual((await verify({ deep: true, repair: true, name })).findings, []);
      assert.deepEqual((await verify({ deep: true })).findings, []);
      assert.deepEqual(look(), facts);
      assert.equal(registry.requests.length, requests);
    });

  test("what is written into a root of copies is its owner's, and no finding", async () => {
    writeFileSync(shown("copies", "shared/data"), "mine");
    writeFileSync(shown("copies", "new"), "");
    assert.deepEqual((await verify({ deep: true })).findings, []);
  });

  test("a plan that is another is left, with what to do about it", async () => {
    const plan = root("planned", "plan");
    const text = readFileSync(plan);
    appendFileSync(plan, "0\t=\ti\tmore\n");
    const { findings } = await verify({ repair: true });
    assert.deepEqual(told(findings), ["DOCUMENT plan"]);
    assert.match(findings[0].unrepaired, /install the image again/);
    writeFileSync(plan, text);
    assert.deepEqual((await verify()).findings, []);
  });
});

suite("the store around them", () => {
  test("documents that are not what the daemon wrote are written again", async () => {
    const names = (...below: string[]): string => state("names", ...below);
    rmSync(names("app"));
    symlinkSync("/etc", names("app"));
    rmSync(names("other"));
    writeFileSync(names(".meta/local.json"), "{}");
    writeFileSync(state("meta", `${shared.slice(7)}.json`), "[]");
    const documents = readdirSync(state("blobs/sha256"));
    const [kept = ""] = documents;
    appendFileSync(state("blobs/sha256", kept), " ");
    const finds = [
      `DOCUMENT blobs/sha256/${kept}`,
      `DOCUMENT meta/${shared.slice(7)}.json`,
      "DOCUMENT names/.meta/local.json",
      "LINK_TARGET names/app",
      "MISSING names/other",
    ];
    assert.deepEqual(told((await verify()).findings), finds.sort());
    const { findings, repaired } = await verify({ repair: true });
    assert.deepEqual([findings, told(repaired)], [[], finds]);
    assert.ok(lstatSync(join(names("app"), "app/file")).isFile());
    assert.deepEqual(readdirSync(state("blobs/sha256")), documents, "had again where the image came from");
    assert.deepEqual((await verify({ deep: true })).findings, []);
  });

  test("a manifest that is gone is missed by its roots, and had again where the image came from", async () => {
    const { manifestDigest, rootId } = await wire.request("root/get", { name: "local" });
    const path = state("blobs", manifestDigest.replace(":", "/"));
    const bytes = readFileSync(path);
    rmSync(path);
    const missed = (await verify()).findings;
    assert.deepEqual(
      missed.map(({ code, root, path }: Json) => [code, root, path]),
      [["MISSING", rootId, "manifest"]],
    );
    const { findings, repaired } = await verify({ repair: true });
    assert.deepEqual([findings, told(repaired)], [[], ["MISSING manifest"]]);
    assert.deepEqual(readFileSync(path), bytes);
  });

  for (const what of ["manifest", "config"])
    test(`a ${what} that is damaged and cannot be had again is a finding with the reason, until it can`, async () => {
      const { manifestDigest } = await wire.request("root/get", { name: "local" });
      const blob = (digest: string): string => state("blobs", digest.replace(":", "/"));
      const { config } = JSON.parse(readFileSync(blob(manifestDigest), "utf8"));
      const [path, layout] = [blob(what === "manifest" ? manifestDigest : config.digest), sandbox.file("layout")];
      const bytes = readFileSync(path);
      appendFileSync(path, " ");
      renameSync(layout, `${layout}-away`);
      const [found, ...others] = (await verify({ repair: true })).findings;
      assert.deepEqual([found.code, found.path, others], ["MISSING", what, []]);
      assert.match(found.unrepaired, /^Cannot .* \[/);
      renameSync(`${layout}-away`, layout);
      assert.deepEqual((await verify({ repair: true, name: "app" })).findings, []);
      assert.throws(() => readFileSync(path), { code: "ENOENT" });
      assert.deepEqual((await verify({ repair: true })).findings, []);
      assert.deepEqual(readFileSync(path), bytes);
    });

  test("findings are journalled, each with whether it was repaired", () => {
    const lines = readdirSync(state("journal"))
      .flatMap((name) => readFileSync(state("journal", name), "utf8").split("\n"))
      .filter((line) => line.includes('"finding"'))
      .map((line) => JSON.parse(line));
    const told = lines.filter(({ layer: of, path }: Json) => of === shared && path === "shared/data");
    assert.ok(told.some(({ repaired }: Json) => repaired) && told.some(({ repaired }: Json) => !repaired));
  });

  test("whatever else stands anywhere in the store is a stranger, named and left alone", async () => {
    const places = [
      "file",
      "layers/file",
      "layers/sha256/file",
      "roots/file",
      "names/file",
      "names/.meta/file",
      "meta/file",
      "spill/file",
      "blobs/file",
      "blobs/sha256/file",
      "journal/file",
    ];
    for (const place of places) writeFileSync(state(place), "");
    writeFileSync(layer("file"), "");
    writeFileSync(root("app", "file"), "");
    mkdirSync(state("spill", "f".repeat(64)));
    const { findings } = await verify({ repair: true });
    const expected = [...places, "file", "file", `spill/${"f".repeat(64)}`].map((place) => `STRANGER ${place}`);
    assert.deepEqual(told(findings), expected.sort());
    assert.ok(findings.every(({ unrepaired }: Json) => /remove it by hand/.test(unrepaired)));
    for (const place of places) rmSync(state(place));
    rmSync(layer("file"));
    rmSync(root("app", "file"));
    rmSync(state("spill", "f".repeat(64)), { recursive: true });
    assert.deepEqual((await verify({ deep: true })).findings, []);
  });
});

suite("where the image comes from", () => {
  test("without it a finding is left, with why; with it the layer is mended from the layout", async () => {
    const layout = sandbox.file("layout");
    renameSync(layout, `${layout}.away`);
    overwrite(shown("local", "local"), "LOCAL");
    const { exitCode, stdout, stderr } = await cli(sandbox, ["verify", "local", "--deep", "--repair"]);
    assert.equal(exitCode, 65, stderr);
    assert.match(stdout, /^CONTENT {2}layer [0-9a-f]{12} {2}local: the SHA-256 of its content is /);
    assert.match(stdout, /\n {2}shown by local\n {2}not repaired: .*it does not exist \[LAYOUT_INVALID\]\n$/);
    assert.match(stderr, /^checked 1 layer, 1 root, 2 entries, 5 B read: 0 findings repaired, 1 left\n$/m);
    assert.match((await cli(sandbox, ["status"])).stdout, /\ndamage {3}1 finding, .*: `stratad verify --deep` shows /);
    renameSync(`${layout}.away`, layout);
    const mended = await cli(sandbox, ["verify", "local", "--deep", "--repair"]);
    assert.deepEqual([mended.exitCode, mended.stdout.split("\n")[0]?.slice(0, 17)], [0, "repaired  CONTENT"]);
    assert.equal(readFileSync(shown("local", "local"), "utf8"), "local");
    assert.deepEqual((await verify({ deep: true })).findings, []);
    assert.doesNotMatch((await cli(sandbox, ["status"])).stdout, /\ndamage/);
  });

  test("a layer or a manifest is verified by its digest; what nothing has is UNKNOWN_LAYER, a name UNKNOWN_NAME", async () => {
    const [digest = ""] = layerDigests(image);
    assert.deepEqual((await verify({ digest })).checked.layers, 1);
    assert.deepEqual((await verify({ digest: shared })).checked.roots, 5);
    assert.deepEqual((await verify({ digest: image.descriptor.digest })).checked.layers, 2);
    const nothing = `sha256:${"0".repeat(64)}`;
    assert.equal((await wire.refused("store/verify", { digest: nothing })).data.code, "UNKNOWN_LAYER");
    assert.equal((await wire.refused("store/verify", { name: "nobody" })).data.code, "UNKNOWN_NAME");
  });

  test("a repair that is killed while it fetches is finished by the next", async () => {
    overwrite(shown("app", "shared/data"), "the dato");
    chmodSync(shown("app", "shared/tool"), 0o777);
    const asked = hold(layerDigests(image)[0] as string);
    const repairing = verify({ deep: true, repair: true }).catch(() => undefined);
    await asked;
    daemon.kill("SIGKILL");
    await repairing;
    await daemon.ended;
    held.release();
    held.digest = "nothing";
    // The scrub comes first to a layer that nobody has verified for long.
    const document = JSON.parse(readFileSync(layer("layer.json"), "utf8"));
    chmodSync(layer("layer.json"), 0o644);
    writeFileSync(layer("layer.json"), JSON.stringify({ ...document, createdAt: "2020-01-01T00:00:00.000Z" }));
    daemon = await serve(sandbox, { env: { STRATAD_SCRUB_BYTES_PER_SECOND: "1000000" } });
    await until("the scrub tells what it found", () => daemon.log().includes('"store.findings"'));
    wire = await Wire.connect(scope, daemon.socket);
    assert.deepEqual(readdirSync(state("staging")), []);
    assert.equal((await wire.request("server/status")).findings.total, 1);
    assert.deepEqual((await verify({ deep: true, repair: true })).findings, []);
    assert.deepEqual((await verify({ deep: true })).findings, []);
    assert.equal(readFileSync(shown("other", "shared/data"), "utf8"), "the data");
    assert.equal((await wire.request("server/status")).findings, undefined);
    const { verifiedAt } = JSON.parse(readFileSync(state("meta", `${shared.slice(7)}.json`), "utf8"));
    assert.ok(Date.now() - Date.parse(verifiedAt) < 3_600_000);
  });
});
