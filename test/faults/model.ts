/**
 * What a store shall hold, as plain maps: names with their generations, and the roots that they keep. Knows no disk and no daemon; the
 * real store is compared with it after each command.
 */

/** What every model knows of an image: its tag, which is also what its file says. */
export type Tag = string;

export interface ModelGeneration {
  readonly generation: number;
  readonly tag: Tag;
}

interface ModelName {
  readonly generations: readonly ModelGeneration[];
  /** The number of the current one. */
  readonly current: number;
}

/** As limits.ts says; the oldest are forgotten. */
const MAX_GENERATIONS = 100;

export class Model {
  readonly names = new Map<string, ModelName>();
  /** Images that have a root. */
  readonly roots = new Set<Tag>();

  copy(): Model {
    const copy = new Model();
    for (const [name, known] of this.names) copy.names.set(name, known);
    for (const tag of this.roots) copy.roots.add(tag);
    return copy;
  }

  current(name: string): Tag | undefined {
    const known = this.names.get(name);
    return known?.generations.find(({ generation }) => generation === known.current)?.tag;
  }

  /** What any generation of any name is. */
  held(): Set<Tag> {
    return new Set([...this.names.values()].flatMap(({ generations }) => generations.map(({ tag }) => tag)));
  }

  install(tag: Tag, name: string): void {
    this.roots.add(tag);
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
    const held = this.held();
    for (const { tag } of removed.generations) if (!held.has(tag)) this.roots.delete(tag);
    return true;
  }

  /** To the generation before the current one; false where there is none. */
  rollback(name: string): boolean {
    const known = this.names.get(name);
    const to = known?.generations.findLast(({ generation }) => generation < known.current);
    if (known === undefined || to === undefined) return false;
    this.names.set(name, { ...known, current: to.generation });
    return true;
  }
}
