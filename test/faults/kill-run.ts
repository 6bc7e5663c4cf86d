/**
 * One life of a store: daemons that are killed at some call, one after another, each of which goes on where the last one was killed, and
 * one that ends as it should. Each finds a sound store, does what was left to do, and does nothing again that was done.
 */
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { checkStore } from "../support/check-store.js";
import { type Daemon, serve } from "../support/daemon.js";
import { type Fault, Faults, pointOf } from "../support/faults.js";
import { inScope, Sandbox, type Scope } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";
import { beginScenario, repair, type Scenario, type ScenarioImages, type Step, standingTold } from "./scenario.js";

export interface Doomed {
  readonly images: ScenarioImages;
  /** The compiled shim. */
  readonly library: string;
  /** An empty directory for the state. */
  readonly place: string;
}

export interface KillPlan extends Doomed {
  /** Where each of the daemons is killed; the rest is not needed where the scenario ends before. */
  readonly faults: Iterable<Fault>;
}

export interface Kill {
  /** The call, as `pointOf` names it. */
  readonly hit: string;
  /** The step that was under way, or `start`. */
  readonly during: string;
}

export interface Life {
  readonly kills: readonly Kill[];
  readonly problems: readonly string[];
}

export const killRun = ({ faults, ...doomed }: KillPlan): Promise<Life> =>
  inScope(async (scope) => {
    const store = await DoomedStore.create(scope, doomed);
    const kills: Kill[] = [];
    for (const fault of faults) {
      const kill = await store.untilKilled(fault);
      if (kill === undefined) break;
      kills.push(kill);
    }
    await store.recover();
    return { kills, problems: store.problems };
  });

/** Calls that change nothing leave what the one before them left: a kill there is the same kill. */
export const CHANGES = "!(open|readdir) *";

/** How many calls that change something the scenario has, and a start that finds what it left. */
export const countCalls = (doomed: Doomed): Promise<{ scenario: number; start: number }> =>
  inScope(async (scope) => {
    const store = await DoomedStore.create(scope, doomed);
    await store.untilKilled(NEVER);
    const scenario = store.faults.told().calls;
    await store.untilKilled(NEVER);
    return { scenario, start: store.faults.told().calls };
  });

const NEVER: Fault = { at: 2 ** 31 - 1, what: "kill-before", pattern: CHANGES };

class DoomedStore {
  readonly #scope: Scope;
  readonly #sandbox: Sandbox;
  readonly #scenario: Scenario;
  readonly faults: Faults;
  readonly problems: string[] = [];
  /** The inode of each layer that stood after a crash. */
  readonly #layers = new Map<string, number>();
  /** Layers that this daemon has added, also those that are gone again. */
  readonly #added = new Set<string>();
  /** How many steps are done; the next one may be half done where a daemon was killed. */
  #done = 0;
  #isHalfDone = false;

  private constructor(scope: Scope, sandbox: Sandbox, parts: { scenario: Scenario; library: string }) {
    this.#scope = scope;
    this.#sandbox = sandbox;
    this.#scenario = parts.scenario;
    this.faults = new Faults(parts.library, sandbox);
    scope.after(async () => this.faults.close());
  }

  static async create(scope: Scope, { images, library, place }: Doomed): Promise<DoomedStore> {
    const sandbox = await Sandbox.create(scope, { stateBelow: place });
    return new DoomedStore(scope, sandbox, { scenario: await beginScenario(scope, images), library });
  }

  /** A daemon that goes on with the scenario. Undefined where it is killed at rest behind all of it, or had a problem before. */
  async untilKilled(fault: Fault): Promise<Kill | undefined> {
    this.faults.arm(fault);
    let during = "start";
    let daemon: Daemon | undefined;
    try {
      daemon = await this.#serve();
      await this.#goOn(await Wire.connect(this.#scope, daemon.socket), (what) => {
        during = what;
      });
    } catch (error) {
      if (this.faults.told().hits === 0) this.problems.push(`${during}: ${error}`);
    }
    if (this.faults.told().hits === 0) daemon?.kill("SIGKILL");
    await daemon?.ended;
    this.#isHalfDone = true;
    this.#crashed();
    const { hits, hit } = this.faults.told();
    return hits === 0 ? undefined : { hit: pointOf(hit), during };
  }

  /** The last daemon: it ends as it should. */
  async recover(): Promise<void> {
    this.faults.disarm();
    const daemon = await this.#serve();
    const wire = await Wire.connect(this.#scope, daemon.socket);
    await this.#goOn(wire, () => undefined).catch((error: unknown) => this.problems.push(`recovery: ${error}`));
    const standing = await standingTold(wire);
    this.#expect(isDeepStrictEqual(standing, this.#scenario.standing), `there stands ${JSON.stringify(standing)}`);
    const { findings } = await wire.request("store/verify", { deep: true });
    this.#expect(findings.length === 0, `verify finds ${JSON.stringify(findings)}`);
    const { layersUnpacked } = await wire.counters();
    const { size } = this.#added;
    this.#expect(layersUnpacked === size, `${layersUnpacked} layers were unpacked, ${size} are new`);
    this.#keptLayers();
    daemon.kill("SIGTERM");
    const { exitCode, stderr } = await daemon.ended;
    this.#expect(exitCode === 0, `the last daemon ended with ${exitCode}: ${stderr.slice(-1000)}`);
    this.problems.push(...checkStore(this.#sandbox.stateDir, { swept: true }));
  }

  async #goOn(wire: Wire, tell: (step: string) => void): Promise<void> {
    if (this.#isHalfDone) await this.#judgeStart(wire);
    this.#look();
    for (; this.#done < this.#scenario.steps.length; this.#done += 1) {
      const { what, run, isDamage } = this.#scenario.steps[this.#done] as Step;
      tell(what);
      // A repair that was cut short is gone on with as it was left, before the same is damaged again.
      if (this.#isHalfDone && isDamage !== undefined) {
        await repair(wire);
        this.problems.push(...this.#unsound().map((problem) => `repaired: ${problem}`));
      }
      await run(wire, this.#sandbox.stateDir);
      this.#isHalfDone = false;
      this.#look();
    }
  }

  /** What was accepted is done, what was cancelled stays so, and nothing unfinished is left. */
  async #judgeStart(wire: Wire): Promise<void> {
    for (const job of await wire.settled()) {
      const problem = this.#scenario.jobProblem(job);
      this.#expect(problem === undefined, `accepted: ${problem}`);
    }
    const left = readdirSync(join(this.#sandbox.stateDir, "staging"));
    this.#expect(left.length === 0, `staging holds ${left} after a start`);
  }

  /** What stands is sound whenever one looks, but for what the step damages; a name may be half changed until the next start. */
  #crashed(): void {
    this.#keptLayers();
    for (const [path, inode] of this.#stored()) this.#layers.set(path, inode);
    const { isDamage = () => false } = this.#scenario.steps[this.#done] ?? {};
    this.problems.push(...this.#unsound((problem) => !isDamage(problem)).map((what) => `crashed: ${what}`));
  }

  #unsound(counts = (_problem: string): boolean => true): string[] {
    const problems = checkStore(this.#sandbox.stateDir);
    return problems.filter((problem) => /^(layers|roots|blobs)\//.test(problem) && counts(problem));
  }

  #keptLayers(): void {
    const stored = this.#stored();
    for (const [path, inode] of this.#layers)
      this.#expect((stored.get(path) ?? inode) === inode, `the layer ${path}, which was stored, was replaced`);
  }

  #expect(holds: boolean, what: string): void {
    if (!holds) this.problems.push(what);
  }

  #look(): void {
    for (const path of this.#stored().keys()) if (!this.#layers.has(path)) this.#added.add(path);
  }

  #serve(): Promise<Daemon> {
    if (this.#isHalfDone) this.#scenario.steps[this.#done]?.beforeAgain?.();
    this.#added.clear();
    return serve(this.#sandbox, { env: { STRATAD_WORKERS: "2", ...this.faults.env } });
  }

  #stored(): Map<string, number> {
    const directory = join(this.#sandbox.stateDir, "layers/sha256");
    try {
      return new Map(
        readdirSync(directory)
          .filter((name) => !name.startsWith("."))
          .map((hex) => [hex, lstatSync(join(directory, hex)).ino]),
      );
    } catch {
      return new Map(); // killed before it was made
    }
  }
}
