/**
 * Differential fuzzing of the guard: `npm run fuzz [RUNS] [SEED]`. What we accept, GNU tar and Python's tarfile must list as
 * we do; we may refuse whatever we like. A reader that refuses what we accept (a time that is no number) sees nothing else than we
 * do, and is counted. Python refuses silently: its list ends there.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Listing, listedByGnu, listedByPython, listedByUs } from "./listings.js";
import { mutated, randomFrom } from "./mutate.js";

export interface Difference {
  readonly archive: Buffer;
  readonly reader: "GNU tar" | "Python";
  readonly ours: Listing;
  readonly theirs: Listing;
}

export interface Report {
  readonly tried: number;
  readonly accepted: number;
  /** Answers of readers that refuse an archive which we accept. */
  readonly refusedByThem: number;
  readonly differences: readonly Difference[];
}

export async function fuzz({ runs, seed }: { readonly runs: number; readonly seed: number }): Promise<Report> {
  const work = mkdtempSync(join(tmpdir(), "fuzz-"));
  try {
    const random = randomFrom(seed);
    const accepted: { readonly archive: Buffer; readonly path: string; readonly ours: Listing }[] = [];
    for (let run = 0; run < runs; run += 1) {
      const archive = mutated(random);
      const ours = await listedByUs(archive);
      if (ours === undefined) continue;
      const path = join(work, `${run}.tar`);
      writeFileSync(path, archive);
      accepted.push({ archive, path, ours });
    }
    const python = listedByPython(accepted.map(({ path }) => path));
    const unlike = accepted.flatMap(({ archive, path, ours }, index): Difference[] => {
      const judged = { "GNU tar": listedByGnu(path), Python: python[index] } as const;
      return (Object.entries(judged) as [Difference["reader"], Listing][])
        .filter(([, theirs]) => JSON.stringify(theirs) !== JSON.stringify(ours))
        .map(([reader, theirs]) => ({ archive, reader, ours, theirs }));
    });
    const differences = unlike.filter((each) => !refuses(each));
    return { tried: runs, accepted: accepted.length, refusedByThem: unlike.length - differences.length, differences };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function refuses({ reader, ours = [], theirs }: Difference): boolean {
  if (theirs === undefined) return true;
  return reader === "Python" && theirs.length < ours.length && theirs.every((line, i) => line === ours[i]);
}
