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
import { overlappingNames } from "../overlap/disjoint-roots.js";
import type { Conflict, ConflictSide, PlannedPolicy } from "../overlap/plan-root.js";
import type { Pool } from "../pool.js";
import type { ResolvedImage } from "../sources/resolve.js";
import type { RootDocument } from "../store/documents.js";
import type { StagingPaths } from "../store/layout.js";
import type { Store } from "../store/store.js";
import { type LinkResult, type PlanRange, type PlanResultMessage, TaskProgress } from "../tasks.js";
import type { HeldSource } from "./held-source.js";
import type { ImageProgress } from "./image-progress.js";
import type { LayerInstaller } from "./layer-installer.js";
import { overlapError } from "./overlap-error.js";

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

/** Plans and links go before unpacks: they are short, and somebody's install ends with them. */
const LINK_WEIGHT = Number.MAX_SAFE_INTEGER;

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
    const stored = image.layers.map(({ diffId }) => this.#store.layers.get(diffId)?.document);
    const conflicts = overlappingNames(
      stored.map((layer) => new Map(layer?.topLevel as [string, ConflictSide["type"]][] | undefined)),
    );
    if (conflicts.length === 0) return;
    if (stored.every((layer) => layer !== undefined)) return; // the plan lists them all, whiteouts too
    throw overlapError({ conflicts: sortByPath(conflicts), image, overlap });
  }

  async #installLayers({ image, source, from, progress, signal }: ImageRequest): Promise<DiffId[]> {
    const aborts = image.layers.map(() => new AbortController());
    progress.enter(image.layers.some(({ diffId }) => this.#store.layers.get(diffId) === undefined) ? "unpack" : "link");
    const installs = new Map<number, Promise<DiffId>>();
    for (const [index, layer] of largestFirst(image.layers)) {
      const own = AbortSignal.any([signal, (aborts[index] as AbortController).signal]);
      const install = this.#layers.install({
        layer,
        source,
        from,
        signal: own,
        progress: (change) => progress.layer(index, change),
      });
      install.catch(() => {
        for (const above of aborts.slice(index + 1)) above.abort();
      });
      installs.set(index, install);
    }
    const ends = await Promise.allSettled(image.layers.map((_, index) => installs.get(index) as Promise<DiffId>));
    const failed = ends.find((end) => end.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return ends.map((end) => (end as PromiseFulfilledResult<DiffId>).value);
  }

  async #linkInto(paths: StagingPaths, diffIds: readonly DiffId[], request: ImageRequest) {
    const { image, overlap, link, rootId, signal } = request;
    await mkdir(paths.root);
    await mkdir(paths.rootTree);
    const plan = await this.#plan(paths.directory, diffIds, request);
    const results: LinkResult[] = await Promise.all(
      plan.ranges.map((range) => this.#link(paths, plan.plan, range, diffIds, signal)),
    );
    results.push(await this.#link(paths, plan.plan, plan.last, diffIds, signal));
    const files = results.reduce((sum, result) => sum + result.files, 0);
    const copied = results.reduce((sum, result) => sum + result.copied, 0);
    const because = results.find((result) => result.because !== undefined)?.because;
    const document: RootDocument = {
      schema: 1,
      rootId,
      manifestDigest: image.manifestDescriptor.digest,
      platform: formatPlatform(image.platform),
      overlap,
      link,
      layers: [...diffIds],
      bytes: plan.bytes,
      entries: plan.entries,
      createdAt: new Date().toISOString(),
    };
    return {
      document,
      linked: { files, bytes: plan.bytes, copied: { count: copied, ...(because === undefined ? {} : { because }) } },
    };
  }

  async #plan(
    staging: string,
    diffIds: readonly DiffId[],
    request: ImageRequest,
  ): Promise<PlanResultMessage & { ok: true }> {
    const changesets = diffIds.map((diffId) => {
      const layer = this.#store.layers.get(diffId);
      if (layer === undefined)
        throw new StrataError("INTERNAL", `Cannot plan the root: layer ${diffId} left the store`);
      return { path: this.#store.layout.changeset(diffId), sha256: layer.document.changesetSha256 };
    });
    const result = await this.#pool.run(
      "plan",
      { policy: request.overlap, changesets, staging, ranges: this.#pool.threads, limits: this.#limits },
      { signal: request.signal, weight: LINK_WEIGHT },
    );
    if (result.ok) return result;
    throw overlapError({
      conflicts: result.conflicts,
      total: result.total,
      image: request.image,
      overlap: request.overlap,
    });
  }

  #link(
    paths: StagingPaths,
    plan: string,
    range: PlanRange,
    diffIds: readonly DiffId[],
    signal: AbortSignal,
  ): Promise<LinkResult> {
    if (range.start === range.end) return Promise.resolve({ files: 0, copied: 0 });
    const progress = new TaskProgress();
    const layers = diffIds.map((diffId) => this.#store.layout.layerTree(diffId));
    return this.#pool.run(
      "link",
      { plan, range, layers, tree: paths.rootTree, progress: progress.shared },
      { signal, weight: LINK_WEIGHT, progress },
    );
  }
}

const largestFirst = (layers: readonly LayerDescriptor[]): [number, LayerDescriptor][] =>
  [...layers.entries()].sort(([, a], [, b]) => b.descriptor.size - a.descriptor.size);

const sortByPath = (conflicts: readonly Conflict[]): Conflict[] =>
  [...conflicts].sort((a, b) => (a.path < b.path ? -1 : 1));
