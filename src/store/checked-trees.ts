/**
 * What the verifying worker is told of a layer and of a root: where the tree stands, and what it was made of. Pure.
 */
import type { CheckedTree, RootSource } from "../findings.js";
import type { DiffId } from "../oci/digest.js";
import type { LayerDocument } from "../tasks.js";
import type { RootDocument } from "./documents.js";
import { changesetOf, planOf } from "./entries-files.js";
import type { StoreLayout } from "./layout.js";

export function checkedLayer(layout: StoreLayout, layer: LayerDocument): CheckedTree {
  const { diffId } = layer;
  return {
    kind: "layer",
    tree: layout.layerTree(diffId),
    spill: layout.spill(diffId),
    changeset: changesetOf(layout, layer),
  };
}

/** Undefined where one of its layers is not in the store: then nothing tells what it should hold. */
export function checkedRoot(
  layout: StoreLayout,
  { rootId, link, layers, planSha256: sha256 }: RootDocument,
  find: (diffId: DiffId) => LayerDocument | undefined,
): CheckedTree | undefined {
  const documents = layers.flatMap((diffId) => find(diffId) ?? []);
  if (documents.length < layers.length) return undefined;
  const sources = documents.map(({ diffId }) => sourceOf(layout, diffId));
  const lists =
    sha256 === undefined
      ? documents.map((layer, index) => ({
          entries: changesetOf(layout, layer),
          layers: [sources[index] as RootSource],
        }))
      : [{ entries: planOf(layout, rootId, sha256), layers: sources }];
  return { kind: "root", link, tree: layout.rootTree(rootId), lists };
}

const sourceOf = (layout: StoreLayout, diffId: DiffId): RootSource => ({
  tree: layout.layerTree(diffId),
  spill: layout.spill(diffId),
  target: layout.layerFromRoot(diffId),
});
