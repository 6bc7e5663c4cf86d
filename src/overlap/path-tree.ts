/**
 * A mutable tree of paths below the image root: what placement and the policies build, and read out depth first.
 *
 * A node is one path; what stands there is its value. Paths that come depth first are found without a search, and nothing
 * recurses: depth is an archive's choice. Knows no layer and no policy.
 */
export class PathNode<Value> {
  /** "" is the image root. */
  readonly path: string;
  /** Undefined for the image root, and only for that. */
  readonly parent: PathNode<Value> | undefined;
  value: Value | undefined;
  children: Map<string, PathNode<Value>> | undefined;

  constructor(path: string, parent: PathNode<Value> | undefined, value: Value | undefined) {
    this.path = path;
    this.parent = parent;
    this.value = value;
    this.children = undefined;
  }

  pathOf(name: string): string {
    return this.path === "" ? name : `${this.path}/${name}`;
  }

  child(name: string): PathNode<Value> | undefined {
    return this.children?.get(name);
  }

  /** Puts a new node at `name`: what stood there is gone, with all below it. Who has its path as a string gives it, to have it once. */
  put(name: string, value: Value | undefined, path = this.pathOf(name)): PathNode<Value> {
    const node = new PathNode(path, this, value);
    this.children ??= new Map();
    this.children.set(name, node);
    return node;
  }
}

export class PathTree<Value> {
  readonly root = new PathNode<Value>("", undefined, undefined);
  #last = this.root;

  /** The node of a path that is not ""; made where it is not there, and those above it, all without a value. */
  at(path: string): PathNode<Value> {
    let node = this.#last;
    while (!isBelow(path, node.path)) node = node.parent ?? this.root;
    for (let start = node === this.root ? 0 : node.path.length + 1; start <= path.length; ) {
      const slash = path.indexOf("/", start);
      const end = slash === -1 ? path.length : slash;
      const name = path.slice(start, end);
      node = node.child(name) ?? node.put(name, undefined, path.slice(0, end));
      start = end + 1;
    }
    this.#last = node;
    return node;
  }

  /** All nodes but the root's, depth first: a directory before what it holds, and in it in the order of its names' first coming. */
  *nodes(): Generator<PathNode<Value>> {
    const open = [valuesOf(this.root)];
    for (let directory = open.at(-1); directory !== undefined; directory = open.at(-1)) {
      const next = directory.next();
      if (next.done === true) {
        open.pop();
        continue;
      }
      yield next.value;
      if (next.value.children !== undefined) open.push(valuesOf(next.value));
    }
  }
}

const isBelow = (path: string, directory: string): boolean =>
  directory === "" || (path.startsWith(directory) && path[directory.length] === "/");

const valuesOf = <Value>({ children }: PathNode<Value>): Iterator<PathNode<Value>> => (children ?? new Map()).values();
