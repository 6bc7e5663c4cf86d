/**
 * Random changesets as the unpacker writes them: depth first, every path once, a hard link after nothing but its target's layer.
 */
import fc from "fast-check";
import type { Changeset, Entry } from "../../src/overlap/changeset.js";

/** A directory is a map of its names; anything else a leaf. */
export interface Node {
  readonly kind: "dir" | "implied" | "file" | "symlink";
  readonly children: Readonly<Record<string, Node>>;
  readonly size: number;
}

const { tree } = fc.letrec<{ tree: Readonly<Record<string, Node>> }>((tie) => ({
  tree: fc.dictionary(
    fc.constantFrom("a", "b", "c", "d\xff", "e\n"),
    fc.record({
      kind: fc.constantFrom("dir", "implied", "file", "symlink"),
      children: fc.oneof({ depthSize: "small", withCrossShrink: true }, fc.constant({}), tie("tree")),
      size: fc.nat(3),
    }),
    { maxKeys: 4, noNullPrototype: true },
  ),
}));

/** A tree whose top-level names end in `suffix`; layers of other suffixes are disjoint. */
export function layer(suffix: string): fc.Arbitrary<Changeset> {
  return tree.map((root) => {
    const entries: Entry[] = [];
    const add = (nodes: Readonly<Record<string, Node>>, above: string, end: string): void => {
      for (const [name, node] of Object.entries(nodes)) {
        const path = `${above}${name}${end}`;
        // A directory that no entry declares has something below it.
        const isEmpty = Object.keys(node.children).length === 0;
        if (node.kind === "dir" || (node.kind === "implied" && isEmpty))
          entries.push({ type: "dir", path, mode: 0o755, mtime: 7 });
        else if (node.kind === "implied") entries.push({ type: "implied", path });
        else if (node.kind === "symlink") entries.push({ type: "symlink", path, mtime: 7, target: "../x" });
        else entries.push({ type: "file", path, mode: 0o644, mtime: 7, size: node.size, sha256: "0".repeat(64) });
        if (node.kind === "dir" || node.kind === "implied") add(node.children, `${path}/`, "");
      }
    };
    add(root, "", suffix);
    const target = entries.find(({ type }) => type === "file");
    if (target !== undefined) entries.push({ type: "hardlink", path: `hard${suffix}`, target: target.path });
    return entries;
  });
}

/** Layers that may meet: some of their top-level names are the same. */
export const layers: fc.Arbitrary<readonly Changeset[]> = fc
  .array(fc.constantFrom("", "1", "2", "3", "4"), { maxLength: 5 })
  .chain((suffixes) => fc.tuple(...suffixes.map(layer)));

/** Layers that never do. */
export const disjointLayers: fc.Arbitrary<readonly Changeset[]> = fc.tuple(layer("1"), layer("2"), layer("3"));
