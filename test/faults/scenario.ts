/**
 * What a daemon is asked to do while it is being killed: a list of steps over the protocol, each of which may be asked for again by
 * somebody who got no answer. A step more is a line more.
 */
import { join } from "node:path";
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { layerDigests, writeLayout } from "../support/images.js";
import { buildImage, startRegistry, type TestImage } from "../support/registry.js";
import type { Scope } from "../support/sandbox.js";
import { type Json, RpcError, type Wire } from "../support/wire.js";
import { damage, isOfDamage } from "./damage.js";
import { layerOf } from "./images.js";

export interface Step {
  readonly what: string;
  /** Rejects where it is not done; an RpcError is an answer. `state` is the state directory. */
  readonly run: (wire: Wire, state: string) => Promise<void>;
  /** Of a step that damages the store by hand and repairs it: whether a problem is one that it may have until it is done. */
  readonly isDamage?: (problem: string) => boolean;
  /** To be called before the daemon starts that is asked again. */
  readonly beforeAgain?: () => void;
}

/** What can be told of a store, by manifests. */
export interface Standing {
  /** The manifest of each name's root. */
  readonly names: Readonly<Record<string, string>>;
  readonly pinned: readonly string[];
}

/** One for each life of a store. */
export interface Scenario {
  readonly steps: readonly Step[];
  /** What stands when all steps are done. */
  readonly standing: Standing;
  /** What is wrong with a job that is over, as a daemon tells it after its start. */
  readonly jobProblem: (job: Json) => string | undefined;
}

/** Images of three layers that share two; all but `two` and `held` in a layout. */
export interface ScenarioImages {
  readonly layout: string;
  readonly images: Readonly<Record<"one" | "two" | "three" | "four" | "five" | "held", TestImage>>;
}

/** The layout is written to `directory`. */
export async function makeImages(directory: string): Promise<ScenarioImages> {
  const [base, libs] = [await layerOf("base", "base"), await layerOf("libs", "libs", { large: true })];
  const imageOf = async (word: string): Promise<TestImage> => buildImage([base, libs, await layerOf("app", word)]);
  const [one, two, three] = [await imageOf("one"), await imageOf("two"), await imageOf("three")];
  const [four, five, held] = [await imageOf("four"), await imageOf("five"), await imageOf("held")];
  await writeLayout(join(directory, "layout"), { one, three, four, five });
  return { layout: join(directory, "layout"), images: { one, two, three, four, five, held } };
}

/** With a registry of its own. */
export async function beginScenario(scope: Scope, { layout, images }: ScenarioImages): Promise<Scenario> {
  const gate = gateAt(layerDigests(images.held).slice(-1), 64);
  const registry = await startRegistry({
    images: { "tool:2": images.two, "tool:held": images.held },
    script: gate.script,
  });
  scope.after(() => registry.close());
  const inLayout = (tag: string): string => `oci:${layout}:${tag}`;
  const held = `${registry.host}/tool:held`;
  // A job that was accepted and not cancelled would wait for ever for what the registry holds back.
  const told: Told = {};
  const cancelled = { ...cancelInstall({ reference: held, name: "held", told }), beforeAgain: gate.open };
  const steps = [
    install(inLayout("one"), "app"),
    install(`${registry.host}/tool:2`, "tool"),
    install(inLayout("three"), "app"),
    remove("tool"),
    rollback("app", 1),
    install(`${registry.host}/tool:2`, "again"),
    install(inLayout("three"), "app"),
    pinWithoutName(inLayout("four"), "pinned"),
    cancelled,
    damageAndRepair("app"),
    install(inLayout("five"), "passing"),
    remove("passing"),
    collect,
  ];
  const digestOf = (image: TestImage): string => image.descriptor.digest;
  const names = { app: digestOf(images.three), again: digestOf(images.two) };
  return {
    steps,
    standing: { names, pinned: [digestOf(images.four)] },
    jobProblem: ({ reference, state, error }) => {
      const expected = reference === held ? new RegExp(told.state ?? "^(ready|cancelled)$") : /^ready$/;
      return expected.test(state) ? undefined : `the job of ${reference} is ${state}: ${JSON.stringify(error)}`;
    },
  };
}

/** How the job ended that was cancelled, as it was answered. */
interface Told {
  state?: string;
}

const install = (reference: string, name: string): Step => ({
  what: `install ${name}`,
  run: async (wire) => void (await wire.ready(reference, { name })),
});

const remove = (name: string): Step => ({ what: `remove ${name}`, run: (wire) => removed(wire, name) });

/** Asked again, it may be gone already. */
async function removed(wire: Wire, name: string): Promise<void> {
  await wire.request("root/remove", { name }).catch((error: unknown) => {
    if (!(error instanceof RpcError) || error.data.code !== "UNKNOWN_NAME") throw error;
  });
}

const rollback = (name: string, generation: number): Step => ({
  what: `roll back ${name}`,
  run: async (wire) => void (await wire.request("root/rollback", { name, generation })),
});

const pinWithoutName = (reference: string, name: string): Step => ({
  what: `pin ${name}`,
  run: async (wire) => {
    await wire.ready(reference, { name });
    await wire.request("root/pin", { name, pinned: true });
    await removed(wire, name);
  },
});

/** Of an image that the registry holds back; asked again, when it does not any more, the job may be ready, which is undone. */
const cancelInstall = ({ reference, name, told }: { reference: string; name: string; told: Told }): Step => ({
  what: `cancel ${name}`,
  run: async (wire) => {
    const { jobId } = await wire.request("install/start", { reference, name, requestKey: `cancel ${name}` });
    await until("its last layer is on its way, or it is over", async () => {
      const { layers, finishedAt } = await wire.request("install/get", { jobId });
      return finishedAt !== undefined || (layers.length > 0 && layers.at(-1).state !== "waiting");
    });
    await wire.request("install/cancel", { jobId });
    const { state, error } = await wire.request("install/wait", { jobId });
    told.state = state;
    if (state === "ready") await removed(wire, name);
    else if (state !== "cancelled") throw new Error(`the cancelled job is ${state}: ${JSON.stringify(error)}`);
  },
});

const DAMAGED = { own: "app", loses: "libs", gains: "base" };

const damageAndRepair = (name: string): Step => ({
  what: `damage and repair ${name}`,
  run: async (wire, state) => {
    damage(state, join(state, "names", name), DAMAGED);
    await repair(wire);
  },
  isDamage: (problem) => isOfDamage(problem, DAMAGED),
});

/** All of the store; rejects where anything is left. */
export async function repair(wire: Wire): Promise<void> {
  const { findings } = await wire.request("store/verify", { deep: true, repair: true });
  if (findings.length > 0) throw new Error(`not repaired: ${JSON.stringify(findings)}`);
}

const collect: Step = {
  what: "collect",
  run: async (wire) => void (await wire.request("store/gc", { keepLast: 1 })),
};

/** As the daemon tells it. */
export async function standingTold(wire: Wire): Promise<Standing> {
  const roots = (await wire.request("root/list")).roots as Json[];
  return {
    names: Object.fromEntries(
      roots.flatMap(({ names, manifestDigest }) => names.map(({ name }: Json) => [name, manifestDigest])),
    ),
    pinned: roots.flatMap(({ pinned, manifestDigest }) => (pinned ? [manifestDigest] : [])),
  };
}
