/**
 * The root as the layers so far make it, under policy a: a tree that is walked as a process chrooted into it would walk it.
 *
 * Symlinks are followed inside the root and nowhere else: an absolute target starts at the root, and `..` never leads above it.
 * Knows no whiteouts and no order of entries; how many symlinks are followed, and how far, is bounded here.
 */
import { StrataError } from "../errors.js";
import { MAX_SYMLINK_HOPS, MAX_SYMLINK_STEPS } from "../limits.js";
import { baseName, isDirectory, parentPath } from "./changeset.js";
import type { Standing } from "./hard-links.js";
import { type PathLimits, refuseFarPath } from "./path-limits.js";
import { type PathNode, PathTree } from "./path-tree.js";

export type RootNode = PathNode<Standing>;

export class MergedRoot {
  readonly tree = new PathTree<Standing>();
  /** How often a directory or a symlink made way for something else: what was found on a way before may be wrong since. */
  replacements = 0;
  readonly #limits: PathLimits;
  #steps = 0;

  constructor(limits: PathLimits) {
    this.#limits = limits;
  }

  /** What stands at a path whose parent may be reached through symlinks; the last component is not followed. */
  find(path: string): RootNode | undefined {
    return this.directoryAt(parentPath(path))?.child(baseName(path));
  }

  /** The directory that a path leads to, through symlinks but for those at paths that `replaces` names; undefined: there is none. */
  directoryAt(path: string, replaces: (path: string) => boolean = () => false): RootNode | undefined {
    let directory = this.tree.root;
    for (let end = 0; end < path.length; ) {
      const start = end === 0 ? 0 : end + 1;
      end = endOfName(path, start);
      const there = directory.child(path.slice(start, end));
      if (there !== undefined && isDirectoryNode(there)) {
        directory = there;
        continue;
      }
      if (there === undefined || replaces(path.slice(0, end))) return undefined;
      const way = this.#follow(there);
      if (way === undefined || way.missing.length > 0) return undefined;
      directory = way.directory;
    }
    return directory;
  }

  /**
   * The directory at `name`, as an entry finds it that stands below: one that is there, one that a symlink there leads to (what is
   * missing on its way is made, for `standing`'s layer), or else a new one.
   */
  enter(directory: RootNode, name: string, standing: Standing): RootNode {
    const there = directory.child(name);
    if (there !== undefined && isDirectoryNode(there)) return there;
    const way = there === undefined ? undefined : this.#follow(there);
    return way === undefined ? this.put(directory, name, standing) : this.#made(way, standing);
  }

  /** The same for each component of `path`, from the root on. */
  enterAll(path: string, layer: number): RootNode {
    let directory = this.tree.root;
    for (let end = 0; end < path.length; ) {
      const start = end === 0 ? 0 : end + 1;
      end = endOfName(path, start);
      directory = this.enter(directory, path.slice(start, end), impliedBy(layer, path.slice(0, end)));
    }
    return directory;
  }

  /** What stood at `name` is gone, with all below it. PATH_TOO_LONG, NAME_TOO_LONG, DEPTH. */
  put(directory: RootNode, name: string, standing: Standing): RootNode {
    const there = directory.child(name);
    if (there !== undefined && (isDirectoryNode(there) || there.value?.entry.type === "symlink"))
      this.replacements += 1;
    const path = directory.pathOf(name);
    const { path: ownPath } = standing.entry;
    if (path === ownPath) return directory.put(name, standing, ownPath);
    // Through a symlink: not the path that was checked when the layer was unpacked.
    refuseFarPath(path, this.#limits);
    return directory.put(name, standing, path);
  }

  /**
   * The way that a symlink leads: to the last directory that is there, and the names below it that are missing. Undefined for a
   * loop, for a way that ends at something else than a directory, and for what is no symlink.
   */
  #follow(link: RootNode): Way | undefined {
    let directory = link;
    const missing: string[] = [];
    const rest: string[] = [];
    let hops = 0;
    const turn = (at: RootNode): boolean => {
      const entry = at.value?.entry;
      if (entry?.type !== "symlink" || hops === MAX_SYMLINK_HOPS) return false;
      hops += 1;
      directory = entry.target.startsWith("/") ? this.tree.root : (at.parent as RootNode);
      const names = entry.target.split("/").reverse();
      this.#countSteps(names.length);
      rest.push(...names);
      return true;
    };
    if (!turn(link)) return undefined;
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (missing.pop() === undefined) directory = directory.parent ?? directory;
        continue;
      }
      const there = missing.length > 0 ? undefined : directory.child(name);
      if (there === undefined) missing.push(name);
      else if (isDirectoryNode(there)) directory = there;
      else if (!turn(there)) return undefined;
    }
    return { directory, missing };
  }

  #countSteps(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MAX_SYMLINK_STEPS)
      throw new StrataError("BAD_LINK", "Cannot plan the root: entries lead through too many symlinks");
  }

  #made({ directory, missing }: Way, { layer }: Standing): RootNode {
    let made = directory;
    for (const name of missing) made = this.put(made, name, impliedBy(layer, ""));
    return made;
  }
}

interface Way {
  readonly directory: RootNode;
  readonly missing: readonly string[];
}

/** Whether a node is a directory; the image root has no value and is one. */
export const isDirectoryNode = ({ value }: RootNode): boolean => value === undefined || isDirectory(value.entry);

const impliedBy = (layer: number, path: string): Standing => ({
  layer,
  from: "",
  entry: { type: "implied", path },
  inode: undefined,
});

function endOfName(path: string, start: number): number {
  const slash = path.indexOf("/", start);
  return slash === -1 ? path.length : slash;
}
