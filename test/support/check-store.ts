/**
 * A judge of a store that no daemon serves: reads the whole state directory by itself and tells everything that is not as store.md
 * says. Uses nothing of src/ or workers/: what the product believes of itself is no evidence.
 */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { type Line, readChangeset, readEntries, treeProblems } from "./stored-tree.js";
import type { Json } from "./wire.js";

export interface CheckOptions {
  /** A daemon has started since the crash: nothing unfinished may be left. */
  readonly swept?: boolean;
}

interface CheckedLayer {
  readonly tree: string;
  readonly lines: readonly Line[];
}

/** What may stand at the top. */
const TOP = new Set([
  ...["version", "lock", "lock.pid", "layers", "meta", "spill", "blobs", "roots", "names", "journal", "staging"],
  ...["holds.json", "files", "memos", "spares", "daemon.log"],
]);
const TEMPORARY = /^\.probe|\.new$/;
/** A name may end so too; none begins with a dot. */
const TEMPORARY_NAME = /^\..*\.new$/;

/** Every problem, as `where: what`; empty where the store is sound. */
export function checkStore(state: string, { swept = false }: CheckOptions = {}): string[] {
  return new StoreCheck(state, swept).run();
}

class StoreCheck {
  readonly #state: string;
  readonly #swept: boolean;
  readonly #problems: string[] = [];
  readonly #layers = new Map<string, CheckedLayer>();
  readonly #roots = new Set<string>();

  constructor(state: string, swept: boolean) {
    this.#state = state;
    this.#swept = swept;
  }

  run(): string[] {
    for (const name of readdirSync(this.#state)) if (!TOP.has(name)) this.#say(name, "nobody knows what that is");
    for (const algorithm of ["sha256", "sha512"])
      for (const hex of this.#names("layers", algorithm))
        this.#in(`layers/${algorithm}/${hex}`, (where) => this.#layer(where, `${algorithm}:${hex}`));
    for (const rootId of this.#names("roots")) this.#in(`roots/${rootId}`, (where) => this.#root(where, rootId));
    const hexes = new Set([...this.#layers.keys()].map((diffId) => diffId.slice(diffId.indexOf(":") + 1)));
    for (const file of this.#names("meta"))
      if (file !== "roots") this.#in(`meta/${file}`, (where) => this.#meta(where, (hex) => hexes.has(hex)));
    for (const file of this.#names("meta", "roots"))
      this.#in(`meta/roots/${file}`, (where) => this.#meta(where, (rootId) => this.#roots.has(rootId)));
    for (const algorithm of ["sha256", "sha512"])
      for (const hex of this.#names("blobs", algorithm))
        this.#in(`blobs/${algorithm}/${hex}`, (where) => this.#blob(where, algorithm, hex));
    this.#checkNames();
    this.#names("memos");
    for (const file of this.#names("spares"))
      if (file.endsWith(".json")) this.#in(`spares/${file.replace(/\.json$/, "")}`, (where) => this.#spare(where));
    if (this.#swept) for (const left of this.#names("staging")) this.#say(`staging/${left}`, "left over");
    return this.#problems;
  }

  /** The entries of a directory of the store; temporaries are told and left out. */
  #names(...parts: readonly string[]): string[] {
    const directory = join(this.#state, ...parts);
    const names = existsSync(directory) ? readdirSync(directory) : [];
    const temporary = parts.join("/") === "names" ? TEMPORARY_NAME : TEMPORARY;
    for (const name of names)
      if (temporary.test(name) && this.#swept) this.#say(join(...parts, name), "a temporary left over");
    return names.filter((name) => !temporary.test(name));
  }

  #say(where: string, what: string): void {
    this.#problems.push(`${where}: ${what}`);
  }

  #in(where: string, check: (where: string) => void): void {
    try {
      check(where);
    } catch (error) {
      this.#say(where, String(error));
    }
  }

  #json(...parts: readonly string[]): Json {
    return JSON.parse(readFileSync(join(this.#state, ...parts), "utf8"));
  }

  #holds(where: string, expected: readonly string[]): void {
    const found = readdirSync(join(this.#state, where)).sort().join(" ");
    if (found !== [...expected].sort().join(" ")) this.#say(where, `holds ${found}`);
  }

  #layer(where: string, diffId: string): void {
    this.#holds(where, ["changeset", "layer.json", "tree"]);
    const document = this.#json(where, "layer.json");
    if (document.diffId !== diffId) this.#say(where, `its document is of ${document.diffId}`);
    const changeset = join(this.#state, where, "changeset");
    if (sha256Of(changeset) !== document.changesetSha256) this.#say(where, "another changeset than its document says");
    const lines = readChangeset(changeset);
    const tree = join(this.#state, where, "tree");
    for (const problem of treeProblems(tree, lines)) this.#say(`${where}/tree`, problem);
    const files = lines.filter(({ kind }) => kind === "f");
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    if (document.files !== files.length || document.bytes !== bytes) this.#say(where, "its document counts otherwise");
    this.#layers.set(diffId, { tree, lines });
  }

  /** What stands in meta/ about a layer, or in meta/roots/ about a root, which `has` knows by its hash. */
  #meta(where: string, has: (hex: string) => boolean): void {
    const document = this.#json(where);
    if (document.schema !== 1 || typeof document.durable !== "boolean") this.#say(where, "no document of meta/");
    if (!has(/([0-9a-f]+)\.json$/.exec(where)?.[1] ?? "")) this.#say(where, "is of nothing that stands");
  }

  #blob(where: string, algorithm: string, hex: string): void {
    const digest = createHash(algorithm)
      .update(readFileSync(join(this.#state, where)))
      .digest("hex");
    if (digest !== hex) this.#say(where, "another content than its name says");
  }

  #root(where: string, rootId: string): void {
    this.#roots.add(rootId);
    const document = this.#json(where, "root.json");
    this.#holds(where, ["root.json", "tree", ...(document.planSha256 === undefined ? [] : ["plan"])]);
    if (document.rootId !== rootId) this.#say(where, `its document is of ${document.rootId}`);
    const layers = (document.layers as string[]).map((diffId) => {
      const layer = this.#layers.get(diffId);
      if (layer === undefined) this.#say(where, `its layer ${diffId} is not there`);
      return layer;
    });
    const isUnion = document.overlap === "c" && document.link === "hardlink" && document.planSha256 === undefined;
    if (isUnion && layers.every((layer) => layer !== undefined)) this.#union(`${where}/tree`, new Set(layers));
  }

  /** Layers that share no name: all that each has, and every file with content the inode of the store or of its spill. */
  #union(where: string, layers: ReadonlySet<CheckedLayer>): void {
    const tree = join(this.#state, where);
    for (const problem of treeProblems(
      tree,
      [...layers].flatMap(({ lines }) => lines),
    ))
      this.#say(where, problem);
    const stored = new Set([...layers].flatMap((layer) => inodesBelow(layer.tree)));
    const spilled = new Set(inodesBelow(join(this.#state, "spill")));
    for (const [path, { stats }] of readEntries(tree))
      if (stats.isFile() && stats.size > 0 && !stored.has(stats.ino) && !spilled.has(stats.ino))
        this.#say(where, `${path} is a copy`);
  }

  /** One that a document tells of may become a part of a root as it is. */
  #spare(where: string): void {
    const { diffId } = this.#json(`${where}.json`);
    const layer = this.#layers.get(diffId);
    if (layer === undefined) this.#say(where, `its layer ${diffId} is not there`);
    else this.#union(where, new Set([layer]));
  }

  #checkNames(): void {
    const documents = this.#names("names", ".meta");
    for (const file of documents)
      this.#in(`names/.meta/${file}`, (where) => this.#name(where, file.replace(/\.json$/, "")));
    for (const name of this.#names("names"))
      if (name !== ".meta" && !documents.includes(`${name}.json`)) this.#say(`names/${name}`, "has no document");
  }

  #name(where: string, name: string): void {
    const { name: named, generations, current } = this.#json(where);
    if (named !== name) this.#say(where, `is of ${named}`);
    const numbers = (generations as Json[]).map(({ generation }) => generation as number);
    if (numbers.some((number, i) => i > 0 && number <= (numbers[i - 1] as number)))
      this.#say(where, `generations ${numbers}`);
    const { rootId } = (generations as Json[]).find(({ generation }) => generation === (current ?? numbers.at(-1)));
    if (!this.#roots.has(rootId)) this.#say(where, `its root ${rootId} is not there`);
    const link = join(this.#state, "names", name);
    const target = lstatSync(link).isSymbolicLink() ? readlinkSync(link) : "no symlink";
    if (target !== `../roots/${rootId}/tree`)
      this.#say(`names/${name}`, `leads to ${target}, its document to ${rootId}`);
  }
}

const sha256Of = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");

const inodesBelow = (directory: string): number[] =>
  existsSync(directory) ? [...readEntries(directory).values()].map(({ stats }) => stats.ino) : [];
