/**
 * What a collection takes and what it leaves, each with its reason. Mark and sweep over documents; nothing is counted along the way.
 *
 * A root stays for a name's generation, a pin, a hold or running work; a layer for a root that stays, or for running work. Other
 * layers are a cache: the least recently used go first, as far as the policy asks. What cannot be read keeps all that it may
 * need. Pure, and in steps: a store of 100,000 layers is more than the main thread may reckon in one.
 */
import { isWritable } from "../choices.js";
import type { DiffId } from "../oci/digest.js";
import { type Steps, sortedBy } from "../slices.js";
import type { NameDocument, RootDocument } from "./documents.js";
import { currentOf } from "./generations.js";
import type { Hold } from "./holds.js";
import type { StoredLayer } from "./layers.js";

export interface Amount {
  readonly bytes: number;
  readonly inodes: number;
}

export interface CollectionPolicy {
  /** Generations of a name that stay, the newest; the current one always does. */
  readonly keepLast: number;
  /** What layers that nothing needs may take at most. */
  readonly cache: Amount;
  /** What is to be freed at least, if it can be. */
  readonly free?: Amount;
}

/** The store at one moment. */
export interface Snapshot {
  readonly roots: readonly RootDocument[];
  readonly layers: readonly StoredLayer[];
  /** One of them. */
  readonly find: FindLayer;
  readonly names: readonly NameDocument[];
  /** What stands on the disk and could not be read. */
  readonly unreadable: { readonly roots: readonly string[]; readonly names: readonly string[] };
  readonly holds: {
    readonly areKnown: boolean;
    isPinned(rootId: string): boolean;
    holdOf(rootId: string): Hold | undefined;
  };
  readonly leased: { hasRoot(rootId: string): boolean; hasLayer(layer: StoredLayer): boolean };
}

export type Reason =
  | { readonly why: "current" | "remembered" | "superseded"; readonly name: string; readonly generation: number }
  | { readonly why: "held"; readonly owner: string }
  | { readonly why: "needed"; readonly rootId: string }
  | { readonly why: "unread"; readonly what: string }
  | { readonly why: "pinned" | "leased" | "left" | "unnamed" | "unused" | "cached" };

export interface Verdict<Thing> {
  readonly thing: Thing;
  readonly goes: boolean;
  readonly reason: Reason;
  /** What its removal gives back, or would, as its documents say: no disk is walked. */
  readonly amount: Amount;
}

export interface CollectionPlan {
  readonly roots: readonly Verdict<RootDocument>[];
  /** Those that go stand in the order in which they do: the least recently used first. */
  readonly layers: readonly Verdict<StoredLayer>[];
}

/** So many things take less than a look at the clock is worth. */
export const STRIDE = 256;

export function* planCollection(snapshot: Snapshot, policy: CollectionPolicy): Steps<CollectionPlan> {
  const roots = yield* judgeRoots(snapshot, policy);
  const layers = yield* judgeLayers(snapshot, policy, roots);
  return { roots, layers };
}

function* judgeRoots(snapshot: Snapshot, policy: CollectionPolicy): Steps<Verdict<RootDocument>[]> {
  const named = yield* namedRoots(snapshot, policy);
  const verdicts: Verdict<RootDocument>[] = [];
  for (const thing of snapshot.roots) {
    const reason = reasonOf(thing.rootId, named.get(thing.rootId), snapshot);
    const goes = reason.why === "unnamed" || reason.why === "superseded";
    verdicts.push({ thing, reason, goes, amount: rootAmount(thing, snapshot.find) });
    yield;
  }
  return verdicts;
}

function reasonOf(rootId: string, named: Reason | undefined, { holds, leased, unreadable }: Snapshot): Reason {
  if (named !== undefined && named.why !== "superseded") return named;
  if (holds.isPinned(rootId)) return { why: "pinned" };
  const hold = holds.holdOf(rootId);
  if (hold !== undefined) return { why: "held", owner: hold.owner };
  if (leased.hasRoot(rootId)) return { why: "leased" };
  if (!holds.areKnown) return { why: "unread", what: "the list of pins and holds" };
  const [name] = unreadable.names;
  if (name !== undefined) return { why: "unread", what: `the name ${name}` };
  return named ?? { why: "unnamed" };
}

/** What its names say of a root: of several reasons one that keeps it. */
function* namedRoots(
  { names, roots }: Snapshot,
  { keepLast }: CollectionPolicy,
): Steps<ReadonlyMap<string, Reason & { name: string }>> {
  const standing = new Set(roots.map(({ rootId }) => rootId));
  const ranks = { current: 2, remembered: 1, superseded: 0 };
  const reasons = new Map<string, Reason & { name: string; why: keyof typeof ranks }>();
  for (const document of names) {
    const { name } = document;
    const current = currentOf(document);
    const newest = document.generations
      .filter(({ rootId }) => standing.has(rootId))
      .sort((a, b) => b.generation - a.generation);
    for (const [index, { generation, rootId }] of newest.entries()) {
      const why = generation === current?.generation ? "current" : index < keepLast ? "remembered" : "superseded";
      const known = reasons.get(rootId);
      if (known === undefined || ranks[known.why] < ranks[why]) reasons.set(rootId, { why, name, generation });
    }
    yield;
  }
  return reasons;
}

function* judgeLayers(
  snapshot: Snapshot,
  policy: CollectionPolicy,
  roots: readonly Verdict<RootDocument>[],
): Steps<Verdict<StoredLayer>[]> {
  const needed = yield* neededLayers(roots);
  const [unread] = snapshot.unreadable.roots;
  const kept: Verdict<StoredLayer>[] = [];
  const unneeded: Used[] = [];
  for (const [index, thing] of snapshot.layers.entries()) {
    const amount = layerAmount(thing);
    const keep = (reason: Reason): unknown => kept.push({ thing, goes: false, reason, amount });
    const rootId = needed.get(thing.document.diffId);
    if (rootId !== undefined) keep({ why: "needed", rootId });
    else if (snapshot.leased.hasLayer(thing)) keep({ why: "leased" });
    else if (unread !== undefined) keep({ why: "unread", what: `root ${unread}` });
    else unneeded.push({ thing, amount, usedAt: Date.parse(thing.meta.lastUsedAt) || 0 });
    if (index % STRIDE === 0) yield;
  }
  const oldestFirst = yield* sortedBy(unneeded, ({ usedAt }) => usedAt);
  const freed = sumOf(roots.flatMap(({ goes, amount }) => (goes ? [amount] : [])));
  const going = yield* surplus(oldestFirst, policy, freed);
  const verdicts: Verdict<StoredLayer>[] = [];
  for (const [index, { thing, amount }] of oldestFirst.entries()) {
    const goes = index < going;
    verdicts.push({ thing, goes, reason: { why: goes ? "unused" : "cached" }, amount });
    if (index % STRIDE === 0) yield;
  }
  return verdicts.concat(kept);
}

type FindLayer = (diffId: DiffId) => StoredLayer | undefined;

interface Used {
  readonly thing: StoredLayer;
  readonly amount: Amount;
  readonly usedAt: number;
}

function* neededLayers(roots: readonly Verdict<RootDocument>[]): Steps<ReadonlyMap<DiffId, string>> {
  const needed = new Map<DiffId, string>();
  for (const { thing, goes } of roots) {
    if (goes) continue;
    for (const diffId of thing.layers) if (!needed.has(diffId)) needed.set(diffId, thing.rootId);
    yield;
  }
  return needed;
}

/** How many of the layers, from the first, have to go: no more than the policy asks for. */
function* surplus(layers: readonly Used[], { cache, free }: CollectionPolicy, freed: Amount): Steps<number> {
  let [keptBytes, keptInodes] = [0, 0];
  for (const [index, { amount }] of layers.entries()) {
    keptBytes += amount.bytes;
    keptInodes += amount.inodes;
    if (index % STRIDE === 0) yield;
  }
  let bytesToFree = (free?.bytes ?? 0) - freed.bytes;
  let inodesToFree = (free?.inodes ?? 0) - freed.inodes;
  for (const [going, { amount }] of layers.entries()) {
    const fits = keptBytes <= cache.bytes && keptInodes <= cache.inodes;
    if (fits && bytesToFree <= 0 && inodesToFree <= 0) return going;
    keptBytes -= amount.bytes;
    keptInodes -= amount.inodes;
    bytesToFree -= amount.bytes;
    inodesToFree -= amount.inodes;
    if (going % STRIDE === 0) yield;
  }
  return layers.length;
}

export const sumOf = (amounts: readonly Amount[]): Amount => ({
  bytes: amounts.reduce((sum, { bytes }) => sum + bytes, 0),
  inodes: amounts.reduce((sum, { inodes }) => sum + inodes, 0),
});

/** Its directory, tree, changeset, layer.json, and what stands in meta/. */
const LAYER_INODES = 5;
/** Its directory, tree, root.json. */
const ROOT_INODES = 3;

/** What removing a layer gives back, without a look at the disk: a name of a hard link counts as an inode of its own. */
function layerAmount({ document: { bytes, entries, whiteouts } }: StoredLayer): Amount {
  return { bytes, inodes: Math.max(0, entries - whiteouts) + LAYER_INODES };
}

/** What removing a root gives back while its layers stay: copies, or the directories and symlinks that a tree has for itself. */
function rootAmount({ link, layers, entries, copiedBytes = 0 }: RootDocument, find: FindLayer): Amount {
  if (isWritable(link)) return { bytes: copiedBytes, inodes: entries + ROOT_INODES };
  let own = 0;
  for (const diffId of new Set(layers)) {
    const document = find(diffId)?.document;
    if (document === undefined) continue;
    own += link === "symlink" ? document.topLevel.length : Math.max(0, document.entries - document.files);
  }
  return { bytes: copiedBytes, inodes: Math.min(own, entries) + ROOT_INODES };
}
