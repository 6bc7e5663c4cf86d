/**
 * One layer into the store, once: found there, or joined where another job unpacks it, or fetched and unpacked here.
 *
 * Download and unpack overlap: the worker reads the blob while it grows. What is committed was checked by the worker against
 * digest, size and diffID (invariant 4); where no diffID is claimed, against the other two, and the store's key is the computed one.
 */
import assert from "node:assert/strict";
import { setMaxListeners } from "node:events";
import { mkdir } from "node:fs/promises";
import { StrataError } from "../errors.js";
import { GrowthReader } from "../growth.js";
import { type ImageLimits, QUICK_LAYER_BYTES } from "../limits.js";
import { type DiffId, diffIdAsDigest } from "../oci/digest.js";
import type { LayerDescriptor } from "../oci/documents.js";
import { layerCodec } from "../oci/media-types.js";
import type { Pool } from "../pool.js";
import type { TopLevelName } from "../root-tasks.js";
import { Slots } from "../slots.js";
import type { Blob, ImageSource } from "../sources/source.js";
import type { LayerBlob } from "../store/documents.js";
import { blobKey, blobOf } from "../store/layers.js";
import type { StagingPaths } from "../store/layout.js";
import type { Store } from "../store/store.js";
import { TaskProgress } from "../task-progress.js";
import type { Decoders, LayerDocument, UnpackTask } from "../tasks.js";
import { giveTurnBack, Turn } from "../turn.js";
import { layersAtOnce } from "../weights.js";
import type { HeldSource } from "./held-source.js";
import type { LayerProgress } from "./image-progress.js";
import { SingleFlight, untilAborted } from "./single-flight.js";
import { TopLevelChannel, topLevelTold } from "./top-level.js";

/** A smaller one is over before its two threads are both at work. */
const LARGE_BLOB_BYTES = 1024 * 1024;

export interface LayerCounters {
  blobsRead: number;
  layersUnpacked: number;
}

export interface LayerRequest {
  readonly layer: LayerDescriptor;
  readonly source: HeldSource;
  /** The canonical text of where it comes from: failures of another place are not shared. */
  readonly from: string;
  readonly signal: AbortSignal;
  /** Aborted where the layer is only wanted any more if that is quick: it is here, and not large. Absent: wanted however long it takes. */
  readonly unlessQuick?: AbortSignal;
  readonly progress: (change: Partial<LayerProgress>) => void;
  /** Learns what the layer holds at the image root while it is unpacked, or at once where that is known. */
  readonly topLevel: (name: TopLevelName) => void;
}

export class LayerInstaller {
  readonly #store: Store;
  readonly #pool: Pool;
  readonly #limits: ImageLimits;
  readonly #flights = new SingleFlight<string, DiffId>();
  readonly #running = new Map<string, RunningUnpack>();
  readonly #wideWindow = new Turn();
  readonly #decoders: Decoders;
  readonly #growing: Slots;
  readonly #large: Slots;
  readonly counters: LayerCounters = { blobsRead: 0, layersUnpacked: 0 };

  constructor(options: {
    readonly store: Store;
    readonly pool: Pool;
    readonly limits: ImageLimits;
    readonly decoders: Decoders;
  }) {
    this.#store = options.store;
    this.#pool = options.pool;
    this.#large = new Slots(layersAtOnce(options.pool.threads));
    this.#growing = new Slots(options.pool.threads - 1);
    this.#limits = options.limits;
    this.#decoders = options.decoders;
  }

  /** The layer's diffID, which stands in the store now. The codes of the source, the codecs, the tar and the store. */
  async install(request: LayerRequest): Promise<DiffId> {
    const { layer, from, signal, progress } = request;
    const { digest } = layer.descriptor;
    for (;;) {
      const stored = this.#store.layers.find(layer)?.document;
      if (stored !== undefined && (await this.#store.layers.exists(stored.diffId))) {
        this.#store.layers.used(stored.diffId);
        progress({ state: "stored", reused: true, diffId: stored.diffId });
        for (const name of topLevelTold(stored)) request.topLevel(name);
        return stored.diffId;
      }
      const key = keyOf(layer);
      const other = this.#running.get(key);
      if (other !== undefined) progress({ state: "unpacking", reused: true, task: other.task });
      const stopListening = other?.topLevel.listen(request.topLevel);
      try {
        const { value } = await this.#flights.run(key, signal, (flightSignal) =>
          this.#unpack(key, request, flightSignal),
        );
        progress({ state: "stored", diffId: value });
        return value;
      } catch (error) {
        // Another place failed to deliver: this one may still.
        if (other !== undefined && other.from !== from && !signal.aborted) continue;
        progress({ state: "failed" });
        throw error instanceof StrataError ? error.with({ layerDigest: digest }) : error;
      } finally {
        stopListening?.();
      }
    }
  }

  /**
   * Fetches and unpacks a layer anew, whatever is stored, into `paths.layer`, and commits nothing. The layer's diffID is claimed.
   * The codes of the source, the codecs and the tar.
   */
  async unpackAnew(
    paths: StagingPaths,
    source: ImageSource,
    { layer, signal }: { readonly layer: Required<LayerDescriptor>; readonly signal: AbortSignal },
  ): Promise<{ document: LayerDocument; blob: LayerBlob }> {
    const wanted = { layer, signal, progress: () => undefined };
    return this.#unpackTo(paths, source, wanted, new RunningUnpack(""));
  }

  async #unpack(key: string, request: LayerRequest, signal: AbortSignal): Promise<DiffId> {
    const running = new RunningUnpack(request.from);
    running.topLevel.listen(request.topLevel);
    this.#running.set(key, running);
    const forget = (): void => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    };
    // Nobody joins what all have left: another may begin before this has ended.
    signal.addEventListener("abort", forget, { once: true });
    request.progress({ state: "fetching", reused: false, task: running.task });
    try {
      return await request.source.use((source) =>
        this.#store.staging.with((paths) => this.#unpackInto(paths, source, { ...request, signal }, running)),
      );
    } finally {
      forget();
    }
  }

  async #unpackInto(
    paths: StagingPaths,
    source: ImageSource,
    request: LayerRequest,
    running: RunningUnpack,
  ): Promise<DiffId> {
    const { document, blob } = await this.#unpackTo(paths, source, request, running);
    await this.#store.layers.commit(paths.layer, document, blob);
    this.counters.layersUnpacked += 1;
    return document.diffId;
  }

  /** The layer in staging, and what it was unpacked from. */
  async #unpackTo(
    paths: StagingPaths,
    source: ImageSource,
    request: Pick<LayerRequest, "layer" | "signal" | "unlessQuick" | "progress">,
    { task, topLevel }: RunningUnpack,
  ): Promise<{ document: LayerDocument; blob: LayerBlob }> {
    const { layer, signal } = request;
    const { descriptor } = layer;
    const codec = layerCodec(descriptor.mediaType);
    await mkdir(paths.layer);
    // The download ends when the unpack fails, and the other way round.
    const both = new AbortController();
    const bothSignal = AbortSignal.any([signal, both.signal]);
    const blob = await source.blob(descriptor, paths.blob, bothSignal);
    if (descriptor.size > this.#limits.maxLayerBytes) {
      both.abort();
      await blob.done.catch(() => undefined);
      throw tooLarge(descriptor.size, this.#limits.maxLayerBytes);
    }
    assert(blob.digestIsOfBytes || layer.diffId !== undefined, "nothing to compare the blob with");
    this.counters.blobsRead += 1;
    if (request.unlessQuick !== undefined) giveUpUnlessQuick(blob, request.unlessQuick, both);
    const unpacked = this.#whenReadable(blob, signal, async () => {
      request.progress({ state: "unpacking" });
      const wideWindow = this.#wideWindow.ticket();
      const { folding, sharedFiles } = this.#store;
      const { directory: files } = sharedFiles;
      const port = topLevel.port();
      const unpack: UnpackTask = {
        blob: withoutPromise(blob),
        codec,
        decoders: this.#decoders,
        expected: {
          ...(layer.diffId === undefined ? {} : { diffId: layer.diffId }),
          ...(blob.digestIsOfBytes ? { digest: descriptor.digest } : {}),
        },
        staging: paths.layer,
        limits: this.#limits,
        ...(folding === undefined ? {} : { folding }),
        progress: task.shared,
        busy: this.#pool.sharedBusy,
        wideWindow,
        topLevel: port,
        ...(files === undefined ? {} : { files }),
      };
      const options = { signal: bothSignal, weight: descriptor.size, progress: task };
      const run = () => this.#pool.run("unpack", unpack, options);
      const isLarge = blob.growth === undefined && blob.length >= LARGE_BLOB_BYTES;
      try {
        return await (isLarge ? this.#large.run(blob.length, bothSignal, run) : run());
      } finally {
        // The thread may have been ended while it had the turn.
        giveTurnBack(wideWindow);
        // A no-op where a thread got it.
        port.close();
      }
    });
    unpacked.catch(() => both.abort());
    const [fetchEnd, unpackEnd] = await Promise.allSettled([blob.done, unpacked]);
    if (unpackEnd.status === "rejected") throw moreTelling(fetchEnd, unpackEnd.reason, signal);
    const { layer: document } = unpackEnd.value;
    if (fetchEnd.status === "rejected") throw fetchEnd.reason;
    return { document, blob: blob.digestIsOfBytes ? blobOf(descriptor) : tarOf(document) };
  }

  /**
   * A worker that waits for a slow download holds a thread. All but one thread may, the largest first; a blob that none is left for is
   * unpacked as soon as one is, or as it is here.
   */
  async #whenReadable<Value>(blob: Blob, signal: AbortSignal, unpack: () => Promise<Value>): Promise<Value> {
    if (blob.growth === undefined) return unpack();
    const here = new AbortController();
    const isHere = (): void => here.abort();
    blob.done.then(isHere, isHere);
    let hasBegun = false;
    try {
      return await this.#growing.run(blob.length, AbortSignal.any([signal, here.signal]), () => {
        hasBegun = true;
        return unpack();
      });
    } catch (error) {
      if (hasBegun || !here.signal.aborted) throw error;
    }
    await untilAborted(blob.done, signal);
    return unpack();
  }
}

/** What jobs that join an unpack get to see of it, whoever started it. */
class RunningUnpack {
  readonly from: string;
  readonly task = new TaskProgress();
  readonly topLevel = new TopLevelChannel();

  constructor(from: string) {
    this.from = from;
  }
}

/** Aborts `controller` when the layer is only wanted if that is quick, and it is not. */
function giveUpUnlessQuick({ growth, length }: Blob, wanted: AbortSignal, controller: AbortController): void {
  const judge = (): void => {
    const isHere = growth === undefined || new GrowthReader(growth).bytes >= length;
    if (!isHere || length > QUICK_LAYER_BYTES) controller.abort();
  };
  // All layers of an image may wait on one signal; Node takes more than ten for a leak.
  setMaxListeners(0, wanted);
  if (wanted.aborted) judge();
  else wanted.addEventListener("abort", judge, { once: true });
}

/** Two that differ in anything are told apart: what one descriptor says wrongly must not become another's failure, or its success. */
const keyOf = ({ descriptor, diffId }: LayerDescriptor): string => [blobKey(blobOf(descriptor)), diffId].join(" ");

/** What is known of a blob whose bytes nobody named: the tar in it, which would be a blob too. */
const tarOf = ({ diffId, tarBytes }: LayerDocument): LayerBlob => ({
  digest: diffIdAsDigest(diffId),
  size: tarBytes,
  codec: "none",
});

function withoutPromise({ path, offset, length, growth }: Blob): {
  path: string;
  offset: number;
  length: number;
  growth?: SharedArrayBuffer;
} {
  return growth === undefined ? { path, offset, length } : { path, offset, length, growth };
}

/** What is larger than any layer may be unpacked is not worth its download, and a size is only what a manifest says. */
function tooLarge(size: number, limit: number): StrataError {
  return new StrataError("LIMIT_BYTES", `Cannot fetch the layer: its blob has ${size} bytes, over ${limit}`);
}

/** A worker only sees that the blob ended; the download knows why. */
function moreTelling(fetchEnd: PromiseSettledResult<void>, unpackError: unknown, signal: AbortSignal): unknown {
  if (signal.aborted || fetchEnd.status === "fulfilled") return unpackError;
  const byDownload = unpackError instanceof StrataError && unpackError.code === "SIZE_MISMATCH";
  return byDownload ? fetchEnd.reason : unpackError;
}
