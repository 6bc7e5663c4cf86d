/**
 * The pool's tasks that fill a root's tree from lists of entries: links or copies in parts, side by side, and what is left to do when all
 * parts are. Decides nothing: what may stand together was judged before.
 */
import type { Pool } from "../pool.js";
import type { EntriesFile, FileMode, LinkedLayer, LinkResult, LinkSum, LinkTask } from "../root-tasks.js";
import type { Slots } from "../slots.js";
import { changesetOf } from "../store/entries-files.js";
import type { Store } from "../store/store.js";
import { TaskProgress } from "../task-progress.js";
import type { LayerDocument } from "../tasks.js";
import { LINK_WEIGHT } from "../weights.js";

/** What is linked: lists of entries, each with the layers that it is about and how many there are. */
export interface Listed {
  readonly file: EntriesFile;
  readonly layers: readonly LinkedLayer[];
  readonly entries: number;
}

export interface Filled {
  readonly copiedBytes: number;
  readonly linked: { readonly files: number; readonly copied: { readonly count: number; readonly because?: string } };
}

/** Runs the work of one of a layer's parts while what that takes is claimed. */
export type ClaimPart = <Value>(part: LinkTask["part"], work: () => Promise<Value>) => Promise<Value>;

type Part = Pick<LinkTask, "entries" | "layers" | "part">;

/** Below this many entries a second thread costs more than it saves. */
const MIN_PART_ENTRIES = 4096;
/** Of a layer that is linked alone: each part reads all of its changeset for the hash of it, and others wait beside it. */
const MIN_PART_AHEAD = 4 * MIN_PART_ENTRIES;

export class RootLinker {
  readonly #store: Store;
  readonly #pool: Pool;

  constructor({ store, pool }: { readonly store: Store; readonly pool: Pool }) {
    this.#store = store;
    this.#pool = pool;
  }

  linked({ diffId }: LayerDocument): LinkedLayer {
    return { tree: this.#store.layout.layerTree(diffId), spill: this.#store.layout.spill(diffId) };
  }

  changeset(layer: LayerDocument): EntriesFile {
    return changesetOf(this.#store.layout, layer);
  }

  asItStands(layer: LayerDocument): Listed {
    return { file: this.changeset(layer), layers: [this.linked(layer)], entries: layer.entries };
  }

  async link(
    tree: string,
    lists: readonly Listed[],
    {
      mode,
      signal,
      spares = [],
    }: { readonly mode: FileMode; readonly signal: AbortSignal; readonly spares?: readonly LinkResult[] },
  ): Promise<Filled> {
    const parts = this.#parts(lists).map((part) => this.#part(tree, part, { mode, signal }));
    const copies = mode === "hardlink" ? [] : lists.map(({ file }) => file);
    return this.settle(tree, [...spares, ...(await whenAllHaveEnded(parts))], { copies, signal });
  }

  /** Hard links of one layer, each part in a slot, as `claimed` lets it; the largest layer first. `settle` has to follow. */
  linkLayer(
    tree: string,
    layer: LayerDocument,
    { slots, claimed, signal }: { readonly slots: Slots; readonly claimed: ClaimPart; readonly signal: AbortSignal },
  ): Promise<LinkResult[]> {
    return whenAllHaveEnded(
      this.#parts([this.asItStands(layer)], MIN_PART_AHEAD).map((part) => {
        // Of its own: Node takes more than ten that listen to one for a leak.
        const own = AbortSignal.any([signal]);
        const link = () => this.#part(tree, part, { mode: "hardlink", signal: own });
        return slots.run(layer.entries, own, () => claimed(part.part, link));
      }),
    );
  }

  /** One layer, settled; one small part after another, each when the pool has nothing else to do: who comes meanwhile waits for one. */
  async linkBehind(tree: string, layer: LayerDocument, signal: AbortSignal): Promise<LinkSum> {
    const results: LinkResult[] = [];
    for (const part of this.#parts([this.asItStands(layer)], MIN_PART_AHEAD, MIN_PART_AHEAD)) {
      await this.#pool.whenIdle(signal);
      results.push(await this.#part(tree, part, { mode: "hardlink", signal }));
    }
    await this.settle(tree, results, { signal });
    return sumOf(results);
  }

  /** What can only be done when all parts are. */
  async settle(
    tree: string,
    results: readonly LinkResult[],
    { copies = [], signal }: { readonly copies?: readonly EntriesFile[]; readonly signal: AbortSignal },
  ): Promise<Filled> {
    const directories = results.flatMap(({ open }) => open);
    if (directories.length + copies.length > 0) {
      const progress = new TaskProgress();
      const task = { tree, directories, copies, progress: progress.shared };
      await this.#pool.run("settle", task, { signal, weight: LINK_WEIGHT, progress });
    }
    return summary(results);
  }

  /** Of what a plan placed, else of the layers' names at their tops. */
  async symlink(
    tree: string,
    layers: readonly LayerDocument[],
    { plan, signal }: { readonly plan: EntriesFile | undefined; readonly signal: AbortSignal },
  ): Promise<Filled> {
    const task = {
      tree,
      layers: layers.map(({ diffId, topLevel }) => ({
        target: this.#store.layout.layerFromRoot(diffId),
        tree: this.#store.layout.layerTree(diffId),
        ...(plan === undefined ? { topLevel } : {}),
      })),
      ...(plan === undefined ? {} : { plan }),
    };
    const { symlinks } = await this.#pool.run("symlinks", task, { signal, weight: LINK_WEIGHT });
    return { copiedBytes: 0, linked: { files: symlinks, copied: { count: 0 } } };
  }

  #part(
    tree: string,
    part: Part,
    { mode, signal }: { readonly mode: FileMode; readonly signal: AbortSignal },
  ): Promise<LinkResult> {
    const progress = new TaskProgress();
    const task: LinkTask = { ...part, tree, mode, progress: progress.shared };
    return this.#pool.run("link", task, { signal, weight: LINK_WEIGHT, progress });
  }

  /** What link tasks do side by side: every list, and a large one in as many parts as there are threads. */
  #parts(lists: readonly Listed[], least = MIN_PART_ENTRIES, most = Number.POSITIVE_INFINITY): Part[] {
    const entries = lists.reduce((total, list) => total + list.entries, 0);
    const perPart = Math.min(most, Math.max(least, Math.ceil(entries / this.#pool.threads)));
    return lists.flatMap((list) => {
      const of = Math.ceil(list.entries / perPart);
      return Array.from({ length: of }, (_, index) => ({
        entries: list.file,
        layers: list.layers,
        part: { index, of },
      }));
    });
  }
}

function summary(results: readonly LinkResult[]): Filled {
  const { files, copied, copiedBytes, because } = sumOf(results);
  return {
    copiedBytes,
    linked: { files, copied: { count: copied, ...(because === undefined ? {} : { because }) } },
  };
}

function sumOf(results: readonly LinkResult[]): LinkSum {
  const sum = (of: (result: LinkResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  const because = results.find((result) => result.because !== undefined)?.because;
  return {
    files: sum(({ files }) => files),
    copied: sum(({ copied }) => copied),
    copiedBytes: sum(({ copiedBytes }) => copiedBytes),
    ...(because === undefined ? {} : { because }),
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
