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
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { type Daemon, serve } from "../support/daemon.js";
import { layerDigests, tarOf, writeLayout } from "../support/images.js";
import { buildImage, startRegistry, type TestImage, type TestRegistry } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const scope = fileScope();
let sandbox: Sandbox;
let daemon: Daemon;
let wire: Wire;
let registry: TestRegistry;
let image: TestImage;
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
  registry = await startRegistry({ images: { "app:1": image, "other:1": other } });
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
  /** The inode that roots share is the damaged one. */
  readonly isThroughRoot?: boolean;
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
    isThroughRoot: true,
  },
  {
    title: "a file with two names written through one of them",
    edit: () => overwrite(shown("other", "shared/alias"), "#!/bin/ls\n"),
    finds: ["CONTENT shared/tool"],
    shownBy: linked,
    fetches: true,
    replaced: ["shared/tool", "shared/alias"],
    isThroughRoot: true,
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
    isThroughRoot = false,
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
      for (const path of isThroughRoot ? replaced : []) {
        assert.notEqual(inode(layer("tree", path)), known.get(layer("tree", path)), path);
        for (const name of ["app", "other", "planned"])
          assert.equal(inode(shown(name, path)), inode(layer("tree", path)), `${name}/${path}`);
      }
    });
});

const configOf = ({ bytes }: TestImage): string => JSON.parse(bytes.toString()).config.digest;
