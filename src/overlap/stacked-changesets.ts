/**
 * Policy a: layers are changesets, each applied over those below it, as image-spec v1.1 layer.md says; the judge is `umoci unpack`.
 *
 * They are applied to a tree in memory: layers are unpacked once, in parallel, and only what is left of them is linked. Of each layer
 * first its hard links into lower layers are looked up, then its whiteouts are applied, then its entries: a whiteout hides
 * the same wherever it stands in its archive, and never what its own layer has. Where two entries of one layer land on one
 * path, which takes a symlink of a lower layer, the later in the changeset wins.
 */
import { baseName, byteOrder, type Entry, isWhiteout, parentPath, type Whiteout } from "./changeset.js";
import { planOf, type Standing, standings } from "./hard-links.js";
import { isDirectoryNode, MergedRoot, type RootNode } from "./merged-root.js";
import type { PathLimits } from "./path-limits.js";
import type { PlacedLayer } from "./placement.js";
import type { Conflict, PlanResult } from "./plan-root.js";

export function stackedChangesets(layers: readonly PlacedLayer[], limits: PathLimits): PlanResult {
  const root = new MergedRoot(limits);
  const conflicts: Conflict[] = [];
  for (const [layer, placed] of layers.entries()) {
    const inherited = inheritedFiles(root, placed);
    hide(root, placed);
    const applied = new AppliedLayer(root, layer);
    for (const standing of standings(layer, placed)) {
      const { path, type } = standing.entry;
      const what = type === "unresolved" ? inherited.get(path) : standing;
      if (what === undefined) conflicts.push({ code: "HARDLINK_TARGET", path, layer });
      else applied.add(path, what);
    }
  }
  return conflicts.length > 0 ? { ok: false, conflicts } : { ok: true, plan: planOf(root.tree) };
}

/**
 * What each unresolved hard link of a layer is a name of, by the link's path: what stands at its target before the layer is
 * applied. A link whose target is missing or a directory is left out.
 */
function inheritedFiles(root: MergedRoot, { entries }: PlacedLayer): ReadonlyMap<string, Standing> {
  const found = new Map<string, Standing>();
  for (const { entry } of entries) {
    if (entry.type !== "unresolved") continue;
    const target = root.find(entry.target);
    if (target?.value === undefined || isDirectoryNode(target)) continue;
    const { value } = target;
    if (value.entry.type === "file") value.inode ??= { file: value.entry, planned: undefined };
    found.set(entry.path, value);
  }
  return found;
}

/** A layer's whiteouts on what lower layers hold. */
function hide(root: MergedRoot, { entries }: PlacedLayer): void {
  let declared: ReadonlySet<string> | undefined;
  // What the layer itself has in the place of a lower symlink replaces that: nothing below it is the lower layers'.
  const replaces = (path: string): boolean => {
    declared ??= new Set(entries.flatMap(({ entry }) => (isDeclared(entry) ? [entry.path] : [])));
    return declared.has(path);
  };
  for (const { type, path } of shallowFirst(entries.map(({ entry }) => entry).filter(isWhiteout))) {
    if (type === "whiteout") root.directoryAt(parentPath(path), replaces)?.children?.delete(baseName(path));
    else root.directoryAt(path, replaces)?.children?.clear();
  }
}

const isDeclared = (entry: Entry): boolean => !isWhiteout(entry) && entry.type !== "implied";

/** By the depth of the file that is the whiteout in the archive, then by path: the first may be a symlink on the others' way. */
function shallowFirst(whiteouts: readonly Whiteout[]): Whiteout[] {
  const withDepth = whiteouts.map((whiteout) => ({ whiteout, depth: depthOf(whiteout) }));
  withDepth.sort((a, b) => a.depth - b.depth || byteOrder(a.whiteout.path, b.whiteout.path));
  return withDepth.map(({ whiteout }) => whiteout);
}

function depthOf({ type, path }: Whiteout): number {
  if (path === "") return 1;
  return path.split("/").length + (type === "opaque" ? 1 : 0);
}

/** One layer's entries on their way into the root, in their order. */
class AppliedLayer {
  readonly #root: MergedRoot;
  readonly #layer: number;
  /** The directories down to the last entry: their paths in the changeset, and the directories of the root that these led to. */
  readonly #way: { readonly path: string; readonly directory: RootNode }[];
  #replacements: number;

  constructor(root: MergedRoot, layer: number) {
    this.#root = root;
    this.#layer = layer;
    this.#way = [{ path: "", directory: root.tree.root }];
    this.#replacements = root.replacements;
  }

  add(path: string, standing: Standing): void {
    const directory = this.#parentOf(path);
    const name = baseName(path);
    switch (standing.entry.type) {
      case "implied":
        this.#way.push({ path, directory: this.#root.enter(directory, name, standing) });
        return;
      case "dir":
        this.#way.push({ path, directory: this.#declare(directory, name, standing) });
        return;
      default:
        this.#root.put(directory, name, standing);
    }
  }

  /** A directory over a directory gives it its own attributes; over anything else, a symlink too, it is a new one. */
  #declare(directory: RootNode, name: string, standing: Standing): RootNode {
    const there = directory.child(name);
    if (there === undefined || !isDirectoryNode(there)) return this.#root.put(directory, name, standing);
    there.value = standing;
    return there;
  }

  #parentOf(path: string): RootNode {
    this.#forgetWhatWasReplaced();
    const parent = parentPath(path);
    while (this.#way.length > 1 && this.#last.path !== parent) this.#way.pop();
    if (this.#last.path !== parent)
      this.#way.push({ path: parent, directory: this.#root.enterAll(parent, this.#layer) });
    return this.#last.directory;
  }

  /** An entry that came through a symlink may have replaced a directory or a symlink that the way leads through. */
  #forgetWhatWasReplaced(): void {
    if (this.#replacements === this.#root.replacements) return;
    this.#replacements = this.#root.replacements;
    const { path, directory } = this.#last;
    if (path !== directory.path) this.#way.length = 1;
  }

  get #last(): { readonly path: string; readonly directory: RootNode } {
    return this.#way.at(-1) as { readonly path: string; readonly directory: RootNode };
  }
}
