/**
 * Which inodes a root has from its layers: that of the file where the layer has it, or a further one of the layer's spill.
 */
import { closeSync, lstatSync, readdirSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { RootSource } from "../src/findings.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import { fromHere } from "./disk-path.js";
import { inDirectory, OpenDirectories, openDirectory } from "./open-directories.js";
import { inodeKey } from "./verification.js";

interface OpenLayer {
  readonly top: number;
  readonly directories: OpenDirectories;
}

export class SharedInodes {
  readonly #layers: readonly RootSource[];
  readonly #open = new Map<number, OpenLayer | undefined>();
  readonly #spilled = new Map<number, ReadonlySet<string>>();

  constructor(layers: readonly RootSource[]) {
    this.#layers = layers;
  }

  /** Whether the inode of that key is the file of the layer that `origin` names. */
  has({ layer, from }: Pick<PlannedEntry, "layer" | "from">, key: string): boolean {
    return this.#stored(layer, from) === key || this.#spill(layer).has(key);
  }

  close(): void {
    for (const layer of this.#open.values()) {
      layer?.directories.close();
      if (layer !== undefined) closeSync(layer.top);
    }
    this.#open.clear();
  }

  #stored(layer: number, from: string): string | undefined {
    const open = this.#layer(layer);
    if (open === undefined) return undefined;
    return found(() => inodeKey(lstatSync(open.directories.at(from), { bigint: true })));
  }

  #layer(layer: number): OpenLayer | undefined {
    if (!this.#open.has(layer)) {
      const top = found(() => openDirectory(fromHere(this.#layers[layer]?.tree ?? "")));
      this.#open.set(layer, top === undefined ? undefined : { top, directories: new OpenDirectories(top) });
    }
    return this.#open.get(layer);
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
