/**
 * What layers hold at the image root, as far as it is known while they are unpacked: who has which name, and which of them meet.
 *
 * Under policy c the first name that two layers have decides, long before the layers are there. Knows no threads but for the port
 * that a worker writes to.
 */
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { MAX_TOP_LEVEL_TOLD } from "../limits.js";
import { byPath, type Conflict } from "../overlap/plan-root.js";
import type { TopLevelName } from "../root-tasks.js";
import type { LayerDocument } from "../tasks.js";

/** The names of one running unpack, for all that want to know them, whenever they come. */
export class TopLevelChannel {
  readonly #names: TopLevelName[] = [];
  readonly #listeners = new Set<(name: TopLevelName) => void>();

  /** For the worker, which closes it, or its thread does; for the caller to close where it never went there. */
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

/** As many of a stored layer's names as a running unpack would tell: a plan sees them all, off the main thread. */
export const topLevelTold = (layer: LayerDocument | undefined): readonly TopLevelName[] =>
  layer?.topLevel.slice(0, MAX_TOP_LEVEL_TOLD) ?? [];

/** Of all layers of one image: who has which name. */
export class TopLevelNames {
  readonly #sides = new Map<string, Map<number, TopLevelName[1]>>();

  /** True where another layer has the name too. */
  add(layer: number, [name, type]: TopLevelName): boolean {
    const sides = this.#sides.get(name) ?? new Map<number, TopLevelName[1]>();
    this.#sides.set(name, sides.set(layer, type));
    return sides.size > 1;
  }

  /** Every name that more than one layer is known to have, in the order in which conflicts are told. */
  conflicts(): readonly Conflict[] {
    const shared = [...this.#sides].filter(([, sides]) => sides.size > 1);
    return shared
      .map(([path, sides]): Conflict => {
        const inOrder = [...sides].sort(([a], [b]) => a - b);
        return { code: "LAYER_OVERLAP", path, sides: inOrder.map(([layer, type]) => ({ layer, type })) };
      })
      .sort(byPath);
  }
}
