/**
 * Random changesets as the unpacker writes them: depth first, every path once, nothing but whiteouts below what is no directory,
 * whiteouts last. Names are few, so that layers meet; a hard link may stand before its file.
 */
import fc from "fast-check";
import { type Changeset, type Entry, isDirectory, parentPath } from "../../src/overlap/changeset.js";
import { dir, file, hardlink, implied, opaque, symlink, unresolved, whiteout } from "./planning.js";

type Kind = "dir" | "file" | "symlink" | "hardlink" | "unresolved" | "whiteout" | "opaque";

/** What one entry of an archive would be; where the unpacker would refuse it, it is left out. */
interface Wish {
  readonly kind: Kind;
  readonly path: string;
  /** Of a symlink. */
  readonly leads: string;
  /** Of a hard link that its layer does not resolve. */
  readonly lacks: string;
  readonly mode: number;
  readonly size: number;
  /** Which of the files so far a hard link is a name of. */
  readonly nth: number;
}

const path = fc.array(fc.constantFrom("a", "ab", "\xff"), { minLength: 1, maxLength: 3 }).map((it) => it.join("/"));
/** Chains, loops, ways out of the root, ways that end nowhere or at a file. */
const leads = fc.oneof(
  path,
  path.map((below) => `/${below}`),
  path.map((below) => `../${below}`),
  fc.constantFrom("/", "..", ".", "../../../a", "a/../ab/./\xff/", "/new/../ab", "new/er", "//a//ab"),
);

/** A kind comes as often as its weight says, and without one never. */
function layerOf(weights: Readonly<Partial<Record<Kind, number>>>): fc.Arbitrary<Changeset> {
  const kinds = Object.entries(weights).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind as Kind) }));
  const wish: fc.Arbitrary<Wish> = fc.record({
    kind: fc.oneof(...kinds),
    path,
    leads,
    lacks: path,
    mode: fc.constantFrom(0o755, 0o700),
    size: fc.nat(2),
    nth: fc.nat(5),
  });
  return fc.array(wish, { maxLength: 12, size: "max" }).map(changesetOf);
}

const linking = layerOf({ dir: 3, symlink: 6, file: 1 });
const anything = layerOf({ dir: 3, file: 4, symlink: 3, hardlink: 2, unresolved: 1, whiteout: 2, opaque: 1 });

/** Layers that use all that a changeset has: entries that land through symlinks, and what speaks of lower layers. */
export const stackedLayers: fc.Arbitrary<readonly Changeset[]> = fc
  .tuple(fc.oneof(linking, anything), fc.array(anything, { maxLength: 3 }))
  .map(([lowest, others]) => [lowest, ...others]);

/** Layers that share directories, and seldom something else. */
export const mergingLayers: fc.Arbitrary<readonly Changeset[]> = fc.array(
  layerOf({ dir: 60, file: 10, symlink: 5, hardlink: 5, unresolved: 1, whiteout: 1, opaque: 1 }),
  { maxLength: 3 },
);

const plainLayer = layerOf({ dir: 3, file: 3, symlink: 1, hardlink: 1 });

/** Layers that may meet: some of their top-level names are the same. */
export const plainLayers: fc.Arbitrary<readonly Changeset[]> = fc
  .array(fc.tuple(plainLayer, fc.constantFrom("", "1", "2", "3", "4")), { maxLength: 5 })
  .map((chosen) => chosen.map(([changeset, suffix]) => apart(changeset, suffix)));

/** Layers that never do. */
export const disjointLayers: fc.Arbitrary<readonly Changeset[]> = fc
  .tuple(plainLayer, plainLayer, plainLayer)
  .map((changesets) => changesets.map((changeset, i) => apart(changeset, `${i}`)));

/** The same with `suffix` behind every top-level name. */
function apart(changeset: Changeset, suffix: string): Changeset {
  const moved = (of: string): string => of.replace(/^[^/]+/, `$&${suffix}`);
  return changeset.map((entry) => ({
    ...entry,
    path: moved(entry.path),
    ...(entry.type === "hardlink" ? { target: moved(entry.target) } : {}),
  }));
}

function changesetOf(wishes: readonly Wish[]): Changeset {
  const entries = new Map<string, Entry>();
  const isFree = (of: string): boolean =>
    ancestors(of).every((above) => isDirectory(entries.get(above) ?? implied(above)));
  const add = (entry: Entry): void => {
    for (const above of ancestors(entry.path)) if (!entries.has(above)) entries.set(above, implied(above));
    entries.set(entry.path, entry);
  };
  for (const wish of wishes) {
    const entry = ownEntry(wish, [...entries.values()]);
    const there = entries.get(wish.path)?.type;
    const isNew = there === undefined || (there === "implied" && entry?.type === "dir");
    if (entry !== undefined && isNew && isFree(wish.path)) add(entry);
  }
  for (const { kind, path, lacks } of wishes) {
    if (kind !== "unresolved" || entries.has(path) || !isFree(path)) continue;
    // What this link and those before it lack has to be missing still when it stands there.
    const link = unresolved(path, lacks);
    const lacking = [link, ...entries.values()].flatMap((each) => (each.type === "unresolved" ? [each.target] : []));
    const added = [...ancestors(path), path];
    const isThere = (target: string): boolean => entries.has(target) || !isFree(target) || added.includes(target);
    if (!lacking.some((target) => isThere(target) || target.startsWith(`${path}/`))) add(link);
  }
  const marks = new Map<string, Entry>();
  for (const { kind, path, nth } of wishes) {
    if (kind === "whiteout") marks.set(`w${path}`, whiteout(path));
    const emptied = nth === 0 ? "" : path;
    if (kind === "opaque") marks.set(`o${emptied}`, opaque(emptied));
  }
  return [...depthFirst([...entries.values()]), ...marks.values()];
}

/** What a wish is of the layer's own, whatever lower layers hold. */
function ownEntry({ kind, path, leads, mode, size, nth }: Wish, soFar: readonly Entry[]): Entry | undefined {
  switch (kind) {
    case "dir":
      return dir(path, mode);
    case "file":
      return { ...file(path, `${path} ${mode}`, size), mode };
    case "symlink":
      return symlink(path, leads);
    case "hardlink": {
      const files = soFar.filter(({ type }) => type === "file");
      const target = files[nth % Math.max(1, files.length)];
      return target === undefined ? undefined : hardlink(path, target.path);
    }
    default:
      return undefined;
  }
}

const ancestors = (path: string): string[] => {
  const above = parentPath(path);
  return above === "" ? [] : [...ancestors(above), above];
};

/** In each directory the order of first coming, as the unpacker's index has it. */
function depthFirst(entries: readonly Entry[], above = ""): Entry[] {
  return entries
    .filter(({ path }) => parentPath(path) === above)
    .flatMap((entry) => [entry, ...(isDirectory(entry) ? depthFirst(entries, entry.path) : [])]);
}
