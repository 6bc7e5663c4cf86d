/**
 * Names: stable paths that point at roots. Installing under a name that exists flips it by one rename of a symlink; each flip is
 * a generation. The name's document is the intention and is written first; a flip that a crash cut short is made good at
 * start.
 */
import { readdir, readlink, rename, symlink, unlink } from "node:fs/promises";
import { MAX_GENERATIONS } from "../limits.js";
import type { Log } from "../log.js";
import {
  type Generation,
  type NameDocument,
  nameSchema,
  readDocument,
  syncParent,
  writeDocument,
} from "./documents.js";
import type { StoreLayout } from "./layout.js";

export type NewGeneration = Omit<Generation, "generation" | "at">;

export interface Named {
  readonly generation: Generation;
  /** False where the name pointed there already. */
  readonly flipped: boolean;
}

export class Names {
  readonly #layout: StoreLayout;
  readonly #log: Log;
  readonly #index = new Map<string, NameDocument>();

  constructor(layout: StoreLayout, log: Log) {
    this.#layout = layout;
    this.#log = log;
  }

  /** `standing` tells whether a root is there: a name never points at one that is not. */
  async scan(standing: (rootId: string) => boolean): Promise<void> {
    for (const file of await readdir(this.#layout.nameDocuments)) {
      const path = `${this.#layout.nameDocuments}/${file}`;
      if (file.endsWith(".new")) await unlink(path);
      if (!file.endsWith(".json")) continue;
      try {
        const document = await readDocument(path, nameSchema);
        if (document !== undefined) await this.#adopt(document, standing);
      } catch (error) {
        this.#log.warn("name.unreadable", { file, error });
      }
    }
    for (const entry of await readdir(this.#layout.names)) {
      if (entry.endsWith(TEMPORARY)) await unlink(this.#layout.name(entry));
    }
  }

  async #adopt(document: NameDocument, standing: (rootId: string) => boolean): Promise<void> {
    const generations = document.generations.filter(({ rootId }) => standing(rootId));
    const current = generations.at(-1);
    if (current === undefined) {
      this.#log.warn("name.lost", { name: document.name });
      await this.#unlink(document.name);
      return;
    }
    const onDisk = await readlink(this.#layout.name(document.name)).catch(() => undefined);
    if (onDisk !== this.#layout.nameTarget(current.rootId)) await this.#flip(document.name, current.rootId);
    this.#index.set(document.name, { ...document, generations });
  }

  get(name: string): NameDocument | undefined {
    return this.#index.get(name);
  }

  all(): readonly NameDocument[] {
    return [...this.#index.values()];
  }

  get size(): number {
    return this.#index.size;
  }

  current(name: string): Generation | undefined {
    return this.#index.get(name)?.generations.at(-1);
  }

  /** Points the name at the root. No new generation where it points there already under the same reference. */
  async set(name: string, next: NewGeneration): Promise<Named> {
    const current = this.current(name);
    if (current?.rootId === next.rootId && current.reference === next.reference)
      return { generation: current, flipped: false };
    const generation: Generation = {
      ...next,
      generation: (current?.generation ?? 0) + 1,
      at: new Date().toISOString(),
    };
    const generations = [...(this.#index.get(name)?.generations ?? []), generation].slice(-MAX_GENERATIONS);
    const document: NameDocument = { schema: 1, name, generations };
    await writeDocument(this.#layout.nameDocument(name), document);
    if (current?.rootId !== next.rootId) await this.#flip(name, next.rootId);
    this.#index.set(name, document);
    return { generation, flipped: true };
  }

  async remove(name: string): Promise<void> {
    this.#index.delete(name);
    await this.#unlink(name);
  }

  /** The names whose current generation is this root. */
  of(rootId: string): { name: string; generation: number }[] {
    const found: { name: string; generation: number }[] = [];
    for (const { name, generations } of this.#index.values()) {
      const current = generations.at(-1);
      if (current?.rootId === rootId) found.push({ name, generation: current.generation });
    }
    return found;
  }

  /** Whether any generation of any name is this root. */
  holds(rootId: string): boolean {
    return this.all().some(({ generations }) => generations.some((generation) => generation.rootId === rootId));
  }

  async #flip(name: string, rootId: string): Promise<void> {
    const path = this.#layout.name(name);
    const temporary = this.#layout.name(`.${name}${TEMPORARY}`);
    await unlink(temporary).catch(() => undefined);
    await symlink(this.#layout.nameTarget(rootId), temporary);
    await rename(temporary, path);
    await syncParent(path);
  }

  /** The symlink first: a document without one is made good or dropped at start, a symlink without one is nobody's. */
  async #unlink(name: string): Promise<void> {
    await unlink(this.#layout.nameDocument(name)).catch(() => undefined);
    await unlink(this.#layout.name(name)).catch(() => undefined);
    await syncParent(this.#layout.name(name));
  }
}

const TEMPORARY = ".new";
