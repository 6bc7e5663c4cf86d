/**
 * What is installed, in the words of the protocol: roots with their names, layers with the roots that share them. Answers from
 * memory; changes nothing but through the store.
 */
import { StrataError } from "../errors.js";
import { MAX_SNAPSHOT_BYTES } from "../limits.js";
import type { Layer } from "../messages/layer.js";
import type { ParsedParams } from "../messages/methods.js";
import type { Hold, NameGeneration, Root } from "../messages/root.js";
import type { StoreUsage as StoreUsageView } from "../messages/usage.js";
import { printable, printableName } from "../printable.js";
import { inSlices, type Steps } from "../slices.js";
import { cursorBehind, type Page, type PageQuery } from "./by-age.js";
import type { NameDocument, RootDocument } from "./documents.js";
import { currentOf } from "./generations.js";
import type { KeptNow } from "./holds.js";
import type { StoredLayer } from "./layers.js";
import type { Store } from "./store.js";
import type { StoreUsage, Usage } from "./usage.js";

export type RootSelector = ParsedParams<"root/get">;

/** What a rollback did to a name. */
export interface RollbackView {
  /** As it was; absent where it is gone. */
  readonly had?: Root;
  readonly has: Root;
  /** The current generation now. */
  readonly generation: number;
  /** False where that was current already. */
  readonly flipped: boolean;
}

export class Catalog {
  readonly #store: Store;
  readonly #usage: StoreUsage;

  /** The store is open. */
  constructor(store: Store) {
    this.#store = store;
    this.#usage = store.usage;
  }

  /** Oldest first. */
  roots(query: PageQuery): Page<Root> {
    const { items, ...rest } = this.#store.roots.page(query);
    return { items: items.map((root) => this.root(root)), ...rest };
  }

  /**
   * The roots that stand in this moment, oldest first, with the names and pins that they have in it, whatever changes while they are
   * viewed; the bytes that they share with others are those of a moment later. As many as MAX_SNAPSHOT_BYTES take: a cursor for more.
   */
  snapshot(): Promise<Page<Root>> {
    const { roots, names, holds } = this.#store;
    const documents = roots.page(EVERYTHING).items;
    return inSlices(this.#viewAll(documents, names.all(), holds.now()));
  }

  *#viewAll(documents: readonly RootDocument[], named: readonly NameDocument[], kept: KeptNow): Steps<Page<Root>> {
    const names = yield* namesByRoot(named);
    const items: Root[] = [];
    let bytes = 0;
    for (const document of documents) {
      const { rootId } = document;
      const end = items.at(-1);
      bytes += ROOT_VIEW_BYTES + document.layers.length * LAYER_VIEW_BYTES;
      if (bytes > MAX_SNAPSHOT_BYTES && end !== undefined)
        return { items, nextCursor: cursorBehind({ ...end, key: end.rootId }) };
      items.push(this.#view(document, names.get(rootId) ?? [], kept));
      yield;
    }
    return { items };
  }

  root(document: RootDocument): Root {
    const { names, holds } = this.#store;
    return this.#view(document, names.of(document.rootId), holds.now());
  }

  #view(document: RootDocument, names: readonly NamedAs[], kept: KeptNow): Root {
    const { rootId, manifestDigest, overlap, link, layers, bytes, entries, createdAt } = document;
    const { layout } = this.#store;
    const { uniqueBytes, sharedBytes } = this.#usage.of(document);
    return {
      rootId,
      path: layout.rootTree(rootId),
      manifestDigest,
      overlap,
      link,
      names: names.map(({ name, generation }) => ({ name, path: layout.name(name), generation })),
      layers,
      bytes,
      uniqueBytes,
      sharedBytes,
      entries,
      ...kept(rootId),
      createdAt,
    };
  }

  /** A root, with the generations of the name that it was asked by. UNKNOWN_NAME, UNKNOWN_ROOT. */
  get(selector: RootSelector): Root {
    const root = this.root(this.find(selector));
    const names = root.names.map((named) =>
      named.name === selector.name ? { ...named, generations: this.#generations(named.name) } : named,
    );
    return { ...root, names };
  }

  #generations(name: string): NameGeneration[] {
    const document = this.#store.names.get(name);
    const current = document === undefined ? undefined : currentOf(document);
    return (document?.generations ?? []).map((generation) => ({
      ...generation,
      current: generation === current,
      stands: this.#store.roots.get(generation.rootId) !== undefined,
    }));
  }

  /** UNKNOWN_NAME, UNKNOWN_ROOT. */
  find({ name, rootId }: RootSelector): RootDocument {
    if (name !== undefined) {
      const current = this.#store.names.current(name);
      if (current === undefined)
        throw new StrataError("UNKNOWN_NAME", `Cannot find the name ${printable(name, 128)}: there is none`);
      const root = this.#store.roots.get(current.rootId);
      if (root === undefined)
        throw new StrataError("UNKNOWN_ROOT", `Cannot find the root of ${printable(name, 128)}: it is gone`, {
          hint: "Install it again, or go back to a generation that stands with `stratad rollback`.",
        });
      return root;
    }
    const root = this.#store.roots.get(rootId ?? "");
    if (root === undefined)
      throw new StrataError("UNKNOWN_ROOT", `Cannot find root ${printable(rootId ?? "", 128)}: there is none`);
    return root;
  }

  /** The root that the name had, or the root of that id, as it was; and why it stays, where it does. */
  async remove(selector: RootSelector): Promise<Root & { stays?: string }> {
    const removed = this.root(this.find(selector));
    if (selector.name === undefined) await this.#store.removeRoot(removed.rootId);
    else await this.#store.removeName(selector.name);
    const stays = this.#whyStays(removed.rootId);
    return { ...removed, ...(stays === undefined ? {} : { stays }) };
  }

  #whyStays(rootId: string): string | undefined {
    const { roots, names, holds } = this.#store;
    if (roots.get(rootId) === undefined) return undefined;
    const [named] = names.of(rootId);
    if (named !== undefined) return `${named.name} has it too`;
    if (names.holds(rootId)) return "another name has it as an earlier generation";
    const hold = holds.holdOf(rootId);
    if (holds.isPinned(rootId)) return "it is pinned";
    if (hold !== undefined) return `it is held for ${printable(hold.owner, 256)}`;
    return holds.areKnown ? "running work needs it" : "the list of pins and holds cannot be read";
  }

  /** UNKNOWN_NAME, UNKNOWN_ROOT, BUSY, STORE_CORRUPT. */
  async pin({ name, rootId, pinned }: ParsedParams<"root/pin">): Promise<Root> {
    const root = this.find({ name, rootId });
    await this.#store.pin(root.rootId, pinned);
    return this.root(root);
  }

  /** UNKNOWN_NAME, UNKNOWN_ROOT, INVALID_PARAMS, BUSY, STORE_CORRUPT. */
  async hold({ name, rootId, owner = "a client", holdId }: ParsedParams<"root/hold">): Promise<Hold> {
    return this.#store.hold(this.find({ name, rootId }).rootId, owner, holdId);
  }

  /** Makes a remembered generation of a name current. UNKNOWN_NAME, UNKNOWN_ROOT. */
  async rollback(name: string, generation: number | undefined): Promise<RollbackView> {
    const { had, has } = await this.#store.rollback(name, generation);
    const before = this.#store.roots.get(had.rootId);
    return {
      ...(before === undefined ? {} : { had: this.#asOf(before, { name, generation: had.generation }) }),
      has: this.#asOf(this.find({ rootId: has.rootId }), { name, generation: has.generation }),
      generation: has.generation,
      flipped: had.generation !== has.generation,
    };
  }

  /** The root as it is while this generation of the name is current. */
  #asOf(document: RootDocument, named: { name: string; generation: number }): Root {
    const root = this.root(document);
    const others = root.names.filter(({ name }) => name !== named.name);
    const names = [...others, { ...named, path: this.#store.layout.name(named.name) }];
    return { ...root, names: names.sort((a, b) => (a.name < b.name ? -1 : 1)) };
  }

  /** Oldest first, each with the roots that share it. */
  layers(query: PageQuery): Page<Layer> {
    const { items, ...rest } = this.#store.layers.page(query);
    const view = (layer: StoredLayer): Layer =>
      layerView(layer, this.#usage.rootsOf(layer.document.diffId), this.#usage.sharedBytesOf(layer.document.diffId));
    return { items: items.map(view), ...rest };
  }

  /** What the whole store costs. */
  total(): Usage {
    return this.#usage.total();
  }

  /**
   * What the store costs, root by root, oldest first: all that stand in this moment, with the names that they have in it. What each
   * costs is as of the moment in which it is reckoned.
   */
  usage(): Promise<StoreUsageView> {
    const { roots, names } = this.#store;
    return inSlices(this.#usageOf(roots.page(EVERYTHING).items, names.all()));
  }

  *#usageOf(documents: readonly RootDocument[], named: readonly NameDocument[]): Steps<StoreUsageView> {
    const total = this.total();
    const namesOf = yield* namesByRoot(named);
    const roots: StoreUsageView["roots"] = [];
    for (const document of documents) {
      const { rootId, overlap, link } = document;
      const names = (namesOf.get(rootId) ?? []).map(({ name }) => name);
      roots.push({ rootId, names, overlap, link, ...this.#usage.of(document) });
      yield;
    }
    return { ...total, roots };
  }
}

const EVERYTHING = { limit: Number.POSITIVE_INFINITY };
/** What one root takes of a snapshot, about: its ids, path, name and numbers; and each of its layers. */
const ROOT_VIEW_BYTES = 768;
const LAYER_VIEW_BYTES = 76;

interface NamedAs {
  readonly name: string;
  readonly generation: number;
}

/** The names whose current generation a root is, by name. */
function* namesByRoot(documents: readonly NameDocument[]): Steps<ReadonlyMap<string, readonly NamedAs[]>> {
  const byRoot = new Map<string, NamedAs[]>();
  for (const document of documents) {
    const current = currentOf(document);
    yield;
    if (current === undefined) continue;
    const { rootId, generation } = current;
    const names = byRoot.get(rootId);
    if (names === undefined) byRoot.set(rootId, [{ name: document.name, generation }]);
    else names.push({ name: document.name, generation });
  }
  for (const names of byRoot.values()) {
    if (names.length > 1) names.sort((a, b) => (a.name < b.name ? -1 : 1));
    yield;
  }
  return byRoot;
}

function layerView({ document, meta }: StoredLayer, roots: string[], sharedBytes: number): Layer {
  const { diffId, bytes, entries, topLevel, createdAt } = document;
  const { blobs, durable, lastUsedAt } = meta;
  return {
    diffId,
    digests: blobs.map(({ digest }) => digest),
    bytes,
    sharedBytes,
    entries,
    topLevel: topLevel.map(([name]) => printableName(name)),
    roots,
    durable,
    createdAt,
    lastUsedAt,
  };
}
