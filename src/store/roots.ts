/**
 * The assembled roots: an index of what stands under roots/, and the renames that add to it and take from it. A root is
 * immutable; its id is a hash of everything that decides what it holds, so the same request finds it.
 */
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { isWritable, type LinkMode, type Overlap } from "../choices.js";
import { isNotThere } from "../errors.js";
import type { Log } from "../log.js";
import type { Digest } from "../oci/digest.js";
import type { Placement } from "../overlap/placement.js";
import { SharedLook } from "../shared-look.js";
import { succeeds } from "../succeeds.js";
import { ByAge, type Page, type PageQuery, type Watcher } from "./by-age.js";
import {
  type RootDocument,
  type RootMeta,
  settleDirectory,
  syncParent,
  unlinkIfThere,
  type WriteOptions,
  writeDocument,
} from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import type { StoreLayout } from "./layout.js";
import { KeyedMutex } from "./mutex.js";
import { publish, withdraw } from "./publish.js";
import type { Parts, StoreScan } from "./store-scan.js";

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

export class Roots {
  readonly #layout: StoreLayout;
  readonly #bootId: string;
  readonly #log: Log;
  readonly #index = new ByAge<string, RootDocument>(({ createdAt }) => createdAt);
  /** Roots that no sync is known to have brought to the disk, each with the boot that it is known in; "" where none is. */
  readonly #notDurable = new Map<string, string>();
  readonly #unreadable = new Set<string>();
  readonly #changes = new KeyedMutex<string>();
  readonly #looks = new SharedLook<boolean>();
  #removed: (rootId: string) => void = () => undefined;
  #inOrder = Promise.resolve();

  constructor(layout: StoreLayout, options: { readonly bootId: string; readonly log: Log }) {
    this.#layout = layout;
    this.#bootId = options.bootId;
    this.#log = options.log;
  }

  /** As `Layers.scan`. */
  async scan(scan: StoreScan, listed: Parts): Promise<void> {
    await scan.each(this.#layout.rootPlace, listed, {
      found: (rootId, { document, meta }) => {
        this.#index.set(rootId, document);
        // Without its meta nothing says when it came.
        if (!meta?.durable) this.#notDurable.set(rootId, meta?.bootId ?? "");
      },
      unreadable: (rootId, error) => {
        this.#unreadable.add(rootId);
        this.#log.warn("root.unreadable", { rootId, error });
      },
    });
    this.#inOrder = this.#index.sort();
  }

  /** As `Layers.inOrder`. */
  get inOrder(): Promise<void> {
    return this.#inOrder;
  }

  get(rootId: string): RootDocument | undefined {
    return this.#index.get(rootId);
  }

  /** What the last scan left out. */
  unreadable(): readonly string[] {
    return [...this.#unreadable];
  }

  all(): readonly RootDocument[] {
    return this.#index.all();
  }

  /** Oldest first. */
  page(query: PageQuery): Page<RootDocument> {
    return this.#index.page(query);
  }

  /** Tells of every root that is there, comes or goes. */
  watch(watcher: Watcher<RootDocument>): void {
    this.#index.watch(watcher);
  }

  /** Calls `listener` for every root that goes, before another can stand in its place. One listener. */
  onRemoved(listener: (rootId: string) => void): void {
    this.#removed = listener;
  }

  get size(): number {
    return this.#index.size;
  }

  /**
   * One stat for all that ask at once: whether a root that the index knows is still there. One that is not is forgotten. STORE_IO where it
   * cannot be looked at.
   */
  async stands(rootId: string): Promise<boolean> {
    return this.#index.has(rootId) && this.#looks.at(rootId, () => this.#look(rootId));
  }

  async #look(rootId: string): Promise<boolean> {
    try {
      await stat(this.#layout.rootTree(rootId));
      return this.#index.has(rootId);
    } catch (error) {
      if (!isNotThere(error)) throw error;
      this.#log.warn("root.lost", { rootId, error });
      if (this.#index.has(rootId)) this.#removed(rootId);
      this.#index.delete(rootId);
      this.#notDurable.delete(rootId);
      return false;
    }
  }

  /** Whether anything stands where the root belongs; nothing is forgotten. */
  async isThere(rootId: string): Promise<boolean> {
    return succeeds(stat(this.#layout.root(rootId)));
  }

  /** Publishes `staged`, which holds tree/, under the document's id; where another commit came first, that one stands. */
  commit(staged: string, document: RootDocument): Promise<void> {
    const { rootId } = document;
    return this.#changes.run(rootId, async () => {
      if (await this.stands(rootId)) return;
      await writeDocument(`${staged}/root.json`, document);
      await this.#forgetMeta(rootId);
      await publish(staged, this.#layout.root(rootId), this.#log);
      this.#unreadable.delete(rootId);
      this.#notDurable.set(rootId, this.#bootId);
      this.#index.set(rootId, document);
      await this.#writeMeta(rootId, { sync: false });
    });
  }

  /** Writes the root's document from memory. */
  async rewrite(rootId: string): Promise<void> {
    const document = this.#index.get(rootId);
    if (document !== undefined) await writeDocument(this.#layout.rootDocument(rootId), document);
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
      const bootId = this.#notDurable.get(rootId);
      this.#index.delete(rootId);
      this.#notDurable.delete(rootId);
      try {
        await withdraw(this.#layout.root(rootId), staged);
      } catch (error) {
        this.#index.set(rootId, document);
        if (bootId !== undefined) this.#notDurable.set(rootId, bootId);
        throw error;
      }
      this.#removed(rootId);
      // It is gone; what stands about no root is swept at start.
      await unlinkIfThere(this.#layout.rootMeta(rootId)).catch((error: unknown) =>
        this.#log.warn("meta.left", { rootId, error }),
      );
      return true;
    });
  }

  /** Makes what was taken stay away after a power cut, as far as the disk lets it: it is gone in any case. */
  async sync(): Promise<void> {
    await settleDirectory(this.#layout.roots, this.#log);
  }

  /** Its own names, directories and files; its layers tell of themselves. */
  isDurable(rootId: string): boolean {
    return this.#index.has(rootId) && !this.#notDurable.has(rootId);
  }

  notDurable(): RootDocument[] {
    return [...this.#notDurable.keys()].map((rootId) => this.#index.get(rootId) as RootDocument);
  }

  /** Those that a power cut may have taken something of: not on the disk when another boot made them, as far as is known. */
  suspect(): RootDocument[] {
    return this.notDurable().filter(({ rootId }) => this.#notDurable.get(rootId) !== this.#bootId);
  }

  /** Everything committed before a sync of the whole file system is on the disk. */
  async markDurable(roots: readonly RootDocument[]): Promise<void> {
    await this.#changeMeta(roots, (rootId) => this.#notDurable.delete(rootId));
  }

  /** They were compared with what they were made of, and are all right. */
  async clear(roots: readonly RootDocument[]): Promise<void> {
    await this.#changeMeta(roots, (rootId) => this.#notDurable.set(rootId, this.#bootId));
  }

  /** Of those that still stand, and not of another that came in one's place meanwhile. */
  async #changeMeta(roots: readonly RootDocument[], change: (rootId: string) => void): Promise<void> {
    await eachConcurrently(roots, (document) =>
      this.#changes.run(document.rootId, async () => {
        if (this.#index.get(document.rootId) !== document) return;
        change(document.rootId);
        await this.#writeMeta(document.rootId);
      }),
    );
  }

  /** One that cannot be written is said: the root is compared once more than needed. */
  async #writeMeta(rootId: string, options: WriteOptions = {}): Promise<void> {
    const durable = this.isDurable(rootId);
    const meta: RootMeta = { schema: 1, durable, bootId: this.#notDurable.get(rootId) ?? this.#bootId };
    try {
      await writeDocument(this.#layout.rootMeta(rootId), meta, options);
    } catch (error) {
      this.#log.warn("meta.unwritten", { rootId, error });
    }
  }

  async #forgetMeta(rootId: string): Promise<void> {
    const path = this.#layout.rootMeta(rootId);
    if (await unlinkIfThere(path)) await syncParent(path);
  }
}
