/**
 * Random families of images that have much in common, and what a person would say of a tree: computed from nothing but its entries,
 * with nothing of src/repack.
 */
import fc from "fast-check";
import type { ImageTree } from "../../src/layering/plan-repack.js";
import { isDirectory, parentPath, type RootEntry } from "../../src/overlap/changeset.js";

interface Wish {
  readonly kind: "dir" | "file" | "symlink" | "hardlink" | "implied";
  readonly path: string;
  readonly leads: string;
  /** By image: undefined, it is not there; else which of its variants. */
  readonly variants: readonly (0 | 1 | undefined)[];
  readonly size: number;
  /** Which of the files so far a hard link is a name of. */
  readonly nth: number;
}

export interface FamilyOptions {
  readonly images: number;
  readonly maxEntries: number;
  /** Names that paths are made of. */
  readonly names?: readonly string[];
  readonly maxDepth?: number;
}

export function family({
  images,
  maxEntries,
  names = ["a", "b", "c-", "c"],
  maxDepth = 4,
}: FamilyOptions): fc.Arbitrary<ImageTree[]> {
  const path = fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: maxDepth }).map((it) => it.join("/"));
  const leads = fc.oneof(
    path,
    path.map((below) => `/${below}`),
    path.map((below) => `../${below}`),
    fc.tuple(path, path).map(([there, below]) => `${there}/../${below}`),
    fc.constantFrom("..", ".", "../..", "../../../a", "nowhere/../a"),
  );
  const variant = fc.constantFrom<0 | 1 | undefined>(0, 0, 0, 0, 1, undefined);
  const wish: fc.Arbitrary<Wish> = fc.record({
    kind: fc.constantFrom("dir", "dir", "file", "file", "file", "file", "symlink", "hardlink", "implied"),
    path,
    leads,
    variants: fc.oneof(
      fc.constant(Array.from({ length: images }, () => 0 as const)),
      fc.array(variant, { minLength: images, maxLength: images }),
    ),
    size: fc.constantFrom(0, 1, 10, 4000, 5000, 70_000),
    nth: fc.nat(5),
  });
  return fc
    .array(wish, { maxLength: maxEntries, size: "max" })
    .map((wishes) => Array.from({ length: images }, (_, image) => treeOf(wishes, image)));
}

function treeOf(wishes: readonly Wish[], image: number): ImageTree {
  const entries = new Map<string, RootEntry>();
  for (const { kind, path, leads, variants, size, nth } of wishes) {
    const variant = variants[image];
    if (variant === undefined || (entries.has(path) && !(kind === "dir" && entries.get(path)?.type === "implied")))
      continue;
    const above = ancestors(path);
    if (!above.every((each) => isDirectory(entries.get(each) ?? { type: "implied", path: each }))) continue;
    const files = [...entries.values()].filter(({ type }) => type === "file");
    const target = files[nth % Math.max(1, files.length)]?.path;
    const entry = entryOf({ kind, path, leads, variant, size, target });
    if (entry === undefined) continue;
    for (const each of above) if (!entries.has(each)) entries.set(each, { type: "implied", path: each });
    entries.set(path, entry);
  }
  return depthFirst([...entries.values()]);
}

interface Chosen extends Pick<Wish, "kind" | "path" | "leads" | "size"> {
  readonly variant: 0 | 1;
  readonly target: string | undefined;
}

function entryOf({ kind, path, leads, variant, size, target }: Chosen): RootEntry | undefined {
  switch (kind) {
    case "dir":
      // Variants differ in one of the two.
      return {
        type: "dir",
        path,
        mode: size < 20 && variant === 1 ? 0o700 : 0o755,
        mtime: size < 20 ? 5 : 5 + variant,
      };
    case "implied":
      return { type: "implied", path };
    case "file":
      return { type: "file", path, mode: 0o644, mtime: 7, size, sha256: `${size}`.padStart(63, "0") + variant };
    case "symlink":
      return { type: "symlink", path, mtime: 3, target: variant === 0 ? leads : `${leads}/.` };
    case "hardlink":
      return target === undefined ? undefined : { type: "hardlink", path, target };
  }
}

const ancestors = (path: string): string[] => {
  const above = parentPath(path);
  return above === "" ? [] : [...ancestors(above), above];
};

/** In each directory in the order of `rank`, else of first coming. */
export function depthFirst(
  entries: readonly RootEntry[],
  rank: (path: string) => number = () => 0,
  above = "",
): RootEntry[] {
  return entries
    .filter(({ path }) => parentPath(path) === above)
    .sort((a, b) => rank(a.path) - rank(b.path))
    .flatMap((entry) => [entry, ...(isDirectory(entry) ? depthFirst(entries, rank, entry.path) : [])]);
}

/** By path what stands there, as text; a file with all its names. */
export function pictureOf(tree: ImageTree): Record<string, string> {
  const byPath = new Map(tree.map((entry) => [entry.path, entry]));
  const fileOf = (entry: RootEntry): RootEntry =>
    entry.type === "hardlink" ? (byPath.get(entry.target) as RootEntry) : entry;
  const names = (file: RootEntry): string =>
    tree
      .filter((entry) => fileOf(entry) === file)
      .map(({ path }) => path)
      .sort()
      .join(" = ");
  const text = (entry: RootEntry): string => {
    const { path: _path, ...facts } = fileOf(entry);
    return facts.type === "file" ? `${JSON.stringify(facts)} ${names(fileOf(entry))}` : JSON.stringify(facts);
  };
  return Object.fromEntries(
    tree.map((entry): [string, string] => [entry.path, text(entry)]).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** What a process chrooted into the tree comes to that opens the path; undefined where there is nothing. */
export function opened(tree: ReadonlyMap<string, RootEntry>, path: string, from = ""): string | undefined {
  let at = path.startsWith("/") ? "" : from;
  const rest = path.split("/").reverse();
  let hops = 0;
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (at !== "" && !isDirectory(tree.get(at) as RootEntry)) return undefined;
    if (name === "" || name === ".") continue;
    if (name === "..") {
      at = parentPath(at);
      continue;
    }
    const there = at === "" ? name : `${at}/${name}`;
    const entry = tree.get(there);
    if (entry === undefined) return undefined;
    if (entry.type !== "symlink") {
      at = there;
      continue;
    }
    hops += 1;
    if (hops > 100) return undefined;
    if (entry.target.startsWith("/")) at = "";
    rest.push(...entry.target.split("/").reverse());
  }
  return at;
}

export const bytesOf = (entries: ImageTree): number =>
  entries.reduce((sum, entry) => sum + (entry.type === "file" ? entry.size : 0), 0);
