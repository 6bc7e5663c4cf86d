/**
 * Links stored layers into a root while the image's other layers are unpacked, with the threads that these leave over.
 *
 * An attempt. Only where the policy lets layers be linked as they stand may its links be taken, and only all together: whatever goes
 * wrong is told by an assembly that begins anew.
 */
import type { DiffId } from "../oci/digest.js";
import type { LinkResult } from "../root-tasks.js";
import { Slots } from "../slots.js";
import type { LayerDocument } from "../tasks.js";
import { layersAtOnce } from "../weights.js";

/** Links one layer, each part of it in a slot; settles when nothing is under way for it any more. */
export type LinkLayer = (layer: LayerDocument, slots: Slots, signal: AbortSignal) => Promise<readonly LinkResult[]>;

export class LinkingAhead {
  readonly #link: LinkLayer;
  readonly #slots: Slots;
  readonly #atOnce: number;
  #left: number;
  readonly #linked = new Map<DiffId, Promise<readonly LinkResult[]>>();
  readonly #stopping = new AbortController();

  /** As many of the image's layers as are unpacked at once need a thread until they are stored. */
  constructor(link: LinkLayer, { threads, layers }: { readonly threads: number; readonly layers: number }) {
    this.#link = link;
    this.#atOnce = layersAtOnce(threads);
    this.#left = layers;
    this.#slots = new Slots(threads - Math.min(layers, this.#atOnce));
  }

  /** One more layer is stored; its thread is free where no other layer waits for it. */
  add(layer: LayerDocument): void {
    this.#left -= 1;
    if (this.#left < this.#atOnce) this.#slots.add(1);
    this.#begin(layer);
  }

  /** Links the rest; what all of it gave, in the order in which the layers came, or undefined where it is to be done anew. */
  async finish(layers: readonly LayerDocument[]): Promise<readonly LinkResult[] | undefined> {
    this.#slots.add(layers.length);
    for (const layer of layers) this.#begin(layer);
    const ends = await Promise.allSettled(this.#linked.values());
    const results = ends.flatMap((end) => (end.status === "fulfilled" ? end.value : []));
    return this.#stopping.signal.aborted ? undefined : results;
  }

  /** Resolves when nothing is under way; what was linked is not taken. */
  async abandon(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled(this.#linked.values());
  }

  #begin(layer: LayerDocument): void {
    if (this.#linked.has(layer.diffId)) return;
    const linked = this.#link(layer, this.#slots, this.#stopping.signal);
    linked.catch(() => this.#stopping.abort());
    this.#linked.set(layer.diffId, linked);
  }
}
