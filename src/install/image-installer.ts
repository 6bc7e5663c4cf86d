/**
 * A resolved image into a root: its layers in parallel, then the plan, the links and the commit.
 *
 * The answer does not depend on timing (invariant 9): a failing layer ends only the layers above it, and the failure of the
 * lowest is told. Conflicts end the work before the first link.
 */
import { mkdir } from "node:fs/promises";
import { StrataError } from "../errors.js";
import type { ImageLimits } from "../limits.js";
import type { LinkMode } from "../messages.js";
import type { DiffId } from "../oci/digest.js";
import type { LayerDescriptor } from "../oci/documents.js";
import { formatPlatform } from "../oci/platform.js";
import { areDisjoint, overlappingNames } from "../overlap/disjoint-roots.js";
import type { Conflict, PlannedPolicy } from "../overlap/plan-root.js";
import type { Pool } from "../pool.js";
import type { ResolvedImage } from "../sources/resolve.js";
import type { RootDocument } from "../store/documents.js";
import type { StagingPaths } from "../store/layout.js";
import type { Store } from "../store/store.js";
import { type LayerDocument, type LinkResult, type LinkTask, TaskProgress } from "../tasks.js";
import type { HeldSource } from "./held-source.js";
import type { ImageProgress } from "./image-progress.js";
import type { LayerInstaller } from "./layer-installer.js";
import { overlapError } from "./overlap-error.js";
import { TopLevelNames } from "./top-level.js";

export interface ImageRequest {
  readonly rootId: string;
  readonly image: ResolvedImage;
  readonly source: HeldSource;
  readonly from: string;
  readonly overlap: PlannedPolicy;
  readonly link: LinkMode;
  readonly progress: ImageProgress;
  readonly signal: AbortSignal;
}

/** Links go before unpacks: they are short, and somebody's install ends with them. */
const LINK_WEIGHT = Number.MAX_SAFE_INTEGER;
/** Below this many entries a second thread costs more than it saves. */
const MIN_PART_ENTRIES = 4096;

export class ImageInstaller {
  readonly #store: Store;
  readonly #pool: Pool;
  readonly #layers: LayerInstaller;
  readonly #limits: ImageLimits;
  rootsLinked = 0;

  constructor(options: {
    readonly store: Store;
    readonly pool: Pool;
    readonly layers: LayerInstaller;
    readonly limits: ImageLimits;
  }) {
    this.#store = options.store;
    this.#pool = options.pool;
    this.#layers = options.layers;
    this.#limits = options.limits;
  }

  /** The root stands when this resolves. LAYER_OVERLAP, WHITEOUT, HARDLINK_TARGET, the codes of the layers and the store. */
  async install(request: ImageRequest): Promise<RootDocument> {
    const { progress, image, signal } = request;
    this.#refuseKnownOverlap(request);
    const unpackStart = performance.now();
    const diffIds = await this.#installLayers(request);
    progress.timing("unpackMs", performance.now() - unpackStart);
    progress.enter("link");
    const linkStart = performance.now();
    const document = await this.#store.staging.with(async (paths) => {
      const { document, linked } = await this.#linkInto(paths, diffIds, request);
      signal.throwIfAborted();
      progress.enter("commit");
      await this.#store.roots.commit(paths.root, document);
      progress.linked(linked);
      return document;
    });
    progress.timing("linkMs", performance.now() - linkStart);
    this.rootsLinked += 1;
    if (image.configBytes !== undefined)
      await this.#store.keepDocument(image.manifest.config.digest, image.configBytes);
    await this.#store.keepDocument(image.manifestDescriptor.digest, image.manifestBytes);
    return document;
  }

  /** Layers that are stored already tell their conflicts before anything is fetched. */
  #refuseKnownOverlap({ image, overlap }: ImageRequest): void {
    const stored = image.layers.map((layer) => this.#store.layers.find(layer)?.document);
    const conflicts = overlappingNames(stored.map((layer) => new Map(layer?.topLevel)));
    if (conflicts.length === 0) return;
    if (stored.every((layer) => layer !== undefined)) return; // the plan lists them all, whiteouts too
    throw overlapError({ conflicts: sortByPath(conflicts), image, overlap });
  }

  /**
   * Under policy c the first name that two layers share decides: layers that would take long are stopped. The quick ones go on, for
   * the whole list of conflicts, and may still fail for what their bytes are: that is told first.
   */
  async #installLayers(request: ImageRequest): Promise<DiffId[]> {
    const { image, source, from, progress, signal, overlap } = request;
    const stops = image.layers.map(() => new AbortController());
    const names = new TopLevelNames(image.layers.length);
    const overlapping = new AbortController();
    progress.enter(image.layers.some((layer) => this.#store.layers.find(layer) === undefined) ? "unpack" : "link");
    const installs = new Map<number, Promise<DiffId>>();
    for (const [index, layer] of largestFirst(image.layers)) {
      const install = this.#layers.install({
        layer,
        source,
        from,
        signal: AbortSignal.any([signal, (stops[index] as AbortController).signal]),
        unlessQuick: overlapping.signal,
        progress: (change) => progress.layer(index, change),
        topLevel: (name) => {
          if (names.add(index, name) && overlap === "c") overlapping.abort();
        },
      });
      install.catch((reason) => {
        if (!isCancelled(reason)) for (const above of stops.slice(index + 1)) above.abort();
      });
      installs.set(index, install);
    }
    const ends = await Promise.allSettled(image.layers.map((_, index) => installs.get(index) as Promise<DiffId>));
    signal.throwIfAborted();
    if (overlapping.signal.aborted && ends.some(({ status }) => status === "rejected"))
      throw firstFailure(ends) ?? this.#early(names, request);
    return valuesOf(ends);
  }

  #early(names: TopLevelNames, { image, overlap }: ImageRequest): StrataError {
    return overlapError({ conflicts: sortByPath(names.conflicts()), image, overlap });
  }

  async #linkInto(paths: StagingPaths, diffIds: readonly DiffId[], request: ImageRequest) {
    const { image, overlap, link, rootId, signal } = request;
    const layers = diffIds.map((diffId) => this.#stored(diffId));
    if (!areDisjoint(layers)) throw await this.#overlap(layers, request);
    const { bytes, entries } = this.#measure(layers);
    await mkdir(paths.root);
    await mkdir(paths.rootTree);
    const results = await whenAllHaveEnded(
      this.#parts(layers, paths.rootTree).map((part) => {
        const progress = new TaskProgress();
        const task: LinkTask = { ...part, progress: progress.shared };
        return this.#pool.run("link", task, { signal, weight: LINK_WEIGHT, progress });
      }),
    );
    const directories = results.flatMap(({ open }) => open);
    if (directories.length > 0)
      await this.#pool.run("settle", { tree: paths.rootTree, directories }, { signal, weight: LINK_WEIGHT });
    const document: RootDocument = {
      schema: 1,
      rootId,
      manifestDigest: image.manifestDescriptor.digest,
      platform: formatPlatform(image.platform),
      overlap,
      link,
      layers: [...diffIds],
      bytes,
      entries,
      createdAt: new Date().toISOString(),
    };
    return { document, linked: { ...sum(results), bytes } };
  }

  #stored(diffId: DiffId): LayerDocument {
    const layer = this.#store.layers.get(diffId);
    if (layer === undefined) throw new StrataError("INTERNAL", `Cannot plan the root: layer ${diffId} left the store`);
    return layer.document;
  }

  /** LIMIT_ENTRIES, LIMIT_BYTES. */
  #measure(layers: readonly LayerDocument[]): { bytes: number; entries: number } {
    const { maxEntriesPerImage, maxImageBytes } = this.#limits;
    const entries = layers.reduce((total, layer) => total + layer.entries, 0);
    if (entries > maxEntriesPerImage)
      throw new StrataError("LIMIT_ENTRIES", `Cannot plan the root: it has more than ${maxEntriesPerImage} entries`);
    const bytes = layers.reduce((total, layer) => total + layer.bytes, 0);
    if (bytes > maxImageBytes)
      throw new StrataError("LIMIT_BYTES", `Cannot plan the root: it is larger than ${maxImageBytes} bytes`);
    return { bytes, entries };
  }

  async #overlap(layers: readonly LayerDocument[], { image, overlap, signal }: ImageRequest): Promise<StrataError> {
    const changesets = layers.map((layer) => this.#changeset(layer));
    const options = { signal, weight: LINK_WEIGHT };
    const result = await this.#pool.run("conflicts", { policy: overlap, changesets }, options);
    return overlapError({ ...result, image, overlap });
  }

  /** What link tasks do side by side: every layer, and a large one in as many parts as there are threads. */
  #parts(layers: readonly LayerDocument[], tree: string): Omit<LinkTask, "progress">[] {
    const entries = layers.reduce((total, layer) => total + layer.entries, 0);
    const perPart = Math.max(MIN_PART_ENTRIES, Math.ceil(entries / this.#pool.threads));
    return layers.flatMap((document) => {
      const of = Math.ceil(document.entries / perPart);
      const layer = { tree: this.#store.layout.layerTree(document.diffId), changeset: this.#changeset(document) };
      return Array.from({ length: of }, (_, index) => ({ layer, part: { index, of }, tree }));
    });
  }

  #changeset({ diffId, changesetSha256: sha256 }: LayerDocument) {
    return { path: this.#store.layout.changeset(diffId), sha256 };
  }
}

function sum(results: readonly LinkResult[]): { files: number; copied: { count: number; because?: string } } {
  const files = results.reduce((total, result) => total + result.files, 0);
  const count = results.reduce((total, result) => total + result.copied, 0);
  const because = results.find((result) => result.because !== undefined)?.because;
  return { files, copied: { count, ...(because === undefined ? {} : { because }) } };
}

/** Only when nothing is under way any more: staging is removed then. */
const whenAllHaveEnded = async <Value>(work: readonly Promise<Value>[]): Promise<Value[]> =>
  valuesOf(await Promise.allSettled(work));

/** Throws the first failure in order, not in time. */
function valuesOf<Value>(ends: readonly PromiseSettledResult<Value>[]): Value[] {
  return ends.map((end) => {
    if (end.status === "rejected") throw end.reason;
    return end.value;
  });
}

/** Of those that were not stopped. */
function firstFailure(ends: readonly PromiseSettledResult<unknown>[]): unknown {
  return ends.flatMap((end) => (end.status === "rejected" && !isCancelled(end.reason) ? [end.reason] : []))[0];
}

const isCancelled = (reason: unknown): boolean => reason instanceof StrataError && reason.code === "CANCELLED";

const largestFirst = (layers: readonly LayerDescriptor[]): [number, LayerDescriptor][] =>
  [...layers.entries()].sort(([, a], [, b]) => b.descriptor.size - a.descriptor.size);

const sortByPath = (conflicts: readonly Conflict[]): Conflict[] =>
  [...conflicts].sort((a, b) => (a.path < b.path ? -1 : 1));
