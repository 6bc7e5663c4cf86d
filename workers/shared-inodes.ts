/**
 * Which inodes a root has from its layers: that of the file where the layer has it, or a further one of the layer's spill.
 */
import { closeSync, lstatSync, readdirSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { RootSource } from "../src/findings.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import { fromHere } from "./disk-path.js";
import { inDirectory, openDirectory } from "./open-directories.js";
import { OpenTrees } from "./open-trees.js";
import { inodeKey } from "./verification.js";

export class SharedInodes {
  readonly #layers: readonly RootSource[];
  readonly #trees: OpenTrees;
  readonly #spilled = new Map<number, ReadonlySet<string>>();

  constructor(layers: readonly RootSource[]) {
    this.#layers = layers;
    this.#trees = new OpenTrees(layers.map(({ tree }) => tree));
  }

  /** Whether the inode of that key is the file of the layer that `origin` names. */
  has({ layer, from }: Pick<PlannedEntry, "layer" | "from">, key: string): boolean {
    return this.#stored(layer, from) === key || this.#spill(layer).has(key);
  }

  close(): void {
    this.#trees.close();
  }

  #stored(layer: number, from: string): string | undefined {
    return found(() => inodeKey(lstatSync(this.#trees.of(layer).at(from), { bigint: true })));
  }

  #spill(layer: number): ReadonlySet<string> {
    const known = this.#spilled.get(layer);
    if (known !== undefined) return known;
    const inodes = new Set(found(() => inodesIn(this.#layers[layer]?.spill ?? "")) ?? []);
    this.#spilled.set(layer, inodes);
    return inodes;
  }
}

function inodesIn(path: string): string[] {
  const directory = openDirectory(fromHere(path));
  try {
    return readdirSync(`/proc/self/fd/${directory}`, "latin1" as BufferEncoding).flatMap(
      (name) => found(() => inodeKey(lstatSync(inDirectory(directory, name), { bigint: true }))) ?? [],
    );
  } finally {
    closeSync(directory);
  }
}

/** Undefined where there is nothing, or nothing that may be looked at. */
function found<Value>(look: () => Value): Value | undefined {
  try {
    return look();
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return undefined;
  }
}
