/**
 * A verification of the store, or of a part of it: its structure here, its trees by workers, a little at a time so that installs get
 * the threads in between. Finds, and changes nothing.
 *
 * Layers come first: what is wrong with an inode that roots share is the layer's finding, and the roots that show it are named with it.
 */
import type { FindingCode } from "../finding-codes.js";
import type { CheckedTree, Extent, TreeFinding, VerifyResult } from "../findings.js";
import { MAX_FINDINGS_TOLD, VERIFY_SLICE_BYTES } from "../limits.js";
import type { Finding, Verification } from "../messages/verification.js";
import type { DiffId } from "../oci/digest.js";
import type { Pool } from "../pool.js";
import { printable, printableName } from "../printable.js";
import { checkedLayer, checkedRoot } from "../store/checked-trees.js";
import type { RootDocument } from "../store/documents.js";
import { eachConcurrently } from "../store/each-concurrently.js";
import type { StructureFinding } from "../store/looks.js";
import type { Store } from "../store/store.js";
import { type Selection, Structure } from "../store/structure.js";
import { type LayerDocument, TaskProgress } from "../tasks.js";

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
}

/** Below everything that somebody waits for. */
export const VERIFY_WEIGHT = -1;

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
    const report = new Report(this.#store);
    for (const finding of await structure.findings(selection, signal)) report.structure(finding);
    const layers = selection?.layers ?? this.#store.layers.all().map(({ document }) => document.diffId);
    const roots = selection?.roots ?? this.#store.roots.all().map(({ rootId }) => rootId);
    await this.#eachInTurn(layers, async (diffId) => {
      const layer = this.#store.layers.get(diffId)?.document;
      if (layer === undefined || report.lacks(diffId)) return;
      const results = await this.layer(layer, deep, signal);
      // A collection may have removed it in the meantime.
      if (this.#store.layers.get(diffId) !== undefined) report.layer(diffId, results);
    });
    await this.#eachInTurn(roots, async (rootId) => {
      const root = this.#store.roots.get(rootId);
      if (root === undefined || report.lacks(rootId)) return;
      const result = await this.root(root, { deep, watched: report.inodesOf(root), signal });
      if (this.#store.roots.get(rootId) !== undefined) report.root(root, result);
    });
    const { findings, total, entries, bytes } = report.result();
    const checked = { layers: layers.length, roots: roots.length, documents: structure.documents, entries, bytes };
    return { checked, findings, total };
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
    const isOwned = root.link === "copy" || root.link === "reflink";
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
    return this.#pool.run("verify", task, { signal, progress, weight: VERIFY_WEIGHT });
  }

  /** All threads but one: whoever comes meanwhile finds one that is free in a moment. */
  async #eachInTurn<Item>(items: readonly Item[], work: (item: Item) => Promise<void>): Promise<void> {
    await eachConcurrently(items, work, Math.max(1, this.#pool.threads - 1));
  }
}

const NOTHING: VerifyResult = { findings: [], total: 0, entries: 0, bytes: 0, seen: [] };

/** How a layer is looked at: at once where it is small, else so that no task takes long. */
export function extentsOf({ bytes }: LayerDocument, deep: boolean): readonly Extent[] {
  if (!deep) return ["documents"];
  if (bytes <= VERIFY_SLICE_BYTES) return ["contents"];
  const of = Math.ceil(bytes / VERIFY_SLICE_BYTES);
  return ["attributes", ...Array.from({ length: of }, (_, index) => ({ index, of }))];
}

/** A finding that may still learn which roots show it. */
interface Told {
  readonly finding: Finding;
  readonly inode?: string | undefined;
  readonly roots: Set<string>;
}

class Report {
  readonly #store: Store;
  readonly #told: Told[] = [];
  /** Layers and roots of which no tree is looked at: they lack what that needs. */
  readonly #lacking = new Set<string>();
  readonly #byInode = new Map<string, Told>();
  #total = 0;
  #entries = 0;
  #bytes = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  structure({ path, ...finding }: StructureFinding): void {
    const told = this.#tell({ ...finding, path: printable(path, 1024) });
    const { code, layer, root } = finding;
    if (code !== "MISSING") return;
    if (layer !== undefined) {
      this.#lacking.add(layer);
      for (const { rootId, layers } of this.#store.roots.all()) if (layers.includes(layer)) told?.roots.add(rootId);
    }
    if (root !== undefined) this.#lacking.add(root);
  }

  lacks(id: string): boolean {
    return this.#lacking.has(id);
  }

  layer(diffId: DiffId, results: readonly VerifyResult[]): void {
    this.#tree({ layer: diffId }, results);
  }

  root(root: RootDocument, result: VerifyResult): void {
    this.#tree({ root: root.rootId }, [result]);
    for (const inode of result.seen) this.#byInode.get(inode)?.roots.add(root.rootId);
    if (root.link !== "symlink") return;
    for (const { finding, roots } of this.#told)
      if (finding.code !== "DOCUMENT" && root.layers.some((diffId) => diffId === finding.layer)) roots.add(root.rootId);
  }

  /** Damaged ones, of the layers that the root may have them from. */
  inodesOf({ layers }: RootDocument): string[] {
    const own = new Set<string | undefined>(layers);
    return this.#told.flatMap(({ finding, inode }) => (inode !== undefined && own.has(finding.layer) ? [inode] : []));
  }

  result(): { findings: Finding[]; total: number; entries: number; bytes: number } {
    const findings = this.#told.map(({ finding, roots }) =>
      roots.size === 0 ? finding : { ...finding, roots: [...roots].map((rootId) => this.#named(rootId)) },
    );
    return { findings, total: this.#total, entries: this.#entries, bytes: this.#bytes };
  }

  #tree(of: Pick<Finding, "layer" | "root">, results: readonly VerifyResult[]): void {
    // Contents that are read in slices tell the attributes too: one finding a path, the graver one.
    const byPath = new Map<string, TreeFinding>();
    for (const { findings, total, entries, bytes } of results) {
      this.#entries += entries;
      this.#bytes += bytes;
      let repeated = 0;
      for (const finding of findings) {
        const key = `${finding.path}\0${finding.spill ?? ""}`;
        const known = byPath.get(key);
        if (known !== undefined) repeated += 1;
        if (known === undefined || isGraver(finding.code, known.code)) byPath.set(key, finding);
      }
      this.#total += total - repeated;
    }
    for (const { code, path, detail, inode } of byPath.values()) {
      const told = this.#list({ code, ...of, path: printableName(path, 4096), detail }, inode);
      if (told !== undefined && inode !== undefined && of.layer !== undefined) this.#byInode.set(inode, told);
    }
  }

  #tell(finding: Finding): Told | undefined {
    this.#total += 1;
    return this.#list(finding);
  }

  #list(finding: Finding, inode?: string): Told | undefined {
    if (this.#told.length >= MAX_FINDINGS_TOLD) return undefined;
    const told = { finding, inode, roots: new Set<string>() };
    this.#told.push(told);
    return told;
  }

  #named(rootId: string): { rootId: string; names: string[] } {
    return { rootId, names: this.#store.names.of(rootId).map(({ name }) => name) };
  }
}

const isGraver = (code: FindingCode, than: FindingCode): boolean => code === "CONTENT" && than === "MODE";
