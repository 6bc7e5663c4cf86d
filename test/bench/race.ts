/**
 * Contestants side by side: each round runs all of them, the first of the last round last, in directories that nothing stood in before.
 *
 * Knows nothing of what they do. A contestant that cannot be had here is a row that says why.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Scope } from "../support/sandbox.js";
import type { Input, InputName, Inputs } from "./inputs.js";
import { type Figures, removeTree, writtenBack } from "./measuring.js";
import { type PlaceName, withPlace } from "./places.js";

/** What a scenario has of the whole bench. */
export interface Bench {
  readonly runs: number;
  readonly quick: boolean;
  readonly inputs: Inputs;
  readonly cache: string;
  say(line: string): void;
}

export interface Row {
  readonly place: string;
  readonly contestant: string;
  readonly samples: readonly Figures[];
  /** Why there are none. */
  readonly missing?: string;
}

export interface Setting {
  readonly scope: Scope;
  /** Its own, empty; on the file system that is measured. */
  readonly directory: string;
  readonly input: Input;
  readonly bench: Bench;
  readonly scenario: string;
}

export interface Contestant {
  readonly name: string;
  /** Told in the table and in no target: one round is enough. */
  readonly once?: boolean;
  /** It and its runs throw `Missing` where they cannot be had. The directory that a run gets is its own, empty, and taken away behind it. */
  open(setting: Setting): Promise<(run: { readonly round: number; readonly directory: string }) => Promise<Figures>>;
}

export class Missing extends Error {}

export interface Race {
  readonly name: string;
  readonly input: InputName;
  readonly places: readonly PlaceName[];
  readonly contestants: readonly Contestant[];
  readonly runs?: number;
}

export async function race(
  bench: Bench,
  { name, input, places, contestants, runs = bench.runs }: Race,
): Promise<Row[]> {
  const rows: Row[] = [];
  const made = await bench.inputs.get(input);
  for (const place of places) {
    const there = await withPlace(place, async (directory, scope) => {
      const setting = { scope, directory, input: made, bench, scenario: name };
      rows.push(...(await raceIn(place, setting, { contestants, runs })));
    });
    if (there.skip !== false) rows.push({ place, contestant: "(all)", samples: [], missing: there.skip });
  }
  return rows;
}

async function raceIn(
  place: PlaceName,
  setting: Setting,
  { contestants, runs }: { readonly contestants: readonly Contestant[]; readonly runs: number },
): Promise<Row[]> {
  const entered = [];
  for (const [index, contestant] of contestants.entries()) {
    const directory = join(setting.directory, String(index));
    await mkdir(directory);
    const opened = await orMissing(() => contestant.open({ ...setting, directory }));
    entered.push({ contestant, directory, samples: [] as Figures[], run: opened.value, missing: opened.missing });
  }
  for (let round = 0; round < runs; round += 1) {
    const first = round % Math.max(1, entered.length);
    for (const entry of [...entered.slice(first), ...entered.slice(0, first)]) {
      const { contestant, directory, samples, run } = entry;
      if (run === undefined || entry.missing !== undefined || (contestant.once === true && round > 0)) continue;
      const own = join(directory, `round-${round}`);
      await mkdir(own);
      if (place !== "tmpfs") await writtenBack(own);
      const { value, missing } = await orMissing(() => run({ round, directory: own }));
      if (value !== undefined) samples.push(value);
      entry.missing = missing;
      // On a disk what was removed is paid for by what is made next.
      if (place === "tmpfs") await removeTree(own);
    }
  }
  return entered.map(({ contestant, samples, missing }) => ({
    place,
    contestant: contestant.name,
    samples: missing === undefined ? samples : [],
    ...(missing === undefined ? {} : { missing }),
  }));
}

async function orMissing<Value>(
  action: () => Promise<Value>,
): Promise<{ readonly value?: Value; readonly missing?: string | undefined }> {
  try {
    return { value: await action() };
  } catch (error) {
    if (error instanceof Missing) return { missing: error.message };
    throw error;
  }
}
