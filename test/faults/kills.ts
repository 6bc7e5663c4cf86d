/** Many lives of a store: kills at seeded calls, and at every arrow of the commit order (store.md) by its name. */
import { rm } from "node:fs/promises";
import type { Scope } from "../support/sandbox.js";
import { randomNumbers } from "./images.js";
import { countCalls, type Doomed, type KillFigures, killRun } from "./kill-run.js";
import { makeScenario } from "./scenario.js";
import { openWorkshop, type Workshop } from "./workshop.js";

/** What each arrow is for the file system, as the shim labels it; met for the first time in the scenario. */
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
} as const;
export type Arrow = keyof typeof arrows;

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
    const scenario = await makeScenario(scope, await workshop.place());
    const doomed = { scenario, library: workshop.library };
    const place = await workshop.place(kind);
    const calls = await countCalls({ ...doomed, place });
    return new Kills(workshop, kind, { doomed, calls });
  }

  /** How many calls the scenario has, and a start that finds its store. */
  get calls(): { readonly scenario: number; readonly start: number } {
    return this.#calls;
  }

  /** The kill that this seed means: somewhere in the scenario or just behind it; every second one is killed in its recovery too. */
  seeded(seed: number): Promise<KillFigures> {
    const random = randomNumbers(seed);
    const upTo = (most: number): number => 1 + Math.floor(random() * most);
    const what = () => (random() < 0.5 ? ("kill-before" as const) : ("kill-after" as const));
    const fault = { at: upTo(this.#calls.scenario), what: what() };
    const isTwice = random() < 0.5;
    return this.#run({ fault, ...(isTwice ? { recovery: { at: upTo(this.#calls.start), what: what() } } : {}) });
  }

  at(arrow: Arrow, what: "kill-before" | "kill-after"): Promise<KillFigures> {
    return this.#run({ fault: { at: 1, what, pattern: arrows[arrow] } });
  }

  async #run(kill: Omit<Parameters<typeof killRun>[0], keyof Doomed>): Promise<KillFigures> {
    const place = await this.#workshop.place(this.#kind);
    try {
      return await killRun({ ...this.#doomed, place, ...kill });
    } finally {
      await rm(place, { recursive: true, force: true });
    }
  }
}
