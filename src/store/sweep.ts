/**
 * What a start removes of what was left half done, besides staging: documents whose rename never came, and what stands about layers and
 * roots that are not there any more.
 *
 * Each goes by one unlink or rename, so a sweep that is cut short goes on with the next start. What a hand put into the store is none
 * of this: it is kept, and said.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { TEMPORARY, unlinkIfThere } from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import type { StoreLayout } from "./layout.js";
import { withdraw } from "./publish.js";
import type { Staging } from "./staging.js";

/** How many there were, and what else stands in each of the directories. */
export async function sweepTemporaries({ documentDirectories }: StoreLayout): Promise<SweptTemporaries> {
  const left = new Map<string, readonly string[]>();
  const temporaries = await Promise.all(
    documentDirectories.map(async (directory) => {
      const names = await readdir(directory);
      const isTemporary = (name: string): boolean => name.endsWith(TEMPORARY);
      left.set(
        directory,
        names.filter((name) => !isTemporary(name)),
      );
      return names.filter(isTemporary).map((name) => join(directory, name));
    }),
  );
  return { swept: await removeAll(temporaries.flat()), left };
}

export interface SweptTemporaries {
  readonly swept: number;
  readonly left: ReadonlyMap<string, readonly string[]>;
}

/** What stands in the store, by the names in its directories: whatever can be read of it. Of 100,000, a listing takes a seventh of a second. */
export interface Standing {
  readonly layers: readonly string[];
  readonly roots: readonly string[];
  /** By their directory. */
  readonly metas: ReadonlyMap<string, readonly string[]>;
}

/** How many there were. What stands about a layer or a root that cannot be read is kept, as that is. */
export async function sweepOrphans(layout: StoreLayout, staging: Staging, standing: Standing): Promise<number> {
  const hexes = new Set(standing.layers);
  const spills = (await readdir(layout.spills)).filter((hex) => !hexes.has(hex));
  if (spills.length > 0)
    await staging.with(async (paths) => {
      for (const [index, hex] of spills.entries()) await withdraw(join(layout.spills, hex), paths.removed(index));
    });
  const documentsWithout = (ids: ReadonlySet<string>, directory: string): string[] =>
    (standing.metas.get(directory) ?? [])
      .filter((name) => name.endsWith(SUFFIX) && !ids.has(name.slice(0, -SUFFIX.length)))
      .map((name) => join(directory, name));
  const metas = [
    ...documentsWithout(hexes, layout.meta),
    ...documentsWithout(new Set(standing.roots), layout.rootMetas),
  ];
  return spills.length + (await removeAll(metas));
}

const SUFFIX = ".json";

async function removeAll(paths: readonly string[]): Promise<number> {
  await eachConcurrently(paths, async (path) => void (await unlinkIfThere(path)));
  return paths.length;
}
