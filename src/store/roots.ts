/**
 * The assembled roots: an index of what stands under roots/, and the renames that add to it and take from it. A root is
 * immutable; its id is a hash of everything that decides what it holds, so the same request finds it.
 */
import { createHash } from "node:crypto";
import { readdir, rename, stat } from "node:fs/promises";
import { systemErrorCode } from "../errors.js";
import type { Log } from "../log.js";
import type { LinkMode, Overlap } from "../messages.js";
import type { Digest } from "../oci/digest.js";
import type { Placement } from "../overlap/placement.js";
import { type RootDocument, readDocument, rootSchema, syncParent, writeDocument } from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import { isTaken } from "./layers.js";
import type { StoreLayout } from "./layout.js";
import { KeyedMutex } from "./mutex.js";

/** What decides the content of a root. */
export interface RootIdentity {
  readonly manifestDigest: Digest;
  readonly overlap: Overlap;
  readonly link: LinkMode;
  readonly placements: readonly (Placement | undefined)[];
  /** Whose root it is: one of copies is writable, and so no other name's. */
  readonly name: string;
}

export function rootIdOf({ manifestDigest, overlap, link, placements, name }: RootIdentity): string {
  const placed = placements.some((placement) => placement !== undefined)
    ? [placements.map((placement) => (placement === undefined ? null : [placement.prefix, placement.strip]))]
    : [];
  const owned = isWritable(link) ? [name] : [];
  return createHash("sha256")
    .update(JSON.stringify([1, manifestDigest, overlap, link, ...placed, ...owned]))
    .digest("hex");
}

/** Its files are its own. */
export const isWritable = (link: LinkMode): boolean => link === "copy" || link === "reflink";

export class Roots {
  readonly #layout: StoreLayout;
  readonly #log: Log;
  readonly #index = new Map<string, RootDocument>();
  /** Roots with files of their own that no sync has brought to the disk yet. */
  readonly #unsynced = new Set<string>();
  readonly #unreadable = new Set<string>();
  /** A root comes and goes one at a time: a commit beside a removal would take what is on its way out for its own. */
  readonly #changes = new KeyedMutex<string>();

  constructor(layout: StoreLayout, log: Log) {
    this.#layout = layout;
    this.#log = log;
  }

  async scan(): Promise<void> {
    await eachConcurrently(await readdir(this.#layout.roots), async (rootId) => {
      try {
        const document = await readDocument(this.#layout.rootDocument(rootId), rootSchema);
        if (document?.rootId !== rootId) throw new Error("no root.json of this root");
        this.#index.set(rootId, document);
      } catch (error) {
        this.#unreadable.add(rootId);
        this.#log.warn("root.unreadable", { rootId, error });
      }
    });
  }

  get(rootId: string): RootDocument | undefined {
    return this.#index.get(rootId);
  }

  /** What the last scan left out. */
  unreadable(): readonly string[] {
    return [...this.#unreadable];
  }

  all(): readonly RootDocument[] {
    return [...this.#index.values()];
  }

  get size(): number {
    return this.#index.size;
  }

  /** One stat: whether a root that the index knows is still there. One that is not is forgotten. */
  async stands(rootId: string): Promise<boolean> {
    if (!this.#index.has(rootId)) return false;
    try {
      await stat(this.#layout.rootTree(rootId));
      return true;
    } catch (error) {
      this.#log.warn("root.lost", { rootId, error });
      this.#index.delete(rootId);
      return false;
    }
  }

  /** Publishes `staged`, which holds tree/, under the document's id; where another commit came first, that one stands. */
  commit(staged: string, document: RootDocument): Promise<void> {
    return this.#changes.run(document.rootId, () => this.#commit(staged, document));
  }

  async #commit(staged: string, document: RootDocument): Promise<void> {
    const path = this.#layout.root(document.rootId);
    await writeDocument(`${staged}/root.json`, document);
    try {
      await rename(staged, path);
      await syncParent(path);
    } catch (error) {
      if (!isTaken(error)) throw error;
    }
    this.#index.set(document.rootId, document);
    if (document.copiedBytes !== undefined) this.#unsynced.add(document.rootId);
  }

  /** What a root has beside its layers; these tell of themselves. */
  isSynced(rootId: string): boolean {
    return !this.#unsynced.has(rootId);
  }

  notSynced(): string[] {
    return [...this.#unsynced];
  }

  /** Everything committed before a sync of the whole file system is on the disk. */
  markSynced(rootIds: readonly string[]): void {
    for (const rootId of rootIds) this.#unsynced.delete(rootId);
  }

  /**
   * Takes a root out of sight, into `staged`, by one rename; the caller removes it from there, and syncs the directory that it
   * stood in before anything goes that it needs. False where it is not here, or not to go: `mayGo` is asked in the same moment
   * in which nobody finds the root any more.
   */
  take(rootId: string, staged: string, mayGo: () => boolean = () => true): Promise<boolean> {
    return this.#changes.run(rootId, async () => {
      const document = this.#index.get(rootId);
      if (document === undefined || !mayGo()) return false;
      const isUnsynced = this.#unsynced.delete(rootId);
      this.#index.delete(rootId);
      try {
        await rename(this.#layout.root(rootId), staged);
      } catch (error) {
        if (systemErrorCode(error) !== "ENOENT") {
          this.#index.set(rootId, document);
          if (isUnsynced) this.#unsynced.add(rootId);
          throw error;
        }
      }
      return true;
    });
  }

  /** Makes what was taken stay away after a power cut. */
  async sync(): Promise<void> {
    await syncParent(this.#layout.root("any"));
  }
}
