/**
 * Everything at once, for minutes: clients that install, update, remove, roll back, cancel and vanish, one that reads nothing, and a
 * daemon that is killed now and then. What a long life costs is measured when nothing is under way: descriptors, memory and the
 * entries of the state directory have to be flat from the first third to the last.
 */
import { readdirSync, readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MAX_GENERATIONS, MAX_TERMINAL_JOBS, MIN_SPARE_ENTRIES, SPARE_AFTER_MS } from "../../src/limits.js";
import { checkStore } from "../support/check-store.js";
import { type Daemon, serve } from "../support/daemon.js";
import { tarOf, writeLayout } from "../support/images.js";
import { writePastJobs } from "../support/past-jobs.js";
import { buildImage, startRegistry, type TestImage } from "../support/registry.js";
import { Sandbox, type Scope } from "../support/sandbox.js";
import { everythingBelow } from "../support/trees.js";
import { RpcError, Wire } from "../support/wire.js";
import { layerOf, randomNumbers } from "./images.js";

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  /** An empty directory for the state. */
  readonly place: string;
  /** Rounds between two kills. */
  readonly roundsPerKill?: number;
  /** Called after each round. */
  readonly tell?: (sample: Sample) => void;
}

/** Taken when no job is under way. */
export interface Sample {
  readonly seconds: number;
  readonly descriptors: number;
  readonly residentKb: number;
  /** Files and directories of the state directory but for spares, and those of them in staging. */
  readonly entries: number;
  readonly staged: number;
  /** That are remembered. */
  readonly jobs: number;
  /** How many starts of a daemon there were. */
  readonly lives: number;
}

export interface SoakFigures {
  readonly samples: readonly Sample[];
  readonly thirds: Thirds;
  readonly acts: Readonly<Record<string, number>>;
  readonly kills: number;
  /** What must not be, the judge's findings included. */
  readonly problems: readonly string[];
}

const CLIENTS = 4;
const ACTS_PER_ROUND = 6;
const ROUNDS_PER_KILL = 8;
const NAMES = ["app", "tool", "data"];
const TAGS = ["one", "two", "three", "four"];
/** A collection that leaves what installs and removals left, but what no name has. */
const KEEPING = { keepBytes: Number.MAX_SAFE_INTEGER, keepLast: MAX_GENERATIONS };
const LOOKS_AT_STAGING = 10;
const LOOK_AGAIN_MS = 100;
/** How long a daemon has nothing to do before it is killed, at most: some have made a spare by then, some are about to. */
const MAX_REST_MS = 2 * SPARE_AFTER_MS;
/** What a request may be answered where others remove and cancel at the same time. */
const EXPECTED = /^(UNKNOWN_(NAME|ROOT|JOB)|CANCELLED|BUSY|RATE_LIMITED)$/;

type Act = (wire: Wire, random: () => number) => Promise<void>;

export async function soak(scope: Scope, options: SoakOptions): Promise<SoakFigures> {
  return (await Soaked.prepare(scope, options)).run();
}

class Soaked {
  readonly #scope: Scope;
  readonly #options: SoakOptions;
  readonly #sandbox: Sandbox;
  readonly #references: readonly string[];
  readonly #random: () => number;
  readonly #acts: Record<string, number> = {};
  readonly #problems: string[] = [];
  readonly #samples: Sample[] = [];
  readonly #start = performance.now();
  #daemon!: Daemon;
  #lives = 0;

  private constructor(scope: Scope, options: SoakOptions, parts: { sandbox: Sandbox; references: readonly string[] }) {
    this.#scope = scope;
    this.#options = options;
    this.#sandbox = parts.sandbox;
    this.#references = parts.references;
    this.#random = randomNumbers(options.seed);
  }

  /** Each image twice: in a layout and in a registry. */
  static async prepare(scope: Scope, options: SoakOptions): Promise<Soaked> {
    const sandbox = await Sandbox.create(scope, { stateBelow: options.place });
    // As many as are remembered at most: memory is flat from then on, which minutes of installs alone would not reach.
    writePastJobs(sandbox.stateDir, MAX_TERMINAL_JOBS);
    const base = await layerOf("base", "base");
    const images: Record<string, TestImage> = {};
    const many = await tarOf(
      Array.from({ length: MIN_SPARE_ENTRIES }, (_, i) => ({ name: `many/${i % 9}/${i}`, content: `${i}` })),
    );
    for (const tag of TAGS) images[tag] = buildImage([base, many, await layerOf("app", tag, { large: true })]);
    await writeLayout(sandbox.file("layout"), images);
    const served = Object.fromEntries(Object.entries(images).map(([tag, image]) => [`soaked:${tag}`, image]));
    const registry = await startRegistry({ images: served });
    scope.after(() => registry.close());
    const references = TAGS.flatMap((tag) => [
      `oci:${sandbox.file("layout")}:${tag}`,
      `${registry.host}/soaked:${tag}`,
    ]);
    return new Soaked(scope, options, { sandbox, references });
  }

  async run(): Promise<SoakFigures> {
    const { minutes, roundsPerKill = ROUNDS_PER_KILL, tell } = this.#options;
    let kills = 0;
    await this.#serve();
    for (let round = 1; performance.now() - this.#start < minutes * 60_000; round += 1) {
      const isKilled = round % roundsPerKill === 0;
      if (isKilled) await this.#rest();
      await this.#round(isKilled);
      if (isKilled) {
        kills += 1;
        await this.#serve();
        await this.#round(false);
      }
      const sample = await this.#sample();
      this.#samples.push(sample);
      tell?.(sample);
    }
    this.#daemon.kill("SIGTERM");
    const { exitCode } = await this.#daemon.ended;
    if (exitCode !== 0) this.#problems.push(`the last daemon ended with ${exitCode}`);
    const thirds = thirdsOf(this.#samples);
    this.#problems.push(...checkStore(this.#sandbox.stateDir, { swept: true }), ...growth(this.#samples, thirds));
    return { samples: this.#samples, thirds, acts: this.#acts, kills, problems: this.#problems };
  }

  async #serve(): Promise<void> {
    this.#daemon = await serve(this.#sandbox, { env: { STRATAD_WORKERS: "2" } });
    this.#lives += 1;
  }

  async #rest(): Promise<void> {
    await sleep(this.#random() * MAX_REST_MS);
    const wire = await Wire.connect(this.#scope, this.#daemon.socket);
    const { spares } = (await wire.request("server/status")).store;
    this.#did("rest");
    if (spares.layers > 0) this.#did("find a spare");
    await wire.close();
  }

  /** Some clients at once; with `isKilled` the daemon dies under them. */
  async #round(isKilled: boolean): Promise<void> {
    const dying = { is: false };
    const slow = await this.#slowClient();
    const clients = Array.from({ length: CLIENTS }, () => this.#client(dying));
    if (isKilled) {
      await Promise.race(clients);
      dying.is = true;
      this.#daemon.kill("SIGKILL");
      await this.#daemon.ended;
    }
    await Promise.all(clients);
    slow.terminate();
  }

  /** Wants to hear of everything, and reads nothing of it. */
  async #slowClient(): Promise<Wire> {
    const wire = await Wire.connect(this.#scope, this.#daemon.socket);
    await wire.request("events/subscribe");
    wire.pause();
    return wire;
  }

  async #client(dying: { readonly is: boolean }): Promise<void> {
    try {
      const wire = await Wire.connect(this.#scope, this.#daemon.socket);
      for (let acts = 0; acts < ACTS_PER_ROUND; acts += 1) {
        const [what, act] = this.#choose();
        this.#did(what);
        await act(wire, this.#random).catch((error: unknown) => {
          if (!(error instanceof RpcError) || !EXPECTED.test(error.data.code)) throw error;
        });
      }
      await wire.close();
    } catch (error) {
      if (!dying.is) this.#problems.push(String(error));
    }
  }

  #did(what: string): void {
    this.#acts[what] = (this.#acts[what] ?? 0) + 1;
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.#random() * items.length)] as Item;
  }

  #choose(): readonly [string, Act] {
    const name = this.#pick(NAMES);
    const reference = this.#pick(this.#references);
    return this.#pick<readonly [string, Act]>([
      ["install", async (wire) => void (await wire.request("install/wait", await started(wire, { reference, name })))],
      [
        "install durably",
        async (wire) =>
          void (await wire.request("install/wait", await started(wire, { reference, name, durable: true }))),
      ],
      ["remove", async (wire) => void (await wire.request("root/remove", { name }))],
      ["roll back", async (wire) => void (await wire.request("root/rollback", { name }))],
      ["cancel", async (wire) => void (await wire.request("install/cancel", await started(wire, { reference, name })))],
      ["look", async (wire) => void (await wire.request("image/status", { reference }))],
      ["vanish", async (wire) => this.#vanish(await started(wire, { reference, name, detach: true }))],
    ]);
  }

  /** Another client that takes an interest, and is gone before it has read anything. */
  async #vanish({ jobId }: { jobId: string }): Promise<void> {
    const wire = await Wire.connect(this.#scope, this.#daemon.socket);
    wire.request("install/wait", { jobId }).catch(() => undefined);
    wire.terminate();
    const mute = createConnection(this.#daemon.socket);
    await new Promise((resolve) => mute.once("connect", resolve).once("error", resolve));
    mute.destroy();
  }

  /** When nothing is under way any more. */
  async #sample(): Promise<Sample> {
    const wire = await Wire.connect(this.#scope, this.#daemon.socket);
    await wire.settled();
    const staged = await this.#staged(wire);
    const { jobs } = await wire.request("server/status");
    await wire.close();
    const { pid } = this.#daemon;
    return {
      seconds: Math.round((performance.now() - this.#start) / 1000),
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
      residentKb: Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]),
      entries: everythingBelow(this.#sandbox.stateDir).filter((path) => !path.startsWith("spares/")).length,
      staged,
      jobs: Object.values<number>(jobs).reduce((sum, count) => sum + count, 0),
      lives: this.#lives,
    };
  }

  /**
   * What stands in staging though nothing is under way: a collection that is asked for runs behind those that run already. One that
   * nobody asked for may begin before this one's answer is here, and so may a spare, but not time and again: both rest.
   */
  async #staged(wire: Wire): Promise<number> {
    for (let looks = 1; ; looks += 1) {
      await wire.request("store/gc", KEEPING);
      const { length } = readdirSync(join(this.#sandbox.stateDir, "staging"));
      if (length === 0 || looks === LOOKS_AT_STAGING) return length;
      await sleep(LOOK_AGAIN_MS);
    }
  }
}

async function started(wire: Wire, params: object): Promise<{ jobId: string }> {
  const { jobId } = await wire.request("install/start", params);
  return { jobId };
}

const SLACK = { descriptors: 3, residentKb: 32 * 1024, entries: 60 } as const;

/** The medians of the first third and of the last. */
export type Thirds = Readonly<Record<keyof typeof SLACK | "staged" | "jobs", readonly [number, number]>>;

function thirdsOf(samples: readonly Sample[]): Thirds {
  const third = Math.max(1, Math.floor(samples.length / 3));
  const medians = (what: keyof Thirds) =>
    [samples.slice(0, third), samples.slice(-third)].map((some) => median(some.map((sample) => sample[what]))) as [
      number,
      number,
    ];
  return {
    descriptors: medians("descriptors"),
    residentKb: medians("residentKb"),
    entries: medians("entries"),
    staged: medians("staged"),
    jobs: medians("jobs"),
  };
}

/** What the last third has more of than the first beyond what noise has; and whatever is left in staging. */
function growth(samples: readonly Sample[], thirds: Thirds): string[] {
  const problems = samples
    .filter(({ staged }) => staged > 0)
    .map((sample) => `${sample.staged} entries in staging at ${sample.seconds} s`);
  for (const [what, slack] of Object.entries(SLACK) as [keyof typeof SLACK, number][]) {
    const [before, after] = thirds[what];
    if (after > before + slack) problems.push(`${what} grew from ${before} to ${after}`);
  }
  return problems;
}

export const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
