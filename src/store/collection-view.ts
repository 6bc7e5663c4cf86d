/**
 * A collection as clients see it: what went and what stays, each with a reason in words, the first of each kind; and how many there are.
 */
import { MAX_COLLECTED_LISTED } from "../limits.js";
import type { CollectedItem, Collection } from "../messages/collection.js";
import { printable } from "../printable.js";
import type { Steps } from "../slices.js";
import { type Amount, type Reason, STRIDE, type Verdict } from "./collection.js";
import type { RootDocument } from "./documents.js";
import type { NeededDocuments, StoredDocument } from "./kept-documents.js";
import type { StoredLayer } from "./layers.js";

/** What was judged; where that was carried out, `goes` is false for what somebody came to need in between. */
export interface Judged {
  readonly plan: boolean;
  readonly keepLast: number;
  readonly roots: readonly Verdict<RootDocument>[];
  readonly layers: readonly Verdict<StoredLayer>[];
  readonly documents: readonly DocumentVerdict[];
  /** What nobody could read, and nobody judged. */
  readonly unreadable: { readonly roots: readonly string[]; readonly layers: readonly string[] };
}

export interface DocumentVerdict extends StoredDocument {
  readonly goes: boolean;
  readonly because: string;
}

export function* collectionView({ plan, keepLast, roots, layers, documents, unreadable }: Judged): Steps<Collection> {
  const [gone, kept] = [new Listing(), new Listing()];
  for (const id of unreadable.roots) kept.add({ kind: "root", id: printable(id), ...NOTHING }, unread("root.json"));
  for (const id of unreadable.layers) kept.add({ kind: "layer", id: printable(id), ...NOTHING }, unread("layer.json"));
  for (const { thing, goes, reason, amount } of roots) {
    (goes ? gone : kept).add({ kind: "root", id: thing.rootId, ...amount }, () => inWords(reason, keepLast));
    yield;
  }
  for (const [index, { thing, goes, reason, amount }] of layers.entries()) {
    const { diffId: id } = thing.document;
    (goes ? gone : kept).add({ kind: "layer", id, ...amount }, () => inWords(reason, keepLast));
    if (index % STRIDE === 0) yield;
  }
  for (const { digest: id, bytes, goes, because } of documents)
    (goes ? gone : kept).add({ kind: "blob", id, bytes, inodes: 1 }, () => because);
  return { plan, removed: gone.total(), stays: kept.total(), gone: gone.items, kept: kept.items };
}

/** What a document is needed for, or why nobody needs it. */
export function documentVerdict(document: StoredDocument, { needed, unread }: NeededDocuments): DocumentVerdict {
  const known = needed.get(document.digest);
  if (known !== undefined)
    return { ...document, goes: false, because: `it is the ${known.what} of root ${short(known.rootId)}` };
  if (unread === undefined) return { ...document, goes: true, because: "no root needs it" };
  const because = `the manifest of root ${short(unread)} cannot be read, and may need it`;
  return { ...document, goes: false, because };
}

function inWords(reason: Reason, keepLast: number): string {
  switch (reason.why) {
    case "current":
      return `it is the current generation of ${printable(reason.name, 128)}`;
    case "remembered":
      return `it is generation ${reason.generation} of ${printable(reason.name, 128)}, one of the last ${keepLast}`;
    case "superseded":
      return `it is generation ${reason.generation} of ${printable(reason.name, 128)}, older than the last ${keepLast}`;
    case "pinned":
      return "it is pinned";
    case "held":
      return `it is held for ${printable(reason.owner, 256)}`;
    case "leased":
      return "running work needs it";
    case "left":
      return "it could not be removed";
    case "unnamed":
      return "no name has it";
    case "needed":
      return `root ${short(reason.rootId)} needs it`;
    case "unread":
      return `${printable(reason.what, 256)} cannot be read, and may need it`;
    case "unused":
      return "no root needs it";
    case "cached":
      return "no root needs it, and there is room for it";
  }
}

const NOTHING: Amount = { bytes: 0, inodes: 0 };
const unread = (file: string) => () => `its ${file} cannot be read`;
const short = (rootId: string): string => printable(rootId.slice(0, 12));

/** The first of many, and the sum of all. */
class Listing {
  readonly items: CollectedItem[] = [];
  readonly #counts = { root: 0, layer: 0, blob: 0 };
  #bytes = 0;
  #inodes = 0;

  add(item: Omit<CollectedItem, "because">, because: () => string): void {
    this.#counts[item.kind] += 1;
    this.#bytes += item.bytes;
    this.#inodes += item.inodes;
    if (this.items.length < MAX_COLLECTED_LISTED) this.items.push({ ...item, because: because() });
  }

  total(): Collection["removed"] {
    const { root: roots, layer: layers, blob: blobs } = this.#counts;
    return { layers, roots, blobs, bytes: this.#bytes, inodes: this.#inodes };
  }
}
