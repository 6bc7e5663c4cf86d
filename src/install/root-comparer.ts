/**
 * What an update of a name changes at the image root: the root that the name has against the one that it is to have, compared by a
 * worker from what they were made of. What cannot be compared fails no install.
 */
import { StrataError } from "../errors.js";
import type { Log } from "../log.js";
import type { Changes } from "../messages/job.js";
import type { Pool } from "../pool.js";
import { printableName } from "../printable.js";
import type { EntriesFile, RootChanges, ShownRoot } from "../root-tasks.js";
import type { RootDocument } from "../store/documents.js";
import { changesetOf, planOf } from "../store/entries-files.js";
import type { Lease } from "../store/leases.js";
import type { Store } from "../store/store.js";
import { TaskProgress } from "../task-progress.js";
import { LINK_WEIGHT } from "../weights.js";

export class RootComparer {
  readonly #store: Store;
  readonly #pool: Pool;
  readonly #log: Log;

  constructor(options: { readonly store: Store; readonly pool: Pool; readonly log: Log }) {
    this.#store = options.store;
    this.#pool = options.pool;
    this.#log = options.log;
  }

  /**
   * From the root that the name has when this answers; undefined where that is none, `to`, or cannot be compared. CANCELLED on `signal`.
   * `lease` keeps what is compared.
   */
  async changes(
    name: string,
    to: RootDocument,
    { lease, signal }: { readonly lease: Lease; readonly signal: AbortSignal },
  ): Promise<Changes | undefined> {
    const had = () => this.#store.names.current(name)?.rootId;
    for (;;) {
      const from = had();
      if (from !== undefined) lease.root(from);
      const changes = await this.#between(from, to, signal);
      signal.throwIfAborted();
      if (had() === from) return changes;
    }
  }

  async #between(had: string | undefined, has: RootDocument, signal: AbortSignal): Promise<Changes | undefined> {
    if (had === undefined || had === has.rootId) return undefined;
    const before = this.#store.roots.get(had);
    if (before === undefined) return undefined;
    const progress = new TaskProgress();
    try {
      const task = { had: this.#shown(before), has: this.#shown(has), progress: progress.shared };
      return viewOf(await this.#pool.run("compare", task, { signal, weight: LINK_WEIGHT, progress }));
    } catch (error) {
      if (!signal.aborted) this.#log.warn("changes.unknown", { had, has: has.rootId, error });
      return undefined;
    }
  }

  #shown({ rootId, link, layers, planSha256: sha256 }: RootDocument): ShownRoot {
    if (sha256 === undefined) return { link, files: layers.map((diffId) => this.#changeset(diffId)) };
    return { link, files: [planOf(this.#store.layout, rootId, sha256)] };
  }

  #changeset(diffId: RootDocument["layers"][number]): EntriesFile {
    const layer = this.#store.layers.get(diffId);
    if (layer === undefined)
      throw new StrataError("STORE_CORRUPT", `Cannot compare the roots: layer ${diffId} is not in the store`);
    return changesetOf(this.#store.layout, layer.document);
  }
}

function viewOf({ added, changed, removed, total }: RootChanges): Changes {
  const shown = (names: readonly string[]): string[] => names.map((name) => printableName(name));
  return { added: shown(added), changed: shown(changed), removed: shown(removed), total };
}
