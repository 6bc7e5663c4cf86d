/**
 * Differential fuzzing of the guard: `npm run fuzz [RUNS] [SEED]`. What we accept, GNU tar, bsdtar and Python's tarfile must list as we
 * do; we may refuse whatever we like. A reader that complains may stop early, and is counted: it sees nothing else than we do.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Listed, type Listing, listedByBsdtar, listedByGnu, listedByPython, listedByUs } from "./listings.js";
import { mutated, randomFrom } from "./mutate.js";
import { realArchives } from "./real-archives.js";
import { isSameEntry, type Reader } from "./same-entry.js";

export interface Difference {
  readonly archive: Buffer;
  readonly reader: Reader;
  readonly ours: readonly Listed[];
  readonly theirs: Listing;
}

export interface Report {
  readonly tried: number;
  readonly accepted: number;
  /** Answers of readers that stop early in an archive which we accept. */
  readonly refusedByThem: number;
  readonly differences: readonly Difference[];
}

export async function fuzz({ runs, seed }: { readonly runs: number; readonly seed: number }): Promise<Report> {
  const work = mkdtempSync(join(tmpdir(), "fuzz-"));
  try {
    const random = randomFrom(seed);
    const real = realArchives(work);
    const accepted: { readonly archive: Buffer; readonly path: string; readonly ours: readonly Listed[] }[] = [];
    for (let run = 0; run < runs; run += 1) {
      const archive = mutated(random, real);
      const ours = await listedByUs(archive);
      if (ours === undefined) continue;
      const path = join(work, `${run}.tar`);
      writeFileSync(path, archive);
      accepted.push({ archive, path, ours });
    }
    const python = listedByPython(accepted.map(({ path }) => path));
    const unlike = accepted.flatMap(({ archive, path, ours }, index): Difference[] => {
      const listings: readonly (readonly [Reader, Listing])[] = [
        ["GNU tar", listedByGnu(path)],
        ["bsdtar", listedByBsdtar(path)],
        ["Python", python[index] as Listing],
      ];
      return listings
        .map(([reader, theirs]) => ({ archive, reader, ours, theirs }))
        .filter((each) => each.theirs.entries.length !== ours.length || !isStart(each));
    });
    const differences = unlike.filter((each) => each.theirs.isWhole || !isStart(each));
    return { tried: runs, accepted: accepted.length, refusedByThem: unlike.length - differences.length, differences };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Their entries are our first ones. */
const isStart = ({ reader, ours, theirs }: Difference): boolean =>
  theirs.entries.every((entry, i) => ours[i] !== undefined && isSameEntry(reader, ours[i], entry));
