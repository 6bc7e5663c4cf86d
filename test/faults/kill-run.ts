/**
 * One life of a store: a daemon that is killed at some call, perhaps another that is killed while it recovers, and a last one, which
 * finds a sound store, does what was left to do, and does nothing again that was done.
 */
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { checkStore } from "../support/check-store.js";
import { type Daemon, serve } from "../support/daemon.js";
import { type Fault, Faults, pointOf } from "../support/faults.js";
import { inScope, Sandbox, type Scope } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";
import { namesTold, type Scenario } from "./scenario.js";

export interface Doomed {
  readonly scenario: Scenario;
  /** The compiled shim. */
  readonly library: string;
  /** An empty directory for the state. */
  readonly place: string;
}

export interface KillPlan extends Doomed {
  readonly fault: Fault;
  /** Where the daemon that recovers is killed. */
  readonly recovery?: Fault;
}

export interface KillFigures {
  /** What it was doing when it was killed; empty where it did not get there and was killed at rest. */
  readonly hit: string;
  readonly recoveryHit: string;
  readonly problems: readonly string[];
}

export const killRun = ({ fault, recovery, ...doomed }: KillPlan): Promise<KillFigures> =>
  inScope(async (scope) => {
    const store = await DoomedStore.create(scope, doomed);
    let done = await store.untilKilled(fault, 0);
    const hit = pointOf(store.faults.told().hit);
    const problems = store.crashed();
    let recoveryHit = "";
    if (recovery !== undefined) {
      done = await store.untilKilled(recovery, done, done);
      recoveryHit = pointOf(store.faults.told().hit);
      problems.push(...store.crashed());
    }
    problems.push(...(await store.recover(done)));
    return { hit, recoveryHit, problems };
  });

/** How many calls the scenario has, and a start that finds what it left. */
export const countCalls = (doomed: Doomed): Promise<{ scenario: number; start: number }> =>
  inScope(async (scope) => {
    const store = await DoomedStore.create(scope, doomed);
    await store.untilKilled(NEVER, 0);
    const scenario = store.faults.told().calls;
    await store.untilKilled(NEVER, 0, 0);
    return { scenario, start: store.faults.told().calls };
  });

const NEVER: Fault = { at: 2 ** 31 - 1, what: "kill-before" };

class DoomedStore {
  readonly #scope: Scope;
  readonly #sandbox: Sandbox;
  readonly #scenario: Scenario;
  readonly faults: Faults;
  /** The inode of each layer that stood after a crash. */
  readonly #layers = new Map<string, number>();

  private constructor(scope: Scope, sandbox: Sandbox, { scenario, library }: Doomed) {
    this.#scope = scope;
    this.#sandbox = sandbox;
    this.#scenario = scenario;
    this.faults = new Faults(library, sandbox);
    scope.after(async () => this.faults.close());
  }

  static async create(scope: Scope, doomed: Doomed): Promise<DoomedStore> {
    return new DoomedStore(scope, await Sandbox.create(scope, { stateBelow: doomed.place }), doomed);
  }

  /** A daemon that does the steps from `first` up to `end` until it is killed. The first step that is not done. */
  async untilKilled(fault: Fault, first: number, end = this.#scenario.steps.length): Promise<number> {
    this.faults.arm(fault);
    let at = first;
    try {
      const daemon = await this.#serve();
      const wire = await Wire.connect(this.#scope, daemon.socket);
      for (; at < end; at += 1) await this.#scenario.steps[at]?.run(wire);
      daemon.kill("SIGKILL");
      await daemon.ended;
    } catch (error) {
      if (this.faults.told().hits === 0) throw error;
    }
    return at;
  }

  /** What stands is sound whenever one looks; a name may be half changed until the next start. */
  crashed(): string[] {
    for (const [path, inode] of this.#stored()) if (!this.#layers.has(path)) this.#layers.set(path, inode);
    const problems = checkStore(this.#sandbox.stateDir);
    return problems.filter((problem) => /^(layers|roots|blobs)\//.test(problem)).map((what) => `crashed: ${what}`);
  }

  /** The last daemon: it does the steps from `first`, and ends as it should. */
  async recover(first: number): Promise<string[]> {
    const problems: string[] = [];
    const expect = (holds: boolean, what: string): void => void (holds || problems.push(what));
    this.faults.disarm();
    const daemon = await this.#serve();
    const wire = await Wire.connect(this.#scope, daemon.socket);
    for (const { jobId, state, error } of await wire.settled())
      expect(state === "ready", `job ${jobId}, which was accepted, is ${state}: ${JSON.stringify(error)}`);
    const left = readdirSync(join(this.#sandbox.stateDir, "staging"));
    expect(left.length === 0, `staging holds ${left} after a start`);
    const added = new Set<string>();
    const look = (): void => {
      for (const path of this.#stored().keys()) if (!this.#layers.has(path)) added.add(path);
    };
    look();
    for (const { what, run } of this.#scenario.steps.slice(first)) {
      await run(wire).catch((error: unknown) => problems.push(`${what}: ${error}`));
      look();
    }
    const names = await namesTold(wire);
    expect(isDeepStrictEqual(names, this.#scenario.names), `the names are ${JSON.stringify(names)}`);
    const { layersUnpacked } = await wire.counters();
    const stored = this.#stored();
    expect(layersUnpacked === added.size, `${layersUnpacked} layers were unpacked, ${added.size} are new`);
    for (const [path, inode] of this.#layers)
      expect((stored.get(path) ?? inode) === inode, `the layer ${path}, which was stored, was replaced`);
    daemon.kill("SIGTERM");
    const { exitCode, stderr } = await daemon.ended;
    expect(exitCode === 0, `the last daemon ended with ${exitCode}: ${stderr.slice(-1000)}`);
    return [...problems, ...checkStore(this.#sandbox.stateDir, { swept: true })];
  }

  #serve(): Promise<Daemon> {
    return serve(this.#sandbox, { env: { STRATAD_WORKERS: "2", ...this.faults.env } });
  }

  #stored(): Map<string, number> {
    const directory = join(this.#sandbox.stateDir, "layers/sha256");
    try {
      return new Map(readdirSync(directory).map((hex) => [hex, lstatSync(join(directory, hex)).ino]));
    } catch {
      return new Map(); // killed before it was made
    }
  }
}
