/**
 * Spares (spares/): of a layer one more tree of links, as a root has it where it stands alone. A root that comes next takes what is
 * at its top by renames, and links nothing.
 *
 * A spare is nobody's, and may go at any time. It is believed while its document stands beside it, in the boot that wrote it: that is
 * written when the tree is there, and goes before the first name does.
 */
import { chmod, lstat, readdir, rename, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { systemErrorCode } from "../errors.js";
import type { Log } from "../log.js";
import { type DiffId, parseDiffId } from "../oci/digest.js";
import type { LinkResult, LinkSum } from "../root-tasks.js";
import type { LayerDocument } from "../tasks.js";
import { readDocument, unlinkIfThere, writeDocument } from "./documents.js";
import type { StoreLayout } from "./layout.js";
import type { RemoveTree, Staging } from "./staging.js";

const count = z.number().int().nonnegative();

const spareSchema = z.object({
  schema: z.literal(1),
  diffId: z.string().transform((text) => parseDiffId(text)),
  /** Of the layer that it was made of. */
  changesetSha256: z.string(),
  bootId: z.string(),
  entries: count,
  /** What linking it gave. */
  linked: z.object({ files: count, copied: count, copiedBytes: count, because: z.exactOptional(z.string()) }),
});
type SpareDocument = z.output<typeof spareSchema>;

export interface SparesOptions {
  readonly staging: Staging;
  readonly removeBehind: RemoveTree;
  readonly bootId: string;
  readonly log: Log;
}

export class Spares {
  readonly #layout: StoreLayout;
  readonly #staging: Staging;
  readonly #removeBehind: RemoveTree;
  readonly #bootId: string;
  readonly #log: Log;
  /** As they were made; those of the daemon before come first, in no order. */
  readonly #there = new Map<DiffId, SpareDocument>();
  readonly #removing = new Set<Promise<unknown>>();

  constructor(layout: StoreLayout, { staging, removeBehind, bootId, log }: SparesOptions) {
    this.#layout = layout;
    this.#staging = staging;
    this.#removeBehind = removeBehind;
    this.#bootId = bootId;
    this.#log = log;
  }

  /** Finds those that may be believed; the others are removed behind. `layerOf` knows what is stored. */
  async open(layerOf: (diffId: DiffId) => LayerDocument | undefined): Promise<void> {
    const names = await readdir(this.#layout.spares);
    const believed = new Set<string>();
    for (const name of names.filter((each) => each.endsWith(DOCUMENT))) {
      const tree = name.slice(0, -DOCUMENT.length);
      const path = join(this.#layout.spares, name);
      const spare = await readDocument(path, spareSchema).catch(() => undefined);
      if (spare === undefined || spare.bootId !== this.#bootId || !names.includes(tree)) continue;
      if (layerOf(spare.diffId)?.changesetSha256 !== spare.changesetSha256) continue;
      if (this.#layout.spareDocument(spare.diffId) !== path) continue;
      this.#there.set(spare.diffId, spare);
      believed.add(name).add(tree);
    }
    const others = names.filter((name) => !believed.has(name) && OURS.test(name));
    const [documents, trees] = [others.filter(isDocument), others.filter((name) => !isDocument(name))];
    if (others.length > 0) this.#log.info("spares.swept", { documents: documents.length, trees: trees.length });
    void this.#tracked(this.#sweep(documents, trees));
  }

  async #sweep(documents: readonly string[], trees: readonly string[]): Promise<void> {
    const standing = new Set<string>();
    for (const name of documents)
      if (!(await this.#unlinked(join(this.#layout.spares, name)))) standing.add(name.slice(0, name.indexOf(DOCUMENT)));
    const going = trees.filter((name) => !standing.has(name)).map((name) => join(this.#layout.spares, name));
    for (const tree of going) await this.#staging.discard(tree, this.#removeBehind);
  }

  has(diffId: DiffId): boolean {
    return this.#there.has(diffId);
  }

  /** How many layers have one, and the entries of all of them. */
  get total(): { readonly layers: number; readonly entries: number } {
    const entries = [...this.#there.values()].reduce((sum, spare) => sum + spare.entries, 0);
    return { layers: this.#there.size, entries };
  }

  /** The tree, which is in staging, becomes the spare of its layer; there is none. Not where the signal is aborted by then. */
  async put(
    tree: string,
    {
      layer,
      linked,
      signal,
    }: { readonly layer: LayerDocument; readonly linked: LinkSum; readonly signal: AbortSignal },
  ): Promise<void> {
    const { diffId, changesetSha256, entries } = layer;
    const spare: SpareDocument = { schema: 1, diffId, changesetSha256, bootId: this.#bootId, entries, linked };
    const place = this.#layout.spare(diffId);
    await this.settled();
    signal.throwIfAborted();
    await rename(tree, place).catch(async () => {
      // What could not be removed before is nobody's.
      await this.#remove([place]);
      await rename(tree, place);
    });
    try {
      // A power cut ends the boot that it is believed in: nothing has to reach the disk.
      await writeDocument(this.#layout.spareDocument(diffId), spare, { sync: false });
    } catch (error) {
      await this.#remove([place]);
      throw error;
    }
    this.#there.set(diffId, spare);
    if (signal.aborted) await this.drop(diffId);
  }

  /**
   * What the layer has at its top, into the root's tree; undefined where there is no spare. Where this throws, some of it may be there.
   */
  async take({ diffId, topLevel }: LayerDocument, tree: string): Promise<LinkResult | undefined> {
    const spare = this.#there.get(diffId);
    if (spare === undefined || !(await this.#hide(spare))) return undefined;
    const from = this.#layout.spare(diffId);
    try {
      for (const [name] of topLevel) await move(pathOf(from, name), pathOf(tree, name));
      await rmdir(from);
      return { ...spare.linked, open: [] };
    } catch (error) {
      this.#log.warn("spare.lost", { layer: diffId, error });
      void this.#remove([from]);
      throw error;
    }
  }

  /** As `drop`, of those that were made first, until the others hold so many entries at most. */
  async shrink(entries: number): Promise<boolean> {
    const going: DiffId[] = [];
    let left = this.total.entries;
    for (const [diffId, spare] of this.#there) {
      if (left <= entries) break;
      left -= spare.entries;
      going.push(diffId);
    }
    return this.drop(...going);
  }

  /**
   * Nobody finds them once this is called; resolves when they are gone. False where the document of one cannot be removed, by which the
   * next daemon would find it: that one stays.
   */
  async drop(...diffIds: readonly DiffId[]): Promise<boolean> {
    const going = diffIds.map((diffId) => this.#there.get(diffId)).filter((spare) => spare !== undefined);
    const areGone = await this.#tracked(this.#dropEach(going));
    // Whoever gives up those that another is removing waits for their room, too.
    await this.settled();
    return areGone;
  }

  async #dropEach(spares: readonly SpareDocument[]): Promise<boolean> {
    const hidden = await Promise.all(spares.map((spare) => this.#hide(spare)));
    await this.#remove(spares.filter((_, index) => hidden[index]).map(({ diffId }) => this.#layout.spare(diffId)));
    return !hidden.includes(false);
  }

  /** Nobody finds it from here on, here or in the next daemon; false where its document cannot be removed: then it stands as before. */
  async #hide(spare: SpareDocument): Promise<boolean> {
    this.#there.delete(spare.diffId);
    const isHidden = await this.#unlinked(this.#layout.spareDocument(spare.diffId));
    if (!isHidden) this.#there.set(spare.diffId, spare);
    return isHidden;
  }

  async #unlinked(path: string): Promise<boolean> {
    try {
      await unlinkIfThere(path);
      return true;
    } catch (error) {
      this.#log.warn("spare.left", { error });
      return false;
    }
  }

  /** Resolves when nothing is being removed. */
  async settled(): Promise<void> {
    await Promise.all(this.#removing);
  }

  /** Where they stand, for nobody finds them any more: a full disk has no room to move them to. What stays is removed by the next start. */
  async #remove(trees: readonly string[]): Promise<void> {
    const remove = async () => {
      for (const tree of trees) await this.#staging.discard(tree);
    };
    await this.#tracked(remove());
  }

  /** What is tracked never fails. */
  async #tracked<Value>(removing: Promise<Value>): Promise<Value> {
    this.#removing.add(removing);
    const value = await removing;
    this.#removing.delete(removing);
    return value;
  }
}

/** Of the name of a document, beside the tree that it is of. */
const DOCUMENT = ".json";
const isDocument = (name: string): boolean => name.includes(DOCUMENT);
/** What a hand put there stays. */
const OURS = /^[0-9a-f]{64,}(?:\.json.*)?$/;

/** `name` as bytes (latin1). */
const pathOf = (directory: string, name: string): Buffer =>
  Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(name, "latin1")]);

/** A directory that gets another parent has to be writable itself, but for root. */
async function move(from: Buffer, to: Buffer): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    const stats = await lstat(from);
    if (systemErrorCode(error) !== "EACCES" || !stats.isDirectory()) throw error;
    const { mode } = stats;
    await chmod(from, mode | 0o200);
    await rename(from, to);
    await chmod(to, mode);
  }
}
