/**
 * The assembled roots: an index of what stands under roots/, and the renames that add to it and take from it. A root is
 * immutable; its id is a hash of everything that decides what it holds, so the same request finds it.
 */
import { createHash } from "node:crypto";
import { readdir, rename, stat } from "node:fs/promises";
import type { Log } from "../log.js";
import type { LinkMode, Overlap } from "../messages.js";
import type { Digest } from "../oci/digest.js";
import type { Placement } from "../overlap/placement.js";
import { type RootDocument, readDocument, rootSchema, syncParent, writeDocument } from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import { isTaken } from "./layers.js";
import type { StoreLayout } from "./layout.js";

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
        this.#log.warn("root.unreadable", { rootId, error });
      }
    });
  }

  get(rootId: string): RootDocument | undefined {
    return this.#index.get(rootId);
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

  /** Whether anything stands where the root belongs; nothing is forgotten. */
  async isThere(rootId: string): Promise<boolean> {
    return stat(this.#layout.root(rootId)).then(
      () => true,
      () => false,
    );
  }

  /** Publishes `staged`, which holds tree/, under the document's id; where another commit came first, that one stands. */
  async commit(staged: string, document: RootDocument): Promise<void> {
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

  /** Writes the root's document from memory. */
  async rewrite(rootId: string): Promise<void> {
    const document = this.#index.get(rootId);
    if (document !== undefined) await writeDocument(this.#layout.rootDocument(rootId), document);
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

  /** Takes a root out of sight, into `staged`, by one rename; the caller removes it from there. */
  async take(rootId: string, staged: string): Promise<void> {
    await rename(this.#layout.root(rootId), staged);
    this.#index.delete(rootId);
    this.#unsynced.delete(rootId);
    await syncParent(this.#layout.root(rootId));
  }
}
