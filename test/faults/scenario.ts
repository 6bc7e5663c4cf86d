/**
 * What a daemon is asked to do while it is being killed: a list of steps over the protocol, each of which may be asked for again by
 * somebody who got no answer. A step more is a line more.
 */
import { join } from "node:path";
import { writeLayout } from "../support/images.js";
import { buildImage, startRegistry, type TestImage, type TestRegistry } from "../support/registry.js";
import type { Scope } from "../support/sandbox.js";
import { type Json, RpcError, type Wire } from "../support/wire.js";
import { layerOf } from "./images.js";

export interface Step {
  readonly what: string;
  /** Rejects where it is not done; an RpcError is an answer. */
  readonly run: (wire: Wire) => Promise<void>;
}

export interface Scenario {
  readonly steps: readonly Step[];
  readonly registry: TestRegistry;
  /** What stands when all steps are done: the manifest of each name's root. */
  readonly names: Readonly<Record<string, string>>;
}

/** Images of three layers that share two, from a layout below `directory` and from a registry. */
export async function makeScenario(scope: Scope, directory: string): Promise<Scenario> {
  const [base, libs] = [await layerOf("base", "base"), await layerOf("libs", "libs", { large: true })];
  const imageOf = async (word: string): Promise<TestImage> => buildImage([base, libs, await layerOf("app", word)]);
  const [one, two, three] = [await imageOf("one"), await imageOf("two"), await imageOf("three")];
  await writeLayout(join(directory, "layout"), { one, three, four: await imageOf("four") });
  const registry = await startRegistry({ images: { "tool:2": two } });
  scope.after(() => registry.close());
  const layout = (tag: string): string => `oci:${join(directory, "layout")}:${tag}`;
  const steps = [
    install(layout("one"), "app"),
    install(`${registry.host}/tool:2`, "tool"),
    install(layout("three"), "app"),
    remove("tool"),
    rollback("app", 1),
    install(`${registry.host}/tool:2`, "again"),
    install(layout("three"), "app"),
    install(layout("four"), "passing"),
    remove("passing"),
    collect,
  ];
  return { steps, registry, names: { app: three.descriptor.digest, again: two.descriptor.digest } };
}

const install = (reference: string, name: string): Step => ({
  what: `install ${name}`,
  run: async (wire) => void (await wire.ready(reference, { name })),
});

/** Asked again, it may be gone already. */
const remove = (name: string): Step => ({
  what: `remove ${name}`,
  run: async (wire) => {
    await wire.request("root/remove", { name }).catch((error: unknown) => {
      if (!(error instanceof RpcError) || error.data.code !== "UNKNOWN_NAME") throw error;
    });
  },
});

const rollback = (name: string, generation: number): Step => ({
  what: `roll back ${name}`,
  run: async (wire) => void (await wire.request("root/rollback", { name, generation })),
});

const collect: Step = {
  what: "collect",
  run: async (wire) => void (await wire.request("store/gc")),
};

/** The manifest of each name's root, as the daemon tells it. */
export async function namesTold(wire: Wire): Promise<Record<string, string>> {
  const { roots } = await wire.request("root/list");
  return Object.fromEntries(
    (roots as Json[]).flatMap(({ names, manifestDigest }) => names.map(({ name }: Json) => [name, manifestDigest])),
  );
}
