/**
 * Stored layers into a root's tree in staging: the policy's plan, then the links, side by side over the pool.
 *
 * Under policy c layers are linked as they stand: their top-level names give the verdict, and no changeset is read before the
 * workers link it. Under every other policy, and where a layer asks for a place of its own, a plan is written first and stays
 * beside the root. Commits nothing.
 */
import { mkdir } from "node:fs/promises";
import type { LinkMode } from "../choices.js";
import { StrataError } from "../errors.js";
import type { ImageLimits } from "../limits.js";
import { areDisjoint } from "../overlap/disjoint-roots.js";
import type { Placement } from "../overlap/placement.js";
import type { PlannedPolicy } from "../overlap/plan-root.js";
import type { Pool } from "../pool.js";
import type {
  EntriesFile,
  FileMode,
  LinkedLayer,
  LinkResult,
  LinkTask,
  PlanConflicts,
  PlanResult,
} from "../root-tasks.js";
import type { StagingPaths } from "../store/layout.js";
import type { Store } from "../store/store.js";
import { TaskProgress } from "../task-progress.js";
import type { LayerDocument } from "../tasks.js";
import { type MeasuredRoot, measuredByDocuments, rootCost } from "./plan-cost.js";
import type { Piece, SpaceLedger } from "./space-ledger.js";
import { LINK_WEIGHT } from "./weights.js";

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

export interface Assembled {
  readonly kind: "assembled";
  readonly entries: number;
  readonly bytes: number;
  readonly layerBytes?: readonly number[];
  readonly copiedBytes: number;
  readonly planSha256?: string;
  /** Names that placements left nothing of. */
  readonly dropped: number;
  readonly linked: { readonly files: number; readonly copied: { readonly count: number; readonly because?: string } };
}

/** Below this many entries a second thread costs more than it saves. */
const MIN_PART_ENTRIES = 4096;
/** Names at the roots of all layers: a set of these takes some 20 ms. */
const MAX_NAMES_COMPARED = 100_000;

/** What is linked: lists of entries, each with the layers that it is about and how many there are. */
interface Listed {
  readonly file: EntriesFile;
  readonly layers: readonly LinkedLayer[];
  readonly entries: number;
}

type Measured = Pick<Assembled, "entries" | "bytes" | "layerBytes" | "dropped" | "planSha256">;

export class RootAssembler {
  readonly #store: Store;
  readonly #pool: Pool;
  readonly #limits: ImageLimits;
  readonly #space: SpaceLedger;

  constructor(options: {
    readonly store: Store;
    readonly pool: Pool;
    readonly limits: ImageLimits;
    readonly space: SpaceLedger;
  }) {
    this.#store = options.store;
    this.#pool = options.pool;
    this.#limits = options.limits;
    this.#space = options.space;
  }

  /** Fills `paths.root`: tree, and plan where there is one. LIMIT_ENTRIES, LIMIT_BYTES, NO_REFLINK, NO_SPACE, the codes of plan and store. */
  async assemble(paths: StagingPaths, assembly: Assembly): Promise<Assembled | PlanConflicts> {
    const { layers, signal, link } = assembly;
    await mkdir(paths.root);
    await mkdir(paths.rootTree);
    if (this.#isAsItStands(assembly)) {
      const documents = layers.map(({ document }) => document);
      const filled = { measured: this.#measure(documents), lists: this.#asTheyStand(documents) };
      const piece = this.#piece(paths, measuredByDocuments(documents), link);
      return this.#space.with(piece, signal, () => this.#fill(paths, assembly, filled));
    }
    const planned = await this.plan(assembly, paths.rootPlan);
    if (planned.kind === "conflicts") return planned;
    signal.throwIfAborted();
    const { entries, bytes, layerBytes, dropped, sha256 = "" } = planned;
    const file: EntriesFile = { kind: "plan", path: paths.rootPlan, sha256 };
    const lists = [{ file, layers: layers.map(({ document }) => this.#linked(document)), entries }];
    const measured = { entries, bytes, layerBytes, dropped, planSha256: sha256 };
    return this.#space.with(this.#piece(paths, planned, link), signal, () =>
      this.#fill(paths, assembly, { measured, lists }),
    );
  }

  /** What the root takes for itself; links take next to no time, so that all of it counts until it is there. */
  #piece({ root }: StagingPaths, measured: MeasuredRoot, link: LinkMode): Piece[] {
    const { writeBytes: bytes, writeInodes: inodes } = rootCost(measured, link);
    return [{ key: root, bytes: link === "reflink" ? 0 : bytes, inodes, share: () => 0 }];
  }

  /** What the root would hold, or why not; written to `file` where one is given. */
  plan({ layers, overlap, signal }: Omit<Assembly, "link">, file?: string): Promise<PlanResult> {
    const { folding } = this.#store;
    const task = {
      policy: overlap,
      layers: layers.map(({ document, placement }) => ({
        changeset: this.#changeset(document),
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
    for (const policy of (["b", "a"] as const).slice(overlap === "c" ? 0 : 1)) {
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
    const isPlaced = layers.some(({ placement }) => placement !== undefined);
    const names = layers.reduce((sum, { document }) => sum + document.topLevel.length, 0);
    // So many that the main thread should not compare them.
    const areTooMany = names > MAX_NAMES_COMPARED;
    const needsPlan = overlap !== "c" || isPlaced || areTooMany || this.#store.folding !== undefined;
    return !needsPlan && areDisjoint(layers.map(({ document }) => document));
  }

  #asTheyStand(documents: readonly LayerDocument[]): Listed[] {
    return documents.map((document) => ({
      file: this.#changeset(document),
      layers: [this.#linked(document)],
      entries: document.entries,
    }));
  }

  async #fill(
    paths: StagingPaths,
    assembly: Assembly,
    { measured, lists }: { readonly measured: Measured; readonly lists: readonly Listed[] },
  ): Promise<Assembled> {
    const { link, signal } = assembly;
    const filled =
      link === "symlink"
        ? await this.#symlink(paths, assembly, measured)
        : await this.#link(paths, lists, { mode: link, signal });
    return { kind: "assembled", ...measured, ...filled };
  }

  async #link(
    { rootTree: tree }: StagingPaths,
    lists: readonly Listed[],
    { mode, signal }: { readonly mode: FileMode; readonly signal: AbortSignal },
  ): Promise<Pick<Assembled, "copiedBytes" | "linked">> {
    const results = await whenAllHaveEnded(
      this.#parts(lists).map((part) => {
        const progress = new TaskProgress();
        const task: LinkTask = { ...part, tree, mode, progress: progress.shared };
        return this.#pool.run("link", task, { signal, weight: LINK_WEIGHT, progress });
      }),
    );
    const directories = results.flatMap(({ open }) => open);
    const copies = mode === "hardlink" ? [] : lists.map(({ file }) => file);
    if (directories.length > 0 || copies.length > 0) {
      const progress = new TaskProgress();
      const task = { tree, directories, copies, progress: progress.shared };
      await this.#pool.run("settle", task, { signal, weight: LINK_WEIGHT, progress });
    }
    return summary(results);
  }

  async #symlink(
    paths: StagingPaths,
    { layers, signal }: Assembly,
    { planSha256: sha256 }: Measured,
  ): Promise<Pick<Assembled, "copiedBytes" | "linked">> {
    const task = {
      tree: paths.rootTree,
      layers: layers.map(({ document: { diffId, topLevel } }) => ({
        target: this.#store.layout.layerFromRoot(diffId),
        tree: this.#store.layout.layerTree(diffId),
        ...(sha256 === undefined ? { topLevel } : {}),
      })),
      ...(sha256 === undefined ? {} : { plan: { kind: "plan", path: paths.rootPlan, sha256 } as const }),
    };
    const { symlinks } = await this.#pool.run("symlinks", task, { signal, weight: LINK_WEIGHT });
    return { copiedBytes: 0, linked: { files: symlinks, copied: { count: 0 } } };
  }

  /** What link tasks do side by side: every list, and a large one in as many parts as there are threads. */
  #parts(lists: readonly Listed[]): Pick<LinkTask, "entries" | "layers" | "part">[] {
    const entries = lists.reduce((total, list) => total + list.entries, 0);
    const perPart = Math.max(MIN_PART_ENTRIES, Math.ceil(entries / this.#pool.threads));
    return lists.flatMap((list) => {
      const of = Math.ceil(list.entries / perPart);
      return Array.from({ length: of }, (_, index) => ({
        entries: list.file,
        layers: list.layers,
        part: { index, of },
      }));
    });
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

  #linked({ diffId }: LayerDocument): LinkedLayer {
    return { tree: this.#store.layout.layerTree(diffId), spill: this.#store.layout.spill(diffId) };
  }

  #changeset({ diffId, changesetSha256: sha256 }: LayerDocument): EntriesFile {
    return { kind: "changeset", path: this.#store.layout.changeset(diffId), sha256 };
  }
}

function summary(results: readonly LinkResult[]): Pick<Assembled, "copiedBytes" | "linked"> {
  const sum = (of: (result: LinkResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  const because = results.find((result) => result.because !== undefined)?.because;
  return {
    copiedBytes: sum(({ copiedBytes }) => copiedBytes),
    linked: {
      files: sum(({ files }) => files),
      copied: { count: sum(({ copied }) => copied), ...(because === undefined ? {} : { because }) },
    },
  };
}

/** Only when nothing is under way any more: staging is removed then. Throws the first failure in order, not in time. */
async function whenAllHaveEnded<Value>(work: readonly Promise<Value>[]): Promise<Value[]> {
  return valuesOf(await Promise.allSettled(work));
}

export function valuesOf<Value>(ends: readonly PromiseSettledResult<Value>[]): Value[] {
  return ends.map((end) => {
    if (end.status === "rejected") throw end.reason;
    return end.value;
  });
}
