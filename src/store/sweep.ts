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
import { ALGORITHMS, type StoreLayout } from "./layout.js";
import { withdraw } from "./publish.js";
import type { Staging } from "./staging.js";

/** How many there were. */
export async function sweepTemporaries({ documentDirectories }: StoreLayout): Promise<number> {
  const left = await Promise.all(
    documentDirectories.map(async (directory) =>
      (await readdir(directory)).filter((name) => name.endsWith(TEMPORARY)).map((name) => join(directory, name)),
    ),
  );
  return removeAll(left.flat());
}

/** How many there were. What stands about a layer or a root that cannot be read is kept, as that is. */
export async function sweepOrphans(layout: StoreLayout, staging: Staging): Promise<number> {
  const layers = await Promise.all(ALGORITHMS.map((name) => readdir(join(layout.layers, name))));
  const hexes = new Set(layers.flat());
  const rootIds = new Set(await readdir(layout.roots));
  const spills = (await readdir(layout.spills)).filter((hex) => !hexes.has(hex));
  if (spills.length > 0)
    await staging.with(async (paths) => {
      for (const [index, hex] of spills.entries()) await withdraw(join(layout.spills, hex), paths.removed(index));
    });
  const metas = [
    ...(await documentsWithout(hexes, layout.meta)),
    ...(await documentsWithout(rootIds, layout.rootMetas)),
  ];
  return spills.length + (await removeAll(metas));
}

async function documentsWithout(ids: ReadonlySet<string>, directory: string): Promise<string[]> {
  const suffix = ".json";
  const names = (await readdir(directory)).filter((name) => name.endsWith(suffix));
  return names.filter((name) => !ids.has(name.slice(0, -suffix.length))).map((name) => join(directory, name));
}

async function removeAll(paths: readonly string[]): Promise<number> {
  await eachConcurrently(paths, async (path) => void (await unlinkIfThere(path)));
  return paths.length;
}
