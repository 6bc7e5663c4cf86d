/**
 * What a store shall hold, as plain maps: names with their generations, pins, and the roots and layers that they keep. Knows no disk and
 * no daemon; the real store is compared with it after each command.
 */

/** What every model knows of an image: its tag, which is also what its file says. */
export type Tag = string;

export interface ModelGeneration {
  readonly generation: number;
  readonly tag: Tag;
}

/** The layer that all images have. */
export const SHARED = "shared";

interface ModelName {
  readonly generations: readonly ModelGeneration[];
  /** The number of the current one. */
  readonly current: number;
}

/** As limits.ts says; the oldest are forgotten. */
const MAX_GENERATIONS = 100;

export class Model {
  readonly names = new Map<string, ModelName>();
  /** Images that have a root; one that nothing keeps may go at any time. */
  readonly roots = new Set<Tag>();
  readonly pinned = new Set<Tag>();
  /** By the tag of the image that alone has it, or `SHARED`. */
  readonly layers = new Set<Tag>();

  copy(): Model {
    const copy = new Model();
    for (const [name, known] of this.names) copy.names.set(name, known);
    for (const of of ["roots", "pinned", "layers"] as const) for (const tag of this[of]) copy[of].add(tag);
    return copy;
  }

  current(name: string): Tag | undefined {
    const known = this.names.get(name);
    return known?.generations.find(({ generation }) => generation === known.current)?.tag;
  }

  /** Roots that a pin or any generation of any name keeps. */
  kept(): Set<Tag> {
    const held = [...this.names.values()].flatMap(({ generations }) => generations.map(({ tag }) => tag));
    return new Set([...this.pinned, ...held].filter((tag) => this.roots.has(tag)));
  }

  install(tag: Tag, name: string): void {
    this.roots.add(tag);
    this.layers.add(tag).add(SHARED);
    if (this.current(name) === tag) return;
    const before = this.names.get(name)?.generations ?? [];
    const generation = (before.at(-1)?.generation ?? 0) + 1;
    this.names.set(name, {
      generations: [...before, { generation, tag }].slice(-MAX_GENERATIONS),
      current: generation,
    });
  }

  /** False where there is no such name. */
  remove(name: string): boolean {
    const removed = this.names.get(name);
    if (removed === undefined) return false;
    this.names.delete(name);
    const kept = this.kept();
    for (const { tag } of removed.generations) if (!kept.has(tag)) this.roots.delete(tag);
    return true;
  }

  /** To the generation before the current one; false where there is none, or its root is gone. */
  rollback(name: string): boolean {
    const known = this.names.get(name);
    const to = known?.generations.findLast(({ generation }) => generation < known.current);
    if (known === undefined || to === undefined || !this.roots.has(to.tag)) return false;
    this.names.set(name, { ...known, current: to.generation });
    return true;
  }

  /** The name's root; false where there is no such name. */
  pin(name: string): boolean {
    const tag = this.current(name);
    if (tag !== undefined) this.pinned.add(tag);
    return tag !== undefined;
  }

  unpin(tag: Tag): void {
    this.pinned.delete(tag);
  }

  /** Of each name the newest generations stay whose root stands, and the current one; then layers that no root needs go. */
  collect(keepLast: number): void {
    const kept = new Set(this.pinned);
    for (const { generations, current } of this.names.values()) {
      const newest = generations.filter(({ tag }) => this.roots.has(tag)).slice(-keepLast);
      for (const one of generations) if (newest.includes(one) || one.generation === current) kept.add(one.tag);
    }
    for (const tag of this.roots) if (!kept.has(tag)) this.roots.delete(tag);
    for (const tag of this.layers)
      if (!this.roots.has(tag === SHARED ? ([...this.roots][0] ?? "") : tag)) this.layers.delete(tag);
  }
}
