/**
 * What one layer's tar has said so far, in memory: every decision on a new entry is made from here, never from what is on
 * disk (hostile-inputs.md). At the end it is the layer's changeset, depth first.
 */
import { StrataError } from "../src/errors.js";
import { type ImageLimits, MAX_TOP_LEVEL_BYTES } from "../src/limits.js";
import { baseName, type Entry, escapeField, parentPath, type Whiteout } from "../src/overlap/changeset.js";
import { type Folding, foldName } from "../src/overlap/name-folding.js";
import { printableName } from "../src/printable.js";
import type { TopLevelName } from "../src/root-tasks.js";
import { refuseEntry } from "./refuse-entry.js";

export interface DirectoryNode {
  readonly kind: "dir";
  readonly path: string;
  /** Undefined while it is only implied by what stands below it. */
  attributes: { readonly mode: number; readonly mtime: number } | undefined;
  /** What it holds, each leading to the next: half a million directories of one entry each pay for no lists. */
  first: Node | undefined;
  last: Node | undefined;
  next: Node | undefined;
}

/** A file, symlink or hard link; the hash of a file's content comes when it is written. */
export interface LeafNode {
  readonly kind: "leaf";
  readonly path: string;
  entry: Entry;
  next: Node | undefined;
}

export type Node = DirectoryNode | LeafNode;

export class TarIndex {
  readonly root: DirectoryNode = directoryNode("", undefined);
  readonly #nodes = new Map<string, Node>();
  readonly #marks = new Map<string, Whiteout>();
  readonly #limits: ImageLimits;
  /** What the file system makes of a name, where it does not keep all names apart; and each node's path, by that. */
  readonly #folds: ((name: string) => string) | undefined;
  readonly #folded = new Map<string, string>();
  #nameBytes = 0;
  #topLevelBytes = 0;
  #tellTopLevel: (name: TopLevelName) => void = () => undefined;
  #lastParent: DirectoryNode = this.root;

  constructor(limits: ImageLimits, folding?: Folding) {
    this.#limits = limits;
    this.#folds = folding === undefined ? undefined : foldName(folding);
  }

  /** From now on `tell` learns of each name at the image root when it comes. */
  onTopLevel(tell: (name: TopLevelName) => void): void {
    this.#tellTopLevel = tell;
  }

  get(path: string): Node | undefined {
    return this.#nodes.get(path);
  }

  /**
   * The leaf that stands where `path` needs a directory. All directories above a node are nodes, so what there is of the way to
   * `path` ends somewhere, and is searched for its end: a path has up to 127 directories, and there may be as many paths as entries.
   */
  leafAbove(path: string): string | undefined {
    const slashes: number[] = [];
    for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1)) slashes.push(slash);
    const above = (levels: number): string => path.slice(0, slashes[levels - 1]);
    let [there, beyond] = [0, slashes.length + 1];
    while (beyond - there > 1) {
      const middle = (there + beyond) >> 1;
      if (this.#nodes.has(above(middle))) there = middle;
      else beyond = middle;
    }
    return there > 0 && this.#nodes.get(above(there))?.kind === "leaf" ? above(there) : undefined;
  }

  /** Directories and leaves, implied ones included: the inodes of the layer. */
  get size(): number {
    return this.#nodes.size;
  }

  /**
   * The directory that holds `path`; directories that no entry has declared are implied, and `created` is called for each,
   * outermost first. PARENT_NOT_DIR where a component is something else.
   */
  parentOf(path: string, created: (directory: DirectoryNode) => void): DirectoryNode {
    const slash = path.lastIndexOf("/");
    if (slash === -1) return this.root;
    const parentPath = path.slice(0, slash);
    if (this.#lastParent.path === parentPath) return this.#lastParent;
    const known = this.#nodes.get(parentPath);
    if (known?.kind === "leaf") refuseEntry("PARENT_NOT_DIR", path, `${printableName(parentPath)} is no directory`);
    this.#lastParent = known ?? this.#imply(parentPath, created);
    return this.#lastParent;
  }

  #imply(path: string, created: (directory: DirectoryNode) => void): DirectoryNode {
    const parent = this.parentOf(path, created);
    const directory = this.#addDirectory(path, parent, undefined);
    created(directory);
    return directory;
  }

  /** Declares a directory. True where it is new, and so has to be made. DUPLICATE_PATH unless it says the same again. */
  declareDirectory(path: string, parent: DirectoryNode, attributes: { mode: number; mtime: number }): boolean {
    const known = this.#nodes.get(path);
    if (known === undefined) {
      this.#addDirectory(path, parent, attributes);
      return true;
    }
    if (known.kind === "leaf" || (known.attributes !== undefined && known.attributes.mode !== attributes.mode)) {
      return refuseEntry("DUPLICATE_PATH", path, "the archive has this path already");
    }
    known.attributes = attributes;
    return false;
  }

  addLeaf(path: string, parent: DirectoryNode, entry: Entry): LeafNode {
    if (this.#nodes.has(path)) refuseEntry("DUPLICATE_PATH", path, "the archive has this path already");
    const leaf: LeafNode = { kind: "leaf", path, entry, next: undefined };
    this.#add(leaf, parent);
    return leaf;
  }

  /**
   * A whiteout or an opaque marker: it hides lower layers only, so it never collides with this layer's own entries. It may stand
   * below a file or a symlink of this layer: where that took the place of a directory, umoci repack lists what the directory held.
   */
  addMark(entry: Whiteout): void {
    this.#marks.set(`${entry.type} ${entry.path}`, entry);
    this.#refuseTooMany(entry.path);
  }

  /** What stands at the image root: all that policy c looks at. */
  topLevel(): TopLevelName[] {
    const names: TopLevelName[] = [];
    for (let node = this.root.first; node !== undefined; node = node.next) names.push(topLevelName(node));
    return names;
  }

  /** The layer's entries, depth first in the archive's order, then its whiteouts. */
  *changeset(): Generator<Entry> {
    for (const node of this.nodes()) {
      if (node.kind === "leaf") yield node.entry;
      else if (node.attributes === undefined) yield { type: "implied", path: node.path };
      else yield { type: "dir", path: node.path, ...node.attributes };
    }
    yield* this.#marks.values();
  }

  /** All nodes but the root, a directory before what it holds. Without recursion: depth is the archive's choice. */
  *nodes(): Generator<Node> {
    const resume: Node[] = [];
    for (let node = this.root.first; node !== undefined; ) {
      yield node;
      if (node.next !== undefined) resume.push(node.next);
      node = (node.kind === "dir" ? node.first : undefined) ?? resume.pop();
    }
  }

  #addDirectory(path: string, parent: DirectoryNode, attributes: DirectoryNode["attributes"]): DirectoryNode {
    const directory = directoryNode(path, attributes);
    this.#add(directory, parent);
    return directory;
  }

  #add(node: Node, parent: DirectoryNode): void {
    if (this.#folds !== undefined) this.#refuseFolded(node.path, this.#folds);
    this.#nodes.set(node.path, node);
    if (parent.last === undefined) parent.first = node;
    else parent.last.next = node;
    parent.last = node;
    if (parent === this.root) this.#addTopLevel(node);
    const target = node.kind === "leaf" && "target" in node.entry ? node.entry.target : "";
    this.#refuseTooMany(node.path, target);
  }

  #refuseFolded(path: string, folds: (name: string) => string): void {
    const folded = `${parentPath(path)}/${folds(baseName(path))}`;
    const there = this.#folded.get(folded);
    if (there !== undefined)
      refuseEntry("NAME_FOLDING", path, `to the file system its name is the same as ${printableName(there)}`);
    this.#folded.set(folded, path);
  }

  #addTopLevel(node: Node): void {
    this.#topLevelBytes += node.path.length;
    if (this.#topLevelBytes > MAX_TOP_LEVEL_BYTES)
      refuseEntry("LIMIT_BYTES", node.path, `the names at the image root have more than ${MAX_TOP_LEVEL_BYTES} bytes`);
    this.#tellTopLevel(topLevelName(node));
  }

  #refuseTooMany(path: string, target = ""): void {
    const { maxEntriesPerLayer, maxNameBytesPerLayer } = this.#limits;
    if (this.#nodes.size + this.#marks.size > maxEntriesPerLayer) {
      refuseEntry("LIMIT_ENTRIES", path, `the layer has more than ${maxEntriesPerLayer} entries`);
    }
    this.#nameBytes += escapeField(path).length + escapeField(target).length;
    if (this.#nameBytes > maxNameBytesPerLayer) {
      refuseEntry("LIMIT_BYTES", path, `the layer's names have more than ${maxNameBytesPerLayer} bytes`);
    }
  }
}

const directoryNode = (path: string, attributes: DirectoryNode["attributes"]): DirectoryNode => ({
  kind: "dir",
  path,
  attributes,
  first: undefined,
  last: undefined,
  next: undefined,
});

const topLevelName = (node: Node): TopLevelName => [node.path, node.kind === "dir" ? "dir" : node.entry.type];

/** A refusal on the way says which entry it is about. */
export function naming(entry: { readonly index: number; readonly name: string }, action: () => void): void {
  try {
    action();
  } catch (thrown) {
    throw thrown instanceof StrataError
      ? thrown.with({ entryIndex: entry.index, entryName: printableName(entry.name) })
      : thrown;
  }
}
