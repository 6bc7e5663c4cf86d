/**
 * Names: stable paths that point at roots. Installing under a name that exists flips it by one rename of a symlink, and so does a
 * rollback. The name's document is the intention and is written first; a flip that a crash cut short is made good at start.
 * What a history may look like stands in generations.ts.
 */
import { readdir, readlink, rename, symlink, unlink } from "node:fs/promises";
import { StrataError } from "../errors.js";
import type { Log } from "../log.js";
import { printable } from "../printable.js";
import {
  type Generation,
  type NameDocument,
  settleParent,
  syncParent,
  TEMPORARY,
  unlinkIfThere,
  writeDocument,
} from "./documents.js";
import {
  currentOf,
  type NewGeneration,
  rollbackTarget,
  withCurrent,
  withInstalled,
  withStandingCurrent,
} from "./generations.js";
import type { StoreLayout } from "./layout.js";
import { type Folds, NameIndex } from "./name-index.js";
import type { Parts, StoreScan } from "./store-scan.js";

export interface Named {
  readonly generation: Generation;
  /** False where the name pointed there already. */
  readonly flipped: boolean;
  /** What was current before the flip; absent where the name is new. */
  readonly had?: Generation;
}

/** The current generations before and after a rollback; the same where that was current already. */
export interface RolledBack {
  readonly had: Generation;
  readonly has: Generation;
}

/** A name's document, and what its symlink says. */
export interface FoundName {
  readonly document: NameDocument;
  readonly target: string | undefined;
}

export interface Adoption {
  /** Whether a root is there: a name never points at one that is not. */
  readonly standing: (rootId: string) => boolean;
  readonly folds: Folds;
}

export class Names {
  readonly #layout: StoreLayout;
  readonly #log: Log;
  #index = new NameIndex();
  readonly #unreadable = new Set<string>();
  #removed: (name: string, rootId: string | undefined) => void = () => undefined;

  constructor(layout: StoreLayout, log: Log) {
    this.#layout = layout;
    this.#log = log;
  }

  /** Reads what stands there, and removes what was never finished; known is nothing of it before `adopt`. */
  async scan(scan: StoreScan, listed: Parts): Promise<FoundName[]> {
    const found: FoundName[] = [];
    await scan.each(this.#layout.namePlace, listed, {
      found: (_name, { document, target }) => found.push({ document, target }),
      unreadable: (name, error) => this.#say(name, error),
    });
    for (const entry of await readdir(this.#layout.names)) {
      if (isTemporary(entry)) await unlink(this.#layout.name(entry));
    }
    return found;
  }

  /** Rebuilds the index, and makes good what a crash cut short. */
  async adopt(found: readonly FoundName[], { standing, folds }: Adoption): Promise<void> {
    this.#index = new NameIndex(folds);
    for (const { document, target } of found) await this.#adopt(document, { standing, target });
  }

  /** One that was read is known all the same: on a full disk it is made good by the next start. */
  #say(name: string, error: unknown): void {
    const file = `${name}${DOCUMENT}`;
    const isKnown = this.#index.get(name) !== undefined;
    if (!isKnown) this.#unreadable.add(file);
    this.#log.warn(isKnown ? "name.unsettled" : "name.unreadable", { file, error });
  }

  /** `target` is what the symlink says. */
  async #adopt(
    document: NameDocument,
    { standing, target }: { readonly standing: (rootId: string) => boolean; readonly target: string | undefined },
  ): Promise<void> {
    const { name } = document;
    const adopted = withStandingCurrent(document, standing);
    try {
      if (adopted === undefined) {
        this.#log.warn("name.lost", { name });
        await this.#unlink(name);
        return;
      }
      const lost = currentOf(document)?.generation;
      const generation = currentOf(adopted)?.generation;
      this.#remember(adopted);
      if (lost !== generation) {
        this.#log.warn("generation.lost", { name, lost, generation });
        await this.#write(adopted);
      }
      if (target !== this.#targetOf(adopted)) await this.#flip(adopted, await this.#prepare(adopted));
    } catch (error) {
      this.#say(name, error);
    }
  }

  get(name: string): NameDocument | undefined {
    return this.#index.get(name);
  }

  /** Every name with all its generations, the current one last, whatever its number. */
  all(): readonly NameDocument[] {
    return this.#index.all();
  }

  /** Files of documents that the last scan left out: which roots these names have is not known. */
  unreadable(): readonly string[] {
    return [...this.#unreadable];
  }

  get size(): number {
    return this.#index.size;
  }

  current(name: string): Generation | undefined {
    return this.#index.current(name);
  }

  /** Calls `listener` for every name that is removed, with the root that it had, before it can be given anew. One listener. */
  onRemoved(listener: (name: string, rootId: string | undefined) => void): void {
    this.#removed = listener;
  }

  /** Whether the name points at the root already, under the same reference. */
  leadsTo(name: string, { rootId, reference }: NewGeneration): boolean {
    const current = this.current(name);
    return current?.rootId === rootId && current.reference === reference;
  }

  /** Points the name at the root. No new generation where it leads there already. */
  async set(name: string, next: NewGeneration): Promise<Named> {
    const current = this.current(name);
    if (current !== undefined && this.leadsTo(name, next)) return { generation: current, flipped: false };
    const { document, generation } = withInstalled(name, this.#index.get(name), next);
    await this.#change(document);
    return { generation, flipped: true, ...(current === undefined ? {} : { had: current }) };
  }

  /** The generation that `rollback` would make current. UNKNOWN_NAME, UNKNOWN_ROOT. */
  rollbackTarget(name: string, generation: number | undefined): Generation {
    return rollbackTarget(this.#known(name), generation);
  }

  /** Makes a remembered generation, whose root stands, current; no new one. UNKNOWN_NAME. */
  async rollback(name: string, to: Generation): Promise<RolledBack> {
    const document = this.#known(name);
    const had = currentOf(document) ?? to;
    if (had.generation !== to.generation) await this.#change(withCurrent(document, to));
    return { had, has: to };
  }

  /** Writes the name's document and its symlink from memory. */
  async rewrite(name: string): Promise<void> {
    const document = this.#index.get(name);
    if (document === undefined) return;
    await this.#write(document);
    await this.#flip(document, await this.#prepare(document));
  }

  /** One that cannot be removed as a whole is as it was. */
  async remove(name: string): Promise<void> {
    try {
      await this.#unlink(name);
    } catch (error) {
      const document = this.#known(name);
      const undo = this.#prepare(document).then((prepared) => this.#flip(document, prepared));
      await undo.catch((failure: unknown) => this.#log.warn("name.unsettled", { name, error: failure }));
      throw error;
    }
    const had = this.current(name);
    this.#index.delete(name);
    this.#removed(name, had?.rootId);
  }

  /** The names whose current generation is this root, by name. */
  of(rootId: string): { name: string; generation: number }[] {
    return this.#index.of(rootId);
  }

  /** Whether any generation of any name is this root. */
  holds(rootId: string): boolean {
    return this.#index.holds(rootId);
  }

  /** The current generations that were installed from this reference. */
  installedFrom(reference: string): Generation[] {
    return this.#index.installedFrom(reference);
  }

  /** Another name that the file system takes for this one. */
  foldedLike(name: string): string | undefined {
    return this.#index.foldedLike(name);
  }

  #known(name: string): NameDocument {
    const document = this.#index.get(name);
    if (document === undefined)
      throw new StrataError("UNKNOWN_NAME", `Cannot find the name ${printable(name, 128)}: there is none`);
    return document;
  }

  /**
   * The intention, then the flip, then memory. A flip that fails takes the intention back: no later start shall carry it out. The
   * symlink is made before: where the disk is full, nothing was intended yet.
   */
  async #change(document: NameDocument): Promise<void> {
    const before = this.#index.get(document.name);
    const prepared = await this.#prepare(document);
    const unprepare = () => prepared !== undefined && unlinkIfThere(prepared).catch(() => undefined);
    const path = this.#layout.nameDocument(document.name);
    try {
      await writeDocument(path, document);
    } catch (error) {
      await unprepare();
      throw error;
    }
    try {
      await syncParent(path);
      await this.#flip(document, prepared);
    } catch (error) {
      await unprepare();
      const undo = before === undefined ? this.#unwrite(document.name) : this.#write(before);
      await undo.catch((failure: unknown) => this.#log.warn("name.unsettled", { name: document.name, error: failure }));
      throw error;
    }
    this.#remember(document);
  }

  /** On the disk before the flip is: a symlink must not be newer than its document after a power cut. */
  async #write(document: NameDocument): Promise<void> {
    const path = this.#layout.nameDocument(document.name);
    await writeDocument(path, document);
    await syncParent(path);
  }

  async #unwrite(name: string): Promise<void> {
    const path = this.#layout.nameDocument(name);
    await unlinkIfThere(path);
    await settleParent(path, this.#log);
  }

  /** A symlink to the current generation, beside the name; undefined where the name leads there. */
  async #prepare(document: NameDocument): Promise<string | undefined> {
    const target = this.#targetOf(document);
    if ((await readlink(this.#layout.name(document.name)).catch(() => undefined)) === target) return undefined;
    const temporary = this.#layout.name(`.${document.name}${TEMPORARY}`);
    await unlinkIfThere(temporary);
    await symlink(target, temporary);
    return temporary;
  }

  #targetOf(document: NameDocument): string {
    return this.#layout.nameTarget(currentOf(document)?.rootId ?? "");
  }

  async #flip({ name }: NameDocument, prepared: string | undefined): Promise<void> {
    if (prepared === undefined) return;
    const path = this.#layout.name(name);
    await rename(prepared, path);
    await settleParent(path, this.#log);
  }

  /** The symlink first: a document without one is made good or dropped at start, a symlink without one is nobody's. */
  async #unlink(name: string): Promise<void> {
    const path = this.#layout.name(name);
    await unlinkIfThere(path);
    await settleParent(path, this.#log);
    await this.#unwrite(name);
  }

  #remember(document: NameDocument): void {
    this.#unreadable.delete(`${document.name}${DOCUMENT}`);
    this.#index.set(document);
  }
}

const DOCUMENT = ".json";

/** A name may end in `.new`; none begins with a dot. */
const isTemporary = (entry: string): boolean => entry.startsWith(".") && entry.endsWith(TEMPORARY);
