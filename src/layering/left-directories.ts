/**
 * Directories that a symlink of the tree is led out of: at which its way takes `..`. Whoever moves one of them behind a link sends
 * that symlink elsewhere, and no other symlink: below such a directory and above it `..` leads where it always did.
 *
 * A way is walked as a process chrooted into the tree would walk it, as far as there is something. What a symlink leads through that
 * is a symlink itself is walked for its own sake.
 */
import { MAX_SYMLINK_HOPS, MAX_SYMLINK_STEPS } from "../limits.js";
import { isDirectory, type RootEntry } from "../overlap/changeset.js";
import { AT_ROOT, type SortedTree } from "./sorted-tree.js";

/** For each entry 1 or 0. Undefined where the symlinks lead through too many names to follow them all. */
export function leftDirectories(tree: SortedTree): Uint8Array | undefined {
  const left = new Uint8Array(tree.entries.length);
  const walker = new Walker(tree);
  for (const [index, entry] of tree.entries.entries()) {
    if (entry.type !== "symlink" || !entry.target.includes("..")) continue;
    for (const directory of walker.leavesFrom(index, entry.target)) left[directory] = 1;
    if (walker.steps > MAX_SYMLINK_STEPS) return undefined;
  }
  return left;
}

class Walker {
  steps = 0;
  readonly #tree: SortedTree;
  #indexes: ReadonlyMap<string, number> | undefined;

  constructor(tree: SortedTree) {
    this.#tree = tree;
  }

  *leavesFrom(link: number, target: string): Generator<number> {
    const rest = this.#namesOf(target);
    let at = target.startsWith("/") ? AT_ROOT : this.#parentOf(link);
    let hops = 0;
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      if (name === "" || name === ".") continue;
      if (name === "..") {
        if (at !== AT_ROOT) yield at;
        at = at === AT_ROOT ? AT_ROOT : this.#parentOf(at);
        continue;
      }
      const there = this.#child(at, name);
      const entry = there === undefined ? undefined : this.#tree.entries[there];
      if (there === undefined || entry === undefined) return;
      if (isDirectory(entry)) {
        at = there;
        continue;
      }
      if (entry.type !== "symlink" || hops === MAX_SYMLINK_HOPS || this.steps > MAX_SYMLINK_STEPS) return;
      hops += 1;
      if (entry.target.startsWith("/")) at = AT_ROOT;
      rest.push(...this.#namesOf(entry.target));
    }
  }

  /** The last first. */
  #namesOf(target: string): string[] {
    const names = target.split("/").reverse();
    this.steps += names.length;
    return names;
  }

  #parentOf(index: number): number {
    return this.#tree.parents[index] as number;
  }

  #child(directory: number, name: string): number | undefined {
    this.#indexes ??= new Map(this.#tree.entries.map(({ path }, index) => [path, index]));
    const path = directory === AT_ROOT ? name : `${(this.#tree.entries[directory] as RootEntry).path}/${name}`;
    return this.#indexes.get(path);
  }
}
