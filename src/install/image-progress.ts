/**
 * How far the work on one image is, as its jobs see it: built from the layers' own counters.
 */
import type { JobLayer, Phase } from "../messages/job.js";
import type { DiffId, Digest } from "../oci/digest.js";
import type { LayerDescriptor } from "../oci/documents.js";
import type { TaskProgress } from "../task-progress.js";
import type { WorkView } from "./job.js";
import { exact } from "./plan-cost.js";

/** An estimate from less than this is a guess. */
const MIN_ETA_MS = 1000;

export interface LayerProgress {
  state: JobLayer["state"];
  reused: boolean;
  /** What the running unpack tells; of another job's, where that one unpacks it. */
  task: TaskProgress | undefined;
  /** Claimed, or computed where nothing claims one. */
  diffId: DiffId | undefined;
}

export class ImageProgress {
  readonly #manifestDigest: Digest;
  readonly #layers: readonly LayerDescriptor[];
  readonly #states: readonly LayerProgress[];
  readonly #startedAt = performance.now();
  readonly #timings: NonNullable<WorkView["timings"]> = {};
  #linked: WorkView["linked"];
  #phase: Phase = "resolve";
  #changed: () => void;

  constructor(manifestDigest: Digest, layers: readonly LayerDescriptor[], changed: () => void) {
    this.#manifestDigest = manifestDigest;
    this.#layers = layers;
    this.#states = layers.map(({ diffId }) => ({ state: "waiting", reused: false, task: undefined, diffId }));
    this.#changed = changed;
  }

  get phase(): Phase {
    return this.#phase;
  }

  enter(phase: Phase): void {
    this.#phase = phase;
    this.#changed();
  }

  layer(index: number, change: Partial<LayerProgress>): void {
    Object.assign(this.#states[index] as LayerProgress, change);
    this.#changed();
  }

  /** How much of a layer is done, from 0 to 1. */
  share(index: number): number {
    const { state, task } = this.#states[index] as LayerProgress;
    if (state === "stored") return 1;
    return (task?.bytesRead ?? 0) / Math.max(1, (this.#layers[index] as LayerDescriptor).descriptor.size);
  }

  timing(name: "resolveMs" | "fetchMs" | "unpackMs" | "linkMs", milliseconds: number): void {
    this.#timings[name] = Math.round(milliseconds * 10) / 10;
  }

  linked(linked: NonNullable<WorkView["linked"]>): void {
    this.#linked = linked;
  }

  view(): WorkView {
    const layers = this.#layers.map(({ descriptor }, index): JobLayer => {
      const { state, reused, task, diffId } = this.#states[index] as LayerProgress;
      const bytesDone = state === "stored" ? descriptor.size : Math.min(task?.bytesRead ?? 0, descriptor.size);
      return {
        digest: descriptor.digest,
        ...(diffId === undefined ? {} : { diffId }),
        mediaType: descriptor.mediaType,
        size: descriptor.size,
        state,
        reused,
        bytesDone,
      };
    });
    const bytesDone = exact(layers.reduce((sum, layer) => sum + layer.bytesDone, 0));
    const bytesTotal = exact(layers.reduce((sum, layer) => sum + layer.size, 0));
    const etaMs = this.#eta(layers, bytesDone, bytesTotal);
    return {
      phase: this.#phase,
      manifestDigest: this.#manifestDigest,
      layers,
      progress: {
        bytesDone,
        bytesTotal,
        layersDone: layers.filter((layer) => layer.state === "stored").length,
        layersTotal: layers.length,
        entriesDone: this.#states.reduce((sum, { task }) => sum + (task?.entries ?? 0), 0),
        ...(etaMs === undefined ? {} : { etaMs }),
      },
      ...(this.#linked === undefined ? {} : { linked: this.#linked }),
      timings: { ...this.#timings },
    };
  }

  /** From the bytes that this work itself had to bring; what was stored already says nothing about speed. */
  #eta(layers: readonly JobLayer[], bytesDone: number, bytesTotal: number): number | undefined {
    const reused = layers.reduce((sum, layer) => sum + (layer.reused ? layer.size : 0), 0);
    const elapsed = performance.now() - this.#startedAt;
    const own = bytesDone - reused;
    if (elapsed < MIN_ETA_MS || own <= 0 || bytesDone >= bytesTotal) return undefined;
    return exact(Math.round((elapsed / own) * (bytesTotal - bytesDone)));
  }
}
