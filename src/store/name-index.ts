/**
 * The names in memory, by all that is asked of them: what one would search all names for is looked up.
 */
import type { Generation, NameDocument } from "./documents.js";
import { currentOf } from "./generations.js";
import { KeyedSets } from "./keyed-sets.js";

/** What the file system makes of a name: the same of those that it takes for one another. */
export type Folds = (name: string) => string;

export class NameIndex {
  readonly #folds: Folds;
  readonly #documents = new Map<string, NameDocument>();
  /** By root, the names whose current generation it is. */
  readonly #byRoot = new KeyedSets<string>();
  /** By root, the names any of whose generations it is. */
  readonly #holders = new KeyedSets<string>();
  /** By reference, the names whose current generation was installed from it. */
  readonly #byReference = new KeyedSets<string>();
  readonly #byFolded = new KeyedSets<string>();

  constructor(folds: Folds = (name) => name) {
    this.#folds = folds;
  }

  get size(): number {
    return this.#documents.size;
  }

  get(name: string): NameDocument | undefined {
    return this.#documents.get(name);
  }

  /** Each with all its generations, the current one last, whatever its number. */
  all(): readonly NameDocument[] {
    return [...this.#documents.values()].map((document) => {
      const current = currentOf(document);
      if (current === undefined || document.current === undefined) return document;
      return { ...document, generations: [...document.generations.filter((other) => other !== current), current] };
    });
  }

  current(name: string): Generation | undefined {
    const document = this.#documents.get(name);
    return document === undefined ? undefined : currentOf(document);
  }

  /** The names whose current generation is this root, by name. */
  of(rootId: string): { name: string; generation: number }[] {
    return [...this.#byRoot.get(rootId)].sort().flatMap((name) => {
      const current = this.current(name);
      return current === undefined ? [] : [{ name, generation: current.generation }];
    });
  }

  /** Whether any generation of any name is this root. */
  holds(rootId: string): boolean {
    return this.#holders.get(rootId).size > 0;
  }

  /** The current generations that were installed from this reference. */
  installedFrom(reference: string): Generation[] {
    return [...this.#byReference.get(reference)].flatMap((name) => this.current(name) ?? []);
  }

  /** Another name that the file system takes for this one. */
  foldedLike(name: string): string | undefined {
    return [...this.#byFolded.get(this.#folds(name))].find((known) => known !== name);
  }

  set(document: NameDocument): void {
    const { name } = document;
    this.delete(name);
    this.#documents.set(name, document);
    const current = currentOf(document);
    this.#byRoot.add(current?.rootId ?? "", name);
    this.#byReference.add(current?.reference ?? "", name);
    this.#byFolded.add(this.#folds(name), name);
    for (const { rootId } of document.generations) this.#holders.add(rootId, name);
  }

  delete(name: string): void {
    const document = this.#documents.get(name);
    if (document === undefined) return;
    const current = currentOf(document);
    this.#documents.delete(name);
    this.#byRoot.delete(current?.rootId ?? "", name);
    this.#byReference.delete(current?.reference ?? "", name);
    this.#byFolded.delete(this.#folds(name), name);
    for (const { rootId } of document.generations) this.#holders.delete(rootId, name);
  }
}
