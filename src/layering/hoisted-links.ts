/**
 * What hoisting leaves behind: directories `.strata-<digest>` at the image root, in which things stand at the paths that they had, and
 * in the place of each thing a relative symlink to it. Resolving these links gives the tree that was hoisted.
 */
import { type RootEntry, topLevelOf } from "../overlap/changeset.js";
import { leftDirectories } from "./left-directories.js";
import type { ImageTree } from "./plan-repack.js";
import { ADDED, AT_ROOT, type SortedTree, sortedTree } from "./sorted-tree.js";

const HOISTED = /^\.strata-[0-9a-f]{32}$/;
const LEADS_TO_HOISTED = /^(?:\.\.\/)*(\.strata-[0-9a-f]{32})\//;

export const hoistedName = (digest: string): string => `.strata-${digest.slice(0, 32)}`;
const isHoistedName = (name: string): boolean => HOISTED.test(name);
/** How many bytes longer a path is that was hoisted, and how much deeper. */
export const HOISTED_BYTES = ".strata-/".length + 32;
export const HOISTED_DEPTH = 1;

/** The target of the link that stands at `place` and leads to what is hoisted from `path` to below `name`. */
export const hoistedTarget = (place: string, name: string, path: string): string =>
  `${"../".repeat(place.split("/").length - 1)}${name}/${path}`;

/**
 * The tree before hoisting, in the order that all trees have here (sorted-tree.ts); a tree that hoisting did not make stays as it is but
 * for that order. Two trees are the same after resolving where this gives equal lists.
 */
export function resolveHoisted(tree: ImageTree): ImageTree {
  return resolvedTree(tree).tree.entries;
}

/** Also whether names are left in the tree that hoisting would make. */
export function resolvedTree(image: ImageTree): { readonly tree: SortedTree; readonly isForeign: boolean } {
  const tree = sortedTree(image);
  const isHoisted = tree.entries.some(({ path }, index) => tree.parents[index] === AT_ROOT && isHoistedName(path));
  if (!isHoisted) return { tree, isForeign: false };
  const resolved = withoutLinks(tree);
  return resolved === undefined ? { tree, isForeign: true } : { tree: resolved, isForeign: false };
}

/**
 * Undefined where there is anything below a hoisted name that no link leads to, or in a place that something else has, or where
 * a symlink would lead elsewhere than it does.
 */
function withoutLinks(tree: SortedTree): SortedTree | undefined {
  const { links, roots } = hoistedLinks(tree);
  const entries: RootEntry[] = [];
  const sources: number[] = [];
  const isRoot = new Uint8Array(tree.entries.length);
  const isNeeded = new Uint8Array(tree.entries.length);
  for (let index = tree.entries.length - 1; index >= 0; index -= 1) {
    const parent = tree.parents[index] as number;
    if (roots.has((tree.entries[index] as RootEntry).path)) isNeeded[index] = 1;
    if (isNeeded[index] === 1 && parent !== AT_ROOT) isNeeded[parent] = 1;
  }
  for (const [index, entry] of tree.entries.entries()) {
    const parent = tree.parents[index] as number;
    if (roots.has(entry.path) || (parent !== AT_ROOT && isRoot[parent] === 1)) isRoot[index] = 1;
    if (isHoistedName(topLevelOf(entry.path)) && isRoot[index] === 0) {
      if (isNeeded[index] === 0 || links.has(index)) return undefined;
      continue;
    }
    if (links.has(index)) continue;
    const path = formerPath(entry.path);
    const moved = entry.type === "hardlink" ? { ...entry, path, target: formerPath(entry.target) } : { ...entry, path };
    entries.push(path === entry.path && entry.type !== "hardlink" ? entry : moved);
    sources.push(tree.sources[index] ?? ADDED);
  }
  if (!isTree(entries)) return undefined;
  const resolved = sortedTree(entries, sources);
  const left = leftDirectories(resolved);
  const formerRoots = new Set(Array.from(roots, formerPath));
  const leadsElsewhere = (index: number): boolean => left?.[index] === 1;
  const isHarmless = resolved.entries.every(({ path }, index) => !formerRoots.has(path) || !leadsElsewhere(index));
  return left !== undefined && isHarmless ? resolved : undefined;
}

/** The links that lead to what was hoisted from their place (indexes), and where they lead. */
function hoistedLinks(tree: SortedTree): { links: ReadonlySet<number>; roots: ReadonlySet<string> } {
  const below = new Set<string>();
  for (const { path, type } of tree.entries)
    if (type !== "symlink" && type !== "hardlink" && isHoistedName(topLevelOf(path))) below.add(path);
  const links = new Set<number>();
  const roots = new Set<string>();
  for (const [index, entry] of tree.entries.entries()) {
    if (entry.type !== "symlink") continue;
    const name = LEADS_TO_HOISTED.exec(entry.target)?.[1];
    const path = formerPath(entry.path);
    if (name === undefined || entry.target !== hoistedTarget(entry.path, name, path)) continue;
    if (!below.has(`${name}/${path}`)) continue;
    links.add(index);
    roots.add(`${name}/${path}`);
  }
  return { links, roots };
}

/** Without the hoisted name before it. */
function formerPath(path: string): string {
  const top = topLevelOf(path);
  return isHoistedName(top) ? path.slice(top.length + 1) : path;
}

/** Every path stands once, in a directory, and every hard link has its file. */
function isTree(entries: readonly RootEntry[]): boolean {
  const types = new Map(entries.map(({ path, type }) => [path, type]));
  const isIn = (path: string): boolean => {
    const slash = path.lastIndexOf("/");
    const above = slash === -1 ? "implied" : types.get(path.slice(0, slash));
    return above === "dir" || above === "implied";
  };
  if (types.size !== entries.length) return false;
  return entries.every(
    (entry) => isIn(entry.path) && (entry.type !== "hardlink" || types.get(entry.target) === "file"),
  );
}
