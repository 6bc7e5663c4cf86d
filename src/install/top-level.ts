/**
 * What layers hold at the image root, as far as it is known while they are unpacked: who has which name, and which of them meet.
 *
 * Under policy c the first name that two layers have decides, long before the layers are there. Knows no threads but for the port
 * that a worker writes to.
 */
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { overlappingNames } from "../overlap/disjoint-roots.js";
import type { Conflict } from "../overlap/plan-root.js";
import type { TopLevelName } from "../tasks.js";

/** The names of one running unpack, for all that want to know them, whenever they come. */
export class TopLevelChannel {
  readonly #names: TopLevelName[] = [];
  readonly #listeners = new Set<(name: TopLevelName) => void>();

  /** For the worker; closed by it, or with its thread. */
  port(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    port1.on("message", (name: TopLevelName) => {
      this.#names.push(name);
      for (const tell of [...this.#listeners]) tell(name);
    });
    port1.unref();
    return port2;
  }

  /** Hears of the names so far at once, and of the others when they come, until it is told to stop. */
  listen(tell: (name: TopLevelName) => void): () => void {
    for (const name of this.#names) tell(name);
    this.#listeners.add(tell);
    return () => this.#listeners.delete(tell);
  }
}

/** The layers of one image, by index. */
export class TopLevelNames {
  readonly #layers: readonly Map<string, TopLevelName[1]>[];

  constructor(layers: number) {
    this.#layers = Array.from({ length: layers }, () => new Map());
  }

  /** True where another layer has the name too. */
  add(layer: number, [name, type]: TopLevelName): boolean {
    this.#layers[layer]?.set(name, type);
    return this.#layers.some((names, index) => index !== layer && names.has(name));
  }

  /** Every name that more than one layer is known to have. */
  conflicts(): readonly Conflict[] {
    return overlappingNames(this.#layers);
  }
}
