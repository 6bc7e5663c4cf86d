/**
 * Stored layers into a root's tree in staging: the policy's plan, then the links, side by side over the pool.
 *
 * Under policy c layers are linked as they stand: their top-level names give the verdict, and no changeset is read before the workers link
 * it; hard links of those that are stored are made while the others are unpacked. Under every other policy, and where a layer asks for a place of its own, a
 * plan is written first and stays beside the root. Commits nothing.
 */
import { mkdir } from "node:fs/promises";
import type { LinkMode } from "../choices.js";
import { StrataError } from "../errors.js";
import type { ImageLimits } from "../limits.js";
import { areDisjoint, DisjointLayers } from "../overlap/disjoint-roots.js";
import type { Placement } from "../overlap/placement.js";
import type { PlannedPolicy } from "../overlap/plan-root.js";
import type { Pool } from "../pool.js";
import type { EntriesFile, LinkResult, PlanConflicts, PlanResult } from "../root-tasks.js";
import type { StagingPaths } from "../store/layout.js";
import { withdraw } from "../store/publish.js";
import type { Store } from "../store/store.js";
import type { LayerDocument } from "../tasks.js";
import { LINK_WEIGHT } from "../weights.js";
import { LinkingAhead } from "./linking-ahead.js";
import { type MeasuredRoot, measuredByDocuments, rootCost } from "./plan-cost.js";
import type { Filled, Listed, RootLinker } from "./root-linker.js";
import type { Piece, SpaceLedger } from "./space-ledger.js";
import type { SpareMaker } from "./spare-maker.js";

/** A layer that is stored, and where its annotations want it. */
export interface PlacedDocument {
  readonly document: LayerDocument;
  readonly placement: Placement | undefined;
}

export interface Assembly {
  /** The lowest first. */
  readonly layers: readonly PlacedDocument[];
  readonly overlap: PlannedPolicy;
  readonly link: LinkMode;
  readonly signal: AbortSignal;
}

/** What is known of a root before its layers are. */
export interface WantedRoot extends Pick<Assembly, "overlap" | "link" | "signal"> {
  /** The lowest first. */
  readonly placements: readonly (Placement | undefined)[];
}

export interface Assembled extends Filled {
  readonly kind: "assembled";
  readonly entries: number;
  readonly bytes: number;
  readonly layerBytes?: readonly number[];
  readonly planSha256?: string;
  /** Names that placements left nothing of. */
  readonly dropped: number;
}

/** Names at the roots of all layers: a set of these takes some 20 ms. */
const MAX_NAMES_COMPARED = 100_000;

/** For the main thread to compare. */
const areTooManyNames = (layers: readonly LayerDocument[]): boolean =>
  layers.reduce((sum, { topLevel }) => sum + topLevel.length, 0) > MAX_NAMES_COMPARED;

/** The policies that refuse less, the stricter first. */
const LOOSER: Readonly<Record<PlannedPolicy, readonly PlannedPolicy[]>> = { c: ["b", "a"], b: ["a"], a: [] };

type Measured = Pick<Assembled, "entries" | "bytes" | "layerBytes" | "dropped" | "planSha256">;

export class RootAssembler {
  readonly #store: Store;
  readonly #pool: Pool;
  readonly #limits: ImageLimits;
  readonly #space: SpaceLedger;
  readonly #linker: RootLinker;
  readonly #spares: SpareMaker;

  constructor(options: {
    readonly store: Store;
    readonly pool: Pool;
    readonly limits: ImageLimits;
    readonly space: SpaceLedger;
    readonly linker: RootLinker;
    readonly spares: SpareMaker;
  }) {
    this.#store = options.store;
    this.#pool = options.pool;
    this.#limits = options.limits;
    this.#space = options.space;
    this.#linker = options.linker;
    this.#spares = options.spares;
  }

  /** Links layers into `paths.root` before all are there. Undefined where none may be. */
  ahead(paths: StagingPaths, wanted: WantedRoot): LinkingAhead | undefined {
    const { placements, link, signal } = wanted;
    if (placements.length < 2 || link !== "hardlink" || !this.#mayStand(wanted)) return undefined;
    const others = new DisjointLayers();
    const begun: LayerDocument[] = [];
    const options = { threads: this.#pool.threads, layers: placements.length };
    return new LinkingAhead(async (layer, slots, stop) => {
      begun.push(layer);
      this.#measure(begun);
      if (areTooManyNames(begun) || !others.add(layer)) throw new Error("not as it stands");
      await mkdir(paths.rootTree, { recursive: true });
      const spare = await this.#store.spares.take(layer, paths.rootTree);
      if (spare !== undefined) {
        this.#spares.linked([layer]);
        return [spare];
      }
      const measured = measuredByDocuments([layer]);
      return this.#linker.linkLayer(paths.rootTree, layer, {
        slots,
        signal: AbortSignal.any([signal, stop]),
        claimed: ({ index, of }, work) => {
          const piece = this.#piece(`${paths.root} ${layer.diffId} ${index}`, measured, link);
          return this.#space.withinFree([{ ...piece, inodes: Math.ceil(piece.inodes / of) }], work);
        },
      });
    }, options);
  }

  /** Fills `paths.root`: tree, and plan where there is one. LIMIT_ENTRIES, LIMIT_BYTES, NO_REFLINK, NO_SPACE, the codes of plan and store. */
  async assemble(paths: StagingPaths, assembly: Assembly, ahead?: LinkingAhead): Promise<Assembled | PlanConflicts> {
    const { layers, signal, link } = assembly;
    const documents = layers.map(({ document }) => document);
    const isAsItStands = this.#isAsItStands(assembly);
    if (ahead !== undefined) {
      const linked = isAsItStands ? await this.#finish(paths.rootTree, documents, { ahead, signal }) : undefined;
      if (linked !== undefined) {
        this.#spares.linked(documents);
        return linked;
      }
      await ahead.abandon();
      await this.#throwAway(paths);
      signal.throwIfAborted();
    }
    await mkdir(paths.rootTree, { recursive: true });
    if (isAsItStands) {
      const measured = this.#measure(documents);
      const { spares, others } = await this.#takeSpares(paths, documents, link);
      const piece = this.#piece(paths.root, measuredByDocuments(others), link);
      const lists = others.map((layer) => this.#linker.asItStands(layer));
      const filling = () => this.#fill(paths, assembly, { measured, lists, spares });
      const filled = await this.#space.with([piece], signal, filling);
      if (link === "hardlink") this.#spares.linked(documents);
      return filled;
    }
    const planned = await this.plan(assembly, paths.rootPlan);
    if (planned.kind === "conflicts") return planned;
    signal.throwIfAborted();
    const { entries, bytes, layerBytes, dropped, sha256 = "" } = planned;
    const file: EntriesFile = { kind: "plan", path: paths.rootPlan, sha256 };
    const lists = [{ file, layers: documents.map((layer) => this.#linker.linked(layer)), entries }];
    const measured = { entries, bytes, layerBytes, dropped, planSha256: sha256 };
    return this.#space.with([this.#piece(paths.root, planned, link)], signal, () =>
      this.#fill(paths, assembly, { measured, lists, plan: file }),
    );
  }

  /** Undefined where it is to be linked anew. */
  async #finish(
    tree: string,
    documents: readonly LayerDocument[],
    { ahead, signal }: { readonly ahead: LinkingAhead; readonly signal: AbortSignal },
  ): Promise<Assembled | undefined> {
    const measured = this.#measure(documents);
    const results = await ahead.finish(documents);
    if (results === undefined) return undefined;
    return { kind: "assembled", ...measured, ...(await this.#linker.settle(tree, results, { signal })) };
  }

  /** What spares have of the root; one that is not what it should be costs those that were taken, and no more. */
  async #takeSpares(
    paths: StagingPaths,
    layers: readonly LayerDocument[],
    link: LinkMode,
  ): Promise<{ spares: LinkResult[]; others: readonly LayerDocument[] }> {
    const spares: LinkResult[] = [];
    const others: LayerDocument[] = [];
    if (link !== "hardlink") return { spares, others: layers };
    try {
      for (const layer of layers) {
        const spare = await this.#store.spares.take(layer, paths.rootTree);
        if (spare === undefined) others.push(layer);
        else spares.push(spare);
      }
      // Also where this root comes to nothing: what it took is gone.
      if (spares.length > 0) this.#spares.linked(layers);
      return { spares, others };
    } catch {
      await this.#throwAway(paths);
      await mkdir(paths.rootTree);
      return { spares: [], others: layers };
    }
  }

  /** At once, and not with the rest of staging: the root that is linked anew may need the room. */
  async #throwAway({ rootTree, removed }: StagingPaths): Promise<void> {
    await withdraw(rootTree, removed(0));
    await this.#store.staging.discard(removed(0));
  }

  /** What the root takes for itself; links take next to no time, so that all of it counts until it is there. */
  #piece(key: string, measured: MeasuredRoot, link: LinkMode): Piece {
    const { writeBytes: bytes, writeInodes: inodes } = rootCost(measured, link);
    return { key, bytes, inodes, share: () => 0 };
  }

  /** What the root would hold, or why not; written to `file` where one is given. */
  plan({ layers, overlap, signal }: Omit<Assembly, "link">, file?: string): Promise<PlanResult> {
    const { folding } = this.#store;
    const task = {
      policy: overlap,
      layers: layers.map(({ document, placement }) => ({
        changeset: this.#linker.changeset(document),
        ...(placement === undefined ? {} : { placement }),
      })),
      limits: this.#limits,
      ...(folding === undefined ? {} : { folding }),
      ...(file === undefined ? {} : { file }),
    };
    return this.#pool.run("plan", task, { signal, weight: LINK_WEIGHT });
  }

  /** The other policies that would accept these layers, the stricter first; proven by their plans. */
  async accepting({ layers, overlap, signal }: Omit<Assembly, "link">): Promise<PlannedPolicy[]> {
    const accepted: PlannedPolicy[] = [];
    for (const policy of LOOSER[overlap]) {
      const planned = await this.plan({ layers, overlap: policy, signal }).catch((error: unknown) => {
        if (error instanceof StrataError) return undefined;
        throw error;
      });
      if (planned?.kind === "plan") accepted.push(policy);
    }
    return accepted;
  }

  /** Without a plan: nothing is placed, and nothing is to be decided. */
  #isAsItStands({ layers, overlap }: Assembly): boolean {
    const placements = layers.map(({ placement }) => placement);
    const documents = layers.map(({ document }) => document);
    return !areTooManyNames(documents) && this.#mayStand({ overlap, placements }) && areDisjoint(documents);
  }

  /** Where the layers' names let them, they are linked as they stand. */
  #mayStand({ overlap, placements }: Pick<WantedRoot, "overlap" | "placements">): boolean {
    const isPlaced = placements.some((placement) => placement !== undefined);
    return overlap === "c" && !isPlaced && this.#store.folding === undefined;
  }

  async #fill(
    { rootTree: tree }: StagingPaths,
    { layers, link, signal }: Assembly,
    {
      measured,
      lists,
      spares = [],
      plan,
    }: {
      readonly measured: Measured;
      readonly lists: readonly Listed[];
      readonly spares?: readonly LinkResult[];
      readonly plan?: EntriesFile;
    },
  ): Promise<Assembled> {
    const documents = layers.map(({ document }) => document);
    const filled =
      link === "symlink"
        ? await this.#linker.symlink(tree, documents, { plan, signal })
        : await this.#linker.link(tree, lists, { mode: link, signal, spares });
    return { kind: "assembled", ...measured, ...filled };
  }

  /** LIMIT_ENTRIES, LIMIT_BYTES. */
  #measure(layers: readonly LayerDocument[]): Measured {
    const { maxEntriesPerImage, maxImageBytes } = this.#limits;
    const entries = layers.reduce((total, layer) => total + layer.entries, 0);
    if (entries > maxEntriesPerImage)
      throw new StrataError("LIMIT_ENTRIES", `Cannot plan the root: it has more than ${maxEntriesPerImage} entries`);
    const bytes = layers.reduce((total, layer) => total + layer.bytes, 0);
    if (bytes > maxImageBytes)
      throw new StrataError("LIMIT_BYTES", `Cannot plan the root: it is larger than ${maxImageBytes} bytes`);
    return { entries, bytes, dropped: 0 };
  }
}
