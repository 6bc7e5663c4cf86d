/**
 * What is installed, in the words of the protocol: roots with their names, layers with the roots that share them. Answers from
 * memory; changes nothing but through the store.
 */
import { StrataError } from "../errors.js";
import type { Layer, ParsedParams, Root } from "../messages.js";
import { printable, printableName } from "../printable.js";
import type { RootDocument } from "./documents.js";
import type { StoredLayer } from "./layers.js";
import type { Store } from "./store.js";

export type RootSelector = ParsedParams<"root/get">;

export class Catalog {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Oldest first. */
  roots(): RootDocument[] {
    return [...this.#store.roots.all()].sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  }

  root(document: RootDocument): Root {
    const { rootId, manifestDigest, overlap, link, layers, bytes, entries, createdAt } = document;
    const { layout, names } = this.#store;
    return {
      rootId,
      path: layout.rootTree(rootId),
      manifestDigest,
      overlap,
      link,
      names: names.of(rootId).map(({ name, generation }) => ({ name, path: layout.name(name), generation })),
      layers,
      bytes,
      entries,
      pinned: false,
      createdAt,
    };
  }

  /** UNKNOWN_NAME, UNKNOWN_ROOT. */
  find({ name, rootId }: RootSelector): RootDocument {
    if (name !== undefined) {
      const current = this.#store.names.current(name);
      const root = current === undefined ? undefined : this.#store.roots.get(current.rootId);
      if (root === undefined)
        throw new StrataError("UNKNOWN_NAME", `Cannot find the name ${printable(name, 128)}: there is none`);
      return root;
    }
    const root = this.#store.roots.get(rootId ?? "");
    if (root === undefined)
      throw new StrataError("UNKNOWN_ROOT", `Cannot find root ${printable(rootId ?? "", 128)}: there is none`);
    return root;
  }

  /** The root that the name had, or the root of that id, as it was; and the ids of all roots that are gone now. */
  async remove(selector: RootSelector): Promise<{ removed: Root; rootIds: string[] }> {
    const removed = this.root(this.find(selector));
    const gone =
      selector.name === undefined
        ? await this.#store.removeRoot(removed.rootId)
        : await this.#store.removeName(selector.name);
    return { removed, rootIds: gone.map(({ rootId }) => rootId) };
  }

  /** Oldest first, each with the roots that share it. */
  layers(): Layer[] {
    const sharing = new Map<string, string[]>();
    for (const { rootId, layers } of this.#store.roots.all()) {
      for (const diffId of new Set(layers)) sharing.set(diffId, [...(sharing.get(diffId) ?? []), rootId]);
    }
    return [...this.#store.layers.all()]
      .sort((a, b) => (a.document.createdAt < b.document.createdAt ? -1 : 1))
      .map((layer) => layerView(layer, sharing.get(layer.document.diffId) ?? []));
  }
}

function layerView({ document, meta }: StoredLayer, roots: string[]): Layer {
  const { diffId, bytes, entries, topLevel, createdAt } = document;
  const { digests, durable, lastUsedAt } = meta;
  return {
    diffId,
    digests,
    bytes,
    entries,
    topLevel: topLevel.map(([name]) => printableName(name)),
    roots,
    durable,
    createdAt,
    lastUsedAt,
  };
}
