/**
 * What one layer's archive has said so far, in memory: every decision on a new entry is made from here, never from what is on
 * disk (hostile-inputs.md). At the end it is the layer's changeset, depth first.
 */
import { StrataError } from "../src/errors.js";
import type { ImageLimits } from "../src/limits.js";
import type { Entry } from "../src/overlap/changeset.js";
import { printableName } from "../src/printable.js";

export interface DirectoryNode {
  readonly kind: "dir";
  readonly path: string;
  /** Undefined while it is only implied by what stands below it. */
  attributes: { readonly mode: number; readonly mtime: number } | undefined;
  readonly children: Node[];
  readonly depth: number;
}

/** A file, symlink or hard link; the hash of a file's content comes when it is written. */
export interface LeafNode {
  readonly kind: "leaf";
  readonly path: string;
  entry: Entry;
}

export type Node = DirectoryNode | LeafNode;

/** A whiteout or an opaque marker, and the archive's entry that it comes from. */
export interface Mark {
  readonly entry: Entry & { readonly type: "whiteout" | "opaque" };
  readonly from: { readonly index: number; readonly name: string };
}

export class LayerIndex {
  readonly root: DirectoryNode = { kind: "dir", path: "", attributes: undefined, children: [], depth: 0 };
  readonly #nodes = new Map<string, Node>();
  readonly #marks = new Map<string, Mark>();
  readonly #limits: ImageLimits;
  #nameBytes = 0;
  #lastParent: DirectoryNode = this.root;

  constructor(limits: ImageLimits) {
    this.#limits = limits;
  }

  get(path: string): Node | undefined {
    return this.#nodes.get(path);
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
    if (known?.kind === "leaf") refuse("PARENT_NOT_DIR", path, `${printableName(parentPath)} is no directory`);
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
      return refuse("DUPLICATE_PATH", path, "the archive has this path already");
    }
    known.attributes = attributes;
    return false;
  }

  addLeaf(path: string, parent: DirectoryNode, entry: Entry): LeafNode {
    if (this.#nodes.has(path)) refuse("DUPLICATE_PATH", path, "the archive has this path already");
    const leaf: LeafNode = { kind: "leaf", path, entry };
    this.#add(leaf, parent);
    return leaf;
  }

  /** A whiteout or an opaque marker: it hides lower layers only, so it never collides with this layer's own entries. */
  addMark(mark: Mark): void {
    const { entry } = mark;
    this.#refuseBelowLeaf(entry);
    this.#marks.set(`${entry.type} ${entry.path}`, mark);
    this.#refuseTooMany(entry.path);
  }

  /** All entries are known: what a mark stands below may have come after it. PARENT_NOT_DIR, in any order. */
  refuseMisplacedMarks(): void {
    for (const { entry, from } of this.#marks.values()) naming(from, () => this.#refuseBelowLeaf(entry));
  }

  #refuseBelowLeaf({ type, path }: Entry): void {
    const mark = type === "opaque" ? `${path}/` : path;
    for (let slash = mark.indexOf("/"); slash !== -1; slash = mark.indexOf("/", slash + 1)) {
      const above = mark.slice(0, slash);
      if (this.#nodes.get(above)?.kind === "leaf")
        refuse("PARENT_NOT_DIR", path, `${printableName(above)} is no directory`);
    }
  }

  /** What stands at the image root: all that policy c looks at. */
  topLevel(): [name: string, type: Entry["type"]][] {
    return this.root.children.map((node) => [node.path, node.kind === "dir" ? "dir" : node.entry.type]);
  }

  /** The layer's entries, depth first in the archive's order, then its whiteouts. */
  *changeset(): Generator<Entry> {
    for (const node of this.nodes()) {
      if (node.kind === "leaf") yield node.entry;
      else if (node.attributes === undefined) yield { type: "implied", path: node.path };
      else yield { type: "dir", path: node.path, ...node.attributes };
    }
    for (const { entry } of this.#marks.values()) yield entry;
  }

  /** All nodes but the root, a directory before what it holds. Without recursion: depth is the archive's choice. */
  *nodes(): Generator<Node> {
    const stack: Node[] = [...this.root.children].reverse();
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      yield node;
      if (node.kind === "dir")
        for (let i = node.children.length - 1; i >= 0; i -= 1) stack.push(node.children[i] as Node);
    }
  }

  #addDirectory(path: string, parent: DirectoryNode, attributes: DirectoryNode["attributes"]): DirectoryNode {
    const directory: DirectoryNode = { kind: "dir", path, attributes, children: [], depth: parent.depth + 1 };
    this.#add(directory, parent);
    return directory;
  }

  #add(node: Node, parent: DirectoryNode): void {
    this.#nodes.set(node.path, node);
    parent.children.push(node);
    const target = node.kind === "leaf" && "target" in node.entry ? node.entry.target : "";
    this.#refuseTooMany(node.path, target);
  }

  #refuseTooMany(path: string, target = ""): void {
    const { maxEntriesPerLayer, maxNameBytesPerLayer } = this.#limits;
    if (this.#nodes.size + this.#marks.size > maxEntriesPerLayer) {
      refuse("LIMIT_ENTRIES", path, `the layer has more than ${maxEntriesPerLayer} entries`);
    }
    this.#nameBytes += path.length + target.length;
    if (this.#nameBytes > maxNameBytesPerLayer) {
      refuse("LIMIT_BYTES", path, `the layer's names have more than ${maxNameBytesPerLayer} bytes`);
    }
  }
}

/** A refusal on the way says which entry it is about. */
export function naming(entry: Mark["from"], action: () => void): void {
  try {
    action();
  } catch (thrown) {
    throw thrown instanceof StrataError
      ? thrown.with({ entryIndex: entry.index, entryName: printableName(entry.name) })
      : thrown;
  }
}

function refuse(
  code: "PARENT_NOT_DIR" | "DUPLICATE_PATH" | "LIMIT_ENTRIES" | "LIMIT_BYTES",
  path: string,
  fact: string,
): never {
  throw new StrataError(code, `Cannot unpack ${printableName(path)}: ${fact}`);
}
