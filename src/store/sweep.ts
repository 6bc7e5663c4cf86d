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
import type { StoreListing, Strays } from "./listing.js";
import { withdraw } from "./publish.js";
import type { Staging } from "./staging.js";

/** How many there were. Of large directories the listing has told. */
export async function sweepTemporaries(
  { state, keptDirectories, memos }: StoreLayout,
  listed: StoreListing,
): Promise<number> {
  const few = await Promise.all(
    [state, ...keptDirectories, memos].map(async (directory) =>
      (await readdir(directory)).filter((name) => name.endsWith(TEMPORARY)).map((name) => join(directory, name)),
    ),
  );
  return removeAll([...few.flat(), ...listed.temporaries]);
}

/** How many there were. */
export async function sweepStrays(staging: Staging, { metas, spills }: Strays): Promise<number> {
  if (spills.length > 0)
    await staging.with(async (paths) => {
      for (const [index, path] of spills.entries()) await withdraw(path, paths.removed(index));
    });
  return spills.length + (await removeAll(metas));
}

async function removeAll(paths: readonly string[]): Promise<number> {
  await eachConcurrently(paths, async (path) => void (await unlinkIfThere(path)));
  return paths.length;
}
