/** Many lives of a store: kills at seeded calls, and at every arrow of the commit order (store.md) by its name. */
import { rm } from "node:fs/promises";
import type { Fault } from "../support/faults.js";
import type { Scope } from "../support/sandbox.js";
import { randomNumbers } from "./images.js";
import { CHANGES, countCalls, type Doomed, killRun, type Life } from "./kill-run.js";
import { makeImages } from "./scenario.js";
import { openWorkshop, type Workshop } from "./workshop.js";

/** What each arrow, and each step of a repair, is for the file system, as the shim labels it; met for the first time in the scenario. */
export const arrows = {
  "staging directory": "mkdir staging/*-*/*",
  "blob file": "create staging/*/blob",
  "a file of the tree": "create staging/*/layer/tree/*",
  "a directory's time": "futimens staging/*/layer/tree/*",
  changeset: "fsync staging/*/layer/changeset",
  "layer.json": "fsync staging/*/layer/layer.json",
  "rename to layers/": "rename staging/* layers/sha256/*",
  "fsync of layers/": "fsync layers/sha256",
  meta: "rename meta/* meta/*.json",
  "a link into staging": "link layers/* staging/*/root/tree/*",
  "root.json": "rename staging/* staging/*/root.json",
  "rename to roots/": "rename staging/* roots/*",
  "fsync of roots/": "fsync roots",
  "a kept document": "rename blobs/* blobs/sha256/*",
  "a name's document": "rename names/.meta/* names/.meta/*.json",
  "fsync of the names' documents": "fsync names/.meta",
  "a name's flip": "rename names/.* names/*",
  "fsync of names/": "fsync names",
  "a name's removal": "unlink names/tool",
  "its document's removal": "unlink names/.meta/tool.json",
  "rename out of roots/": "rename roots/* staging/*",
  "rename out of layers/": "rename layers/* staging/*",
  "a job's acceptance": "fdatasync journal/*",
  "a damaged file's successor": "rename staging/*/layer/tree/* staging/*/aside/*",
  "a mended file": "rename staging/*/aside/* layers/*",
  "an added file's removal": "rename layers/*/added staging/*/aside/*",
  "a mended mode": "chmod layers/*",
  "a mended directory's time": "utimes layers/*",
  "a file that is linked again": "rename staging/*/aside/* roots/*",
  "a pin": "rename holds.json.* holds.json",
} as const;
export type Arrow = keyof typeof arrows;

/** Of one life: what is killed too often gets nowhere. */
const MAX_KILLS = 24;
/** The share of kills that meet a start. */
const STARTS = 0.2;
/** The scenario takes about twice as many daemons as that. */
const STRETCHES = 3;

export class Kills {
  readonly #workshop: Workshop;
  readonly #kind: "tmpfs" | "ext4";
  readonly #doomed: Omit<Doomed, "place">;
  readonly #calls: { readonly scenario: number; readonly start: number };

  private constructor(
    workshop: Workshop,
    kind: "tmpfs" | "ext4",
    facts: Pick<Kills, "calls"> & { doomed: Omit<Doomed, "place"> },
  ) {
    this.#workshop = workshop;
    this.#kind = kind;
    this.#doomed = facts.doomed;
    this.#calls = facts.calls;
  }

  static async prepare(scope: Scope, kind: "tmpfs" | "ext4" = "tmpfs"): Promise<Kills> {
    const workshop = await openWorkshop(scope);
    const doomed = { images: await makeImages(await workshop.place()), library: workshop.library };
    const place = await workshop.place(kind);
    const calls = await countCalls({ ...doomed, place });
    return new Kills(workshop, kind, { doomed, calls });
  }

  /** How many calls that change something the scenario has, and a start that finds its store. */
  get calls(): { readonly scenario: number; readonly start: number } {
    return this.#calls;
  }

  /** The life that this seed means: kills at changes of the scenario and of the starts in it, until it is done; no more than `most`. */
  seeded(seed: number, most = MAX_KILLS): Promise<Life> {
    return this.#run(this.#faults(randomNumbers(seed), most));
  }

  *#faults(random: () => number, mostKills: number): Generator<Fault> {
    const { scenario, start } = this.#calls;
    for (let kills = 0; kills < mostKills; kills += 1) {
      const most = random() < STARTS ? start : start + scenario / STRETCHES;
      const at = 1 + Math.floor(random() * most);
      yield { at, what: random() < 0.5 ? "kill-before" : "kill-after", pattern: CHANGES };
    }
  }

  /** A life with a kill at each of these, which the scenario has to meet in this order. */
  at(...points: readonly (readonly [Arrow, "kill-before" | "kill-after"])[]): Promise<Life> {
    return this.#run(points.map(([arrow, what]) => ({ at: 1, what, pattern: arrows[arrow] })));
  }

  async #run(faults: Iterable<Fault>): Promise<Life> {
    const place = await this.#workshop.place(this.#kind);
    try {
      return await killRun({ ...this.#doomed, place, faults });
    } finally {
      await rm(place, { recursive: true, force: true });
    }
  }
}
