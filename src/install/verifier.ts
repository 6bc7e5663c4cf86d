/**
 * A verification of the store, or of a part of it: its structure here, its trees by workers, a little at a time so that installs get
 * the threads in between. Finds, and changes nothing.
 *
 * Layers come first: what is wrong with an inode that roots share is the layer's finding, and the roots that show it are named with it.
 */
import { isWritable } from "../choices.js";
import type { CheckedTree, Extent, VerifyResult } from "../findings.js";
import { VERIFY_SLICE_BYTES } from "../limits.js";
import type { Finding, Verification } from "../messages/verification.js";
import type { Pool } from "../pool.js";
import { checkedLayer, checkedRoot } from "../store/checked-trees.js";
import type { RootDocument } from "../store/documents.js";
import { eachConcurrently } from "../store/each-concurrently.js";
import type { Store } from "../store/store.js";
import { type Selection, Structure } from "../store/structure.js";
import { TaskProgress } from "../task-progress.js";
import type { LayerDocument } from "../tasks.js";
import { UPKEEP_WEIGHT } from "../weights.js";
import { VerificationReport } from "./verification-report.js";

export interface VerifyRequest {
  /** Trees too. */
  readonly deep: boolean;
  /** Absent: everything. */
  readonly selection?: Selection | undefined;
  readonly signal: AbortSignal;
}

/** What is wrong, in memory: the layers, roots and names that a repair would go to. */
export interface Found {
  readonly checked: Verification["checked"];
  readonly findings: readonly Finding[];
  readonly total: number;
  /** Roots with files that stand apart from their layers: a repair that was cut short leaves such. */
  readonly apart: readonly string[];
}

export class Verifier {
  readonly #store: Store;
  readonly #pool: Pool;
  readonly #guests: readonly string[];

  constructor(options: { readonly store: Store; readonly pool: Pool; readonly guests: readonly string[] }) {
    this.#store = options.store;
    this.#pool = options.pool;
    this.#guests = options.guests;
  }

  /** CANCELLED on `signal`; what workers throw where they cannot say anything. */
  async verify({ deep, selection, signal }: VerifyRequest): Promise<Found> {
    const structure = new Structure(this.#store, this.#guests);
    const report = new VerificationReport(this.#store);
    for (const finding of await structure.findings(selection, signal)) report.structure(finding);
    const layers = selection?.layers ?? this.#store.layers.all().map(({ diffId }) => diffId);
    const roots = selection?.roots ?? this.#store.roots.all().map(({ rootId }) => rootId);
    await this.#eachInTurn(layers, async (diffId) => {
      const layer = this.#store.layers.get(diffId)?.document;
      if (layer === undefined || report.lacks(diffId)) return;
      const results = await this.layer(layer, deep, signal);
      // A collection may have removed it in the meantime.
      if (this.#store.layers.get(diffId) !== undefined) report.layer(diffId, results);
    });
    const apart: string[] = [];
    await this.#eachInTurn(roots, async (rootId) => {
      const root = this.#store.roots.get(rootId);
      if (root === undefined || report.lacks(rootId)) return;
      const result = await this.root(root, { deep, watched: report.inodesOf(root), signal });
      if (result.apart > 0) apart.push(rootId);
      if (this.#store.roots.get(rootId) !== undefined) report.root(root, result);
    });
    const { findings, total, entries, bytes } = report.result();
    const checked = { layers: layers.length, roots: roots.length, documents: structure.documents, entries, bytes };
    return { checked, findings, total, apart };
  }

  /** One after the other, where it is large: names and attributes first, then contents in slices. */
  async layer(document: LayerDocument, deep: boolean, signal: AbortSignal): Promise<VerifyResult[]> {
    const results: VerifyResult[] = [];
    for (const extent of extentsOf(document, deep)) results.push(await this.extent(document, extent, signal));
    return results;
  }

  extent(document: LayerDocument, extent: Extent, signal: AbortSignal): Promise<VerifyResult> {
    return this.#run(this.layerTree(document), extent, { signal });
  }

  async root(
    root: RootDocument,
    {
      deep,
      watched,
      signal,
    }: { readonly deep: boolean; readonly watched: readonly string[]; readonly signal: AbortSignal },
  ): Promise<VerifyResult> {
    // What is copied belongs to whoever owns the root: they may write to it.
    const isOwned = isWritable(root.link);
    if ((isOwned || !deep) && root.planSha256 === undefined) return NOTHING;
    const checked = this.rootTree(root);
    if (checked === undefined) return NOTHING;
    return this.#run(checked, deep && !isOwned ? "contents" : "documents", { watched, signal });
  }

  layerTree(document: LayerDocument): CheckedTree {
    return checkedLayer(this.#store.layout, document);
  }

  /** Undefined where a layer of it is not in the store: that is told. */
  rootTree(root: RootDocument): CheckedTree | undefined {
    return checkedRoot(this.#store.layout, root, (diffId) => this.#store.layers.get(diffId)?.document);
  }

  #run(
    checked: CheckedTree,
    extent: Extent,
    { watched = [], signal }: { readonly watched?: readonly string[]; readonly signal: AbortSignal },
  ): Promise<VerifyResult> {
    const progress = new TaskProgress();
    const task = { checked, extent, watched, progress: progress.shared };
    return this.#pool.run("verify", task, { signal, progress, weight: UPKEEP_WEIGHT });
  }

  /** All threads but one: whoever comes meanwhile finds one that is free in a moment. */
  async #eachInTurn<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
    await eachConcurrently(items, work, Math.max(1, this.#pool.threads - 1));
  }
}

const NOTHING: VerifyResult = { findings: [], total: 0, entries: 0, bytes: 0, seen: [], apart: 0 };

/** How a layer is looked at: at once where it is small, else so that no task takes long. */
export function extentsOf({ bytes }: LayerDocument, deep: boolean): readonly Extent[] {
  if (!deep) return ["documents"];
  if (bytes <= VERIFY_SLICE_BYTES) return ["contents"];
  const of = Math.ceil(bytes / VERIFY_SLICE_BYTES);
  return ["attributes", ...Array.from({ length: of }, (_, index) => ({ index, of }))];
}
