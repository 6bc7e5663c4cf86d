/**
 * What a root holds, computed as a person would do it by hand: one layer after another into a map from path to what stands
 * there; every path looked up anew from the root, and what is hidden or replaced deleted by its prefix.
 *
 * It shares nothing with src/overlap but the types, and is as slow as it looks.
 */
import type { Changeset, Entry } from "../../src/overlap/changeset.js";
import type { Conflict, RootPlan } from "../../src/overlap/plan-root.js";

export interface Thing {
  readonly layer: number;
  readonly entry: Entry;
}

export type Root = Map<string, Thing>;

export interface NaiveResult {
  readonly root: Root;
  /** As a plan sorts them. */
  readonly conflicts: readonly Conflict[];
  /** How often a symlink was followed. */
  readonly followed: number;
}

const isDir = ({ type }: Entry): boolean => type === "dir" || type === "implied";
const isMark = ({ type }: Entry): boolean => type === "whiteout" || type === "opaque";
const shownType = (entry: Entry): Entry["type"] => (isDir(entry) ? "dir" : entry.type);

/** Policy c: nothing of two layers below one top-level name. */
export const naiveDisjointRoots = (changesets: readonly Changeset[]): NaiveResult =>
  naiveUnion(
    changesets,
    ({ path }) => path.split("/")[0] as string,
    () => true,
  );

/** Policy b: nothing of two layers at one path, but directories. */
export const naiveDisjointFiles = (changesets: readonly Changeset[]): NaiveResult =>
  naiveUnion(
    changesets,
    ({ path }) => path,
    (entries) => !entries.every(isDir),
  );

function naiveUnion(
  changesets: readonly Changeset[],
  placeOf: (entry: Entry) => string,
  collide: (entries: readonly Entry[]) => boolean,
): NaiveResult {
  const all = changesets.flatMap((changeset, layer) => changeset.map((entry) => ({ layer, entry })));
  const conflicts: Conflict[] = [];
  for (const { layer, entry } of all) {
    if (isMark(entry)) conflicts.push({ code: "WHITEOUT", path: entry.path, layer });
    if (entry.type === "unresolved") conflicts.push({ code: "HARDLINK_TARGET", path: entry.path, layer });
  }
  const standing = all.filter(({ entry }) => !isMark(entry));
  for (const place of new Set(standing.map(({ entry }) => placeOf(entry)))) {
    const here = standing.filter(({ entry }) => placeOf(entry) === place);
    const byLayer = [...new Set(here.map(({ layer }) => layer))];
    if (byLayer.length < 2 || !collide(here.map(({ entry }) => entry))) continue;
    const sides = byLayer.map((layer) => {
      const own = here.find((thing) => thing.layer === layer && thing.entry.path === place)?.entry;
      return { layer, type: own === undefined ? ("dir" as const) : shownType(own) };
    });
    conflicts.push({ code: "LAYER_OVERLAP", path: place, sides });
  }
  const root: Root = new Map();
  for (const thing of standing) {
    const there = root.get(thing.entry.path);
    if (there === undefined || (there.entry.type === "implied" && thing.entry.type === "dir"))
      root.set(thing.entry.path, thing);
  }
  return { root, conflicts: sorted(conflicts), followed: 0 };
}

function sorted(conflicts: Conflict[]): Conflict[] {
  const key = (conflict: Conflict): [string, number, string] => {
    const layers = "layer" in conflict ? [conflict.layer] : conflict.sides.map(({ layer }) => layer);
    return [conflict.path, layers[0] as number, conflict.code];
  };
  return conflicts.sort((a, b) => {
    const [[pathA, layerA, codeA], [pathB, layerB, codeB]] = [key(a), key(b)];
    return (
      Buffer.from(pathA, "latin1").compare(Buffer.from(pathB, "latin1")) || layerA - layerB || (codeA < codeB ? -1 : 1)
    );
  });
}

/** Policy a: each layer applied over the root that those below it made. */
export function naiveStack(changesets: readonly Changeset[]): NaiveResult {
  const root = new NaiveRoot();
  const conflicts: Conflict[] = [];
  for (const [layer, changeset] of changesets.entries()) conflicts.push(...root.apply(changeset, layer));
  return { root: root.things, conflicts: sorted(conflicts), followed: root.followed };
}

class NaiveRoot {
  things: Root = new Map();
  followed = 0;

  apply(changeset: Changeset, layer: number): Conflict[] {
    const conflicts: Conflict[] = [];
    const found = new Map<Entry, Thing>();
    for (const entry of changeset) {
      if (entry.type !== "unresolved") continue;
      const directory = this.#lookUp(above(entry.target).split("/"), () => false);
      const target = directory === undefined ? undefined : this.things.get(join(directory, last(entry.target)));
      if (target === undefined || isDir(target.entry))
        conflicts.push({ code: "HARDLINK_TARGET", path: entry.path, layer });
      else found.set(entry, target);
    }
    this.#hide(changeset);
    for (const entry of changeset) {
      if (isMark(entry) || (entry.type === "unresolved" && !found.has(entry))) continue;
      this.#add(entry, found.get(entry) ?? { layer, entry });
    }
    return conflicts;
  }

  #hide(changeset: Changeset): void {
    const marks = changeset.filter(isMark).map(({ type, path }) => {
      const marker = type === "opaque" ? join(path, "*") : path;
      return { marker, depth: marker.split("/").length, isOpaque: type === "opaque" };
    });
    marks.sort((a, b) => a.depth - b.depth || (a.marker < b.marker ? -1 : 1));
    const own = changeset.filter((entry) => !isMark(entry) && entry.type !== "implied").map(({ path }) => path);
    const isDeclared = (path: string): boolean => own.includes(path);
    for (const { marker, isOpaque } of marks) {
      const directory = this.#lookUp(above(marker).split("/"), isDeclared);
      if (directory === undefined) continue;
      if (!isOpaque) this.#remove(join(directory, last(marker)));
      else for (const path of [...this.things.keys()]) if (isBelow(path, directory)) this.things.delete(path);
    }
  }

  #add(entry: Entry, thing: Thing): void {
    let directory = "";
    for (const name of above(entry.path).split("/"))
      if (name !== "") directory = this.#enter(directory, name, thing.layer);
    if (entry.type === "implied") {
      this.#enter(directory, last(entry.path), thing.layer);
      return;
    }
    const path = join(directory, last(entry.path));
    if (!(entry.type === "dir" && this.#isDirectory(path))) this.#remove(path);
    this.things.set(path, thing);
  }

  /** As `mkdir -p` would, chrooted into the root and ready to replace what is no directory. */
  #enter(directory: string, name: string, layer: number): string {
    const path = join(directory, name);
    if (this.#isDirectory(path)) return path;
    const target = this.things.get(path)?.entry;
    const end = target?.type === "symlink" ? this.#walk(directory, [name], 0) : undefined;
    if (end === undefined) this.#remove(path);
    this.#makeAll(end ?? path, layer);
    return end ?? path;
  }

  #makeAll(path: string, layer: number): void {
    if (this.#isDirectory(path)) return;
    this.#makeAll(above(path), layer);
    this.things.set(path, { layer, entry: { type: "implied", path } });
  }

  /** The directory that a layer's own path leads to. */
  #lookUp(names: readonly string[], isDeclared: (path: string) => boolean): string | undefined {
    let at: string | undefined = "";
    for (const [i, name] of names.filter((each) => each !== "").entries()) {
      const isLink = this.things.get(join(at, name))?.entry.type === "symlink";
      if (isLink && isDeclared(names.slice(0, i + 1).join("/"))) return undefined;
      at = this.#walk(at, [name], 0);
      if (at === undefined || !this.#isDirectory(at)) return undefined;
    }
    return at;
  }

  /** Where names lead from a directory: a path without symlinks, there or not; undefined for a loop or through a file. */
  #walk(at: string, names: readonly string[], hops: number): string | undefined {
    const [name, ...rest] = names;
    if (name === undefined) return at;
    if (name === "" || name === ".") return this.#walk(at, rest, hops);
    if (name === "..") return this.#walk(above(at), rest, hops);
    const path = join(at, name);
    const entry = this.things.get(path)?.entry;
    if (entry === undefined || isDir(entry)) return this.#walk(path, rest, hops);
    if (entry.type !== "symlink" || hops === 255) return undefined;
    this.followed += 1;
    return this.#walk(entry.target.startsWith("/") ? "" : at, [...entry.target.split("/"), ...rest], hops + 1);
  }

  #isDirectory(path: string): boolean {
    const thing = this.things.get(path);
    return path === "" || (thing !== undefined && isDir(thing.entry));
  }

  #remove(path: string): void {
    for (const each of [...this.things.keys()]) if (each === path || isBelow(each, path)) this.things.delete(each);
  }
}

const join = (directory: string, name: string): string => (directory === "" ? name : `${directory}/${name}`);
const above = (path: string): string => path.split("/").slice(0, -1).join("/");
const last = (path: string): string => path.split("/").at(-1) as string;
const isBelow = (path: string, directory: string): boolean => directory === "" || path.startsWith(`${directory}/`);

/** By path, as text: what stands there, of which layer, and for a file all names of its inode. */
export type Picture = Readonly<Record<string, string>>;

export function pictureOfRoot(root: Root, changesets: readonly Changeset[]): Picture {
  const inodeOf = ({ layer, entry }: Thing): string =>
    `${layer} ${entry.type === "hardlink" ? entry.target : entry.path}`;
  const names = new Map<string, string[]>();
  for (const [path, thing] of root) {
    if (isDir(thing.entry)) continue;
    const inode = inodeOf(thing);
    names.set(inode, [...(names.get(inode) ?? []), path].sort());
  }
  const fileOf = ({ layer, entry }: Thing): Entry =>
    entry.type === "hardlink" ? (changesets[layer]?.find(({ path }) => path === entry.target) as Entry) : entry;
  return Object.fromEntries(
    [...root].map(([path, thing]) => [path, text(thing.layer, fileOf(thing), names.get(inodeOf(thing)) ?? [])]),
  );
}

export function pictureOfPlan(plan: RootPlan): Picture {
  const files = new Map(plan.map(({ entry }) => [entry.path, entry]));
  const names = new Map<string, string[]>();
  for (const { entry } of plan) {
    const first = entry.type === "hardlink" ? entry.target : entry.path;
    names.set(first, [...(names.get(first) ?? []), entry.path].sort());
  }
  return Object.fromEntries(
    plan.map(({ layer, entry }) => {
      const first = entry.type === "hardlink" ? entry.target : entry.path;
      return [entry.path, text(layer, files.get(first) as Entry, names.get(first) as string[])];
    }),
  );
}

function text(layer: number, entry: Entry, names: readonly string[]): string {
  switch (entry.type) {
    case "dir":
      return `dir ${entry.mode} of ${layer}`;
    case "symlink":
      return `symlink to ${entry.target} of ${layer}`;
    case "file":
      return `file ${entry.mode} ${entry.size} ${entry.sha256} of ${layer}, which is ${names.join(" = ")}`;
    default:
      return entry.type;
  }
}
