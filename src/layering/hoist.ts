/**
 * Hoisting: what images share below their top-level entries goes to directories at the image root, one for each set of images, and
 * links stand in its place. The trees that come out resolve to those that went in (hoisted-links.ts), and share whole top-level entries.
 *
 * A directory is named after all that it holds. It may hold links to those of wider sets, which are made first.
 */
import { createHash } from "node:crypto";
import { byteOrder, encodeEntry, isDirectory, parentPath, type RootEntry } from "../overlap/changeset.js";
import { type Homes, hoistedHomes } from "./hoistable.js";
import { hoistedName, hoistedTarget } from "./hoisted-links.js";
import { NO_SIGNATURE, type Signatures } from "./image-sets.js";
import type { PathUnits } from "./path-units.js";
import { ADDED, AT_ROOT, contentBytes, type SortedTree, sortedTree } from "./sorted-tree.js";
import { subtrees } from "./subtrees.js";

export interface HoistedTrees {
  /** Their sources are entries of the trees that went in. */
  readonly trees: readonly SortedTree[];
  readonly links: number;
  readonly bytes: number;
}

/** What is hoisted for one set of images, and where. */
interface Hoard {
  readonly name: string;
  readonly bytes: number;
  /** Below the name: what images have, links in the place of what they have, and directories that lead there. */
  readonly entries: readonly { readonly entry: RootEntry; readonly kind: "own" | "link" | "way" }[];
}

export interface HoistOptions {
  /** Of the trees. */
  readonly units: PathUnits;
  readonly known: Signatures;
  /** Nothing at or around such a path is moved, nor below it. */
  readonly keeps: (path: string) => boolean;
}

/** No tree has a name like those that hoisting makes. */
export function hoistShared(trees: readonly SortedTree[], { units, known, keeps }: HoistOptions): HoistedTrees {
  const homes = hoistedHomes(trees, subtrees(trees, units, known), { known, keeps });
  const shares = trees.map((tree, image) => sharesOf(tree, homes, image));
  const hoards = new Map<number, Hoard>();
  for (const signature of widestFirst(shares, known)) {
    const speaker = known.speaker(signature);
    const share = shares[speaker]?.get(signature) as Share;
    hoards.set(signature, hoardOf(trees[speaker] as SortedTree, share, hoards));
  }
  return {
    trees: trees.map((tree, image) => hoistedTree(tree, shares[image] as Shares, hoards)),
    links: homes.isHoisted.reduce((sum, each) => sum + each.reduce((links, is) => links + is, 0), 0),
    bytes: [...hoards.values()].reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/** What one image has in one place, in the order of its tree. */
type Share = readonly {
  readonly index: number;
  /** Of a link in its place: whose hoard that leads to. */
  readonly leadsTo?: number;
}[];
/** By the images (a signature) that it is hoisted for; NO_SIGNATURE: what stays. */
type Shares = ReadonlyMap<number, Share>;

function sharesOf({ parents }: SortedTree, { homeOf, isHoisted }: Homes, image: number): Shares {
  const shares = new Map<number, { index: number; leadsTo?: number }[]>();
  const put = (home: number, standing: { index: number; leadsTo?: number }): void => {
    const share = shares.get(home);
    if (share === undefined) shares.set(home, [standing]);
    else share.push(standing);
  };
  const homes = homeOf[image] as Int32Array;
  for (const [index, home] of homes.entries()) {
    if (isHoisted[image]?.[index] === 1) put(homes[parents[index] as number] as number, { index, leadsTo: home });
    put(home, { index });
  }
  return shares;
}

/** What is hoisted for some images leads only to what is hoisted for them and others. */
function widestFirst(shares: readonly Shares[], known: Signatures): number[] {
  const signatures = new Set(shares.flatMap((each) => [...each.keys()]));
  signatures.delete(NO_SIGNATURE);
  return [...signatures].sort((a, b) => known.images(b).length - known.images(a).length);
}

function hoardOf(tree: SortedTree, share: Share, hoards: ReadonlyMap<number, Hoard>): Hoard {
  const entries: { entry: RootEntry; kind: "own" | "link" | "way" }[] = [];
  const ways = new Set<string>();
  const stands = new Set<number>();
  const hash = createHash("sha256");
  let bytes = 0;
  for (const { index, leadsTo } of share) {
    const own = tree.entries[index] as RootEntry;
    const parent = tree.parents[index] as number;
    if (!stands.has(parent))
      for (const path of missingWays(own.path, ways)) entries.push({ entry: { type: "implied", path }, kind: "way" });
    if (leadsTo === undefined && isDirectory(own)) stands.add(index);
    // As deep as it will stand: the name itself hangs on this.
    const entry = leadsTo === undefined ? own : linkTo(own, `${NAMELESS}/${own.path}`, hoards.get(leadsTo) as Hoard);
    hash.update(`${encodeEntry(entry)}\n`, "latin1");
    entries.push({ entry, kind: leadsTo === undefined ? "own" : "link" });
    bytes += contentBytes(entry);
  }
  const name = hoistedName(hash.digest("hex"));
  const moved = entries.map(({ entry, kind }) => ({ entry: below(name, entry), kind }));
  return { name, bytes, entries: [{ entry: { type: "implied", path: name }, kind: "way" }, ...moved] };
}

const NAMELESS = "-";

/** The directories above a path that are not there yet, the outermost first. */
function missingWays(path: string, ways: Set<string>): string[] {
  const missing: string[] = [];
  for (let above = parentPath(path); above !== "" && !ways.has(above); above = parentPath(above)) {
    ways.add(above);
    missing.push(above);
  }
  return missing.reverse();
}

function below(name: string, entry: RootEntry): RootEntry {
  const path = `${name}/${entry.path}`;
  return entry.type === "hardlink" ? { ...entry, path, target: `${name}/${entry.target}` } : { ...entry, path };
}

/** With the time of what it leads to. */
function linkTo(entry: RootEntry, place: string, { name }: Hoard): RootEntry {
  const mtime = "mtime" in entry ? entry.mtime : 0;
  return { type: "symlink", path: entry.path, mtime, target: hoistedTarget(place, name, entry.path) };
}

/** A run for each top-level name: in their order they are the tree. */
function hoistedTree(tree: SortedTree, shares: Shares, hoards: ReadonlyMap<number, Hoard>): SortedTree {
  const runs = [...shares].flatMap(([home, share]) => {
    const hoard = hoards.get(home);
    return hoard === undefined ? stayingRuns(tree, share, hoards) : [hoistedRun(hoard, share)];
  });
  runs.sort((a, b) => byteOrder(a.top, b.top));
  return sortedTree(
    runs.flatMap(({ entries }) => entries),
    runs.flatMap(({ sources }) => sources),
  );
}

interface Run {
  readonly top: string;
  readonly entries: RootEntry[];
  readonly sources: number[];
}

function stayingRuns(tree: SortedTree, share: Share, hoards: ReadonlyMap<number, Hoard>): Run[] {
  const runs: Run[] = [];
  for (const { index, leadsTo } of share) {
    const own = tree.entries[index] as RootEntry;
    if (tree.parents[index] === AT_ROOT) runs.push({ top: own.path, entries: [], sources: [] });
    const run = runs.at(-1) as Run;
    run.entries.push(leadsTo === undefined ? own : linkTo(own, own.path, hoards.get(leadsTo) as Hoard));
    run.sources.push(leadsTo === undefined ? index : ADDED);
  }
  return runs;
}

function hoistedRun({ name, entries }: Hoard, share: Share): Run {
  let next = 0;
  const sources = entries.map(({ kind }) => {
    const standing = kind === "way" ? undefined : share[next];
    if (kind !== "way") next += 1;
    return kind === "own" ? (standing?.index ?? ADDED) : ADDED;
  });
  return { top: name, entries: entries.map(({ entry }) => entry), sources };
}
