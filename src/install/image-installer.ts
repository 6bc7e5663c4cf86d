/**
 * A resolved image into a root: its layers in parallel, then the plan, the links and the commit.
 *
 * The answer does not depend on timing (invariant 9): a failing layer ends only the layers above it, and the failure of the
 * lowest is told. Layers may be linked before the last one is there: where that meets a conflict, or anything else, what was linked is
 * thrown away, and the answer is the one of all layers.
 */

import type { LinkMode } from "../choices.js";
import { StrataError } from "../errors.js";
import type { DiffId } from "../oci/digest.js";
import type { LayerDescriptor } from "../oci/documents.js";
import { formatPlatform } from "../oci/platform.js";
import { type Placement, placedTopLevel } from "../overlap/placement.js";
import type { PlannedPolicy } from "../overlap/plan-root.js";
import type { ResolvedImage } from "../sources/resolve.js";
import type { RootDocument } from "../store/documents.js";
import type { StagingPaths } from "../store/layout.js";
import type { Store } from "../store/store.js";
import type { LayerDocument } from "../tasks.js";
import type { HeldSource } from "./held-source.js";
import type { ImageProgress } from "./image-progress.js";
import type { LayerInstaller } from "./layer-installer.js";
import type { LinkingAhead } from "./linking-ahead.js";
import { overlapError } from "./overlap-error.js";
import { leastCost } from "./plan-cost.js";
import type { Assembled, Assembly, RootAssembler } from "./root-assembler.js";
import { valuesOf } from "./root-linker.js";
import type { Piece, SpaceLedger } from "./space-ledger.js";
import { TopLevelNames, topLevelTold } from "./top-level.js";

export interface ImageRequest {
  readonly rootId: string;
  readonly image: ResolvedImage;
  readonly source: HeldSource;
  readonly from: string;
  /** Its blobs come over the network, and stand in staging meanwhile. */
  readonly isFetched: boolean;
  readonly overlap: PlannedPolicy;
  readonly link: LinkMode;
  /** Where each layer's annotations want it, the lowest first. */
  readonly placements: readonly (Placement | undefined)[];
  readonly progress: ImageProgress;
  readonly signal: AbortSignal;
}

export class ImageInstaller {
  readonly #store: Store;
  readonly #roots: RootAssembler;
  readonly #layers: LayerInstaller;
  /** Roots that are being linked, or committed. */
  readonly #linking = new Set<Promise<unknown>>();
  /** What is linked of roots whose layers are not all there. */
  readonly #ahead = new Set<LinkingAhead>();
  readonly #space: SpaceLedger;
  readonly #maxLayerBytes: number;
  rootsLinked = 0;

  constructor(options: {
    readonly store: Store;
    readonly roots: RootAssembler;
    readonly layers: LayerInstaller;
    readonly space: SpaceLedger;
    readonly maxLayerBytes: number;
  }) {
    this.#store = options.store;
    this.#roots = options.roots;
    this.#layers = options.layers;
    this.#space = options.space;
    this.#maxLayerBytes = options.maxLayerBytes;
  }

  /** The root stands when this resolves. NO_SPACE, LAYER_OVERLAP, WHITEOUT, HARDLINK_TARGET, the codes of the layers and the store. */
  async install(request: ImageRequest): Promise<RootDocument> {
    // Of its own: the job that began this may leave it to others.
    const lease = this.#store.leases.open();
    try {
      const { rootId, image } = request;
      lease.root(rootId);
      for (const layer of image.layers) lease.layer(layer);
      lease.document(image.manifest.config.digest);
      lease.document(image.manifestDescriptor.digest);
      return await this.#installLeased(request);
    } finally {
      lease.drop();
    }
  }

  /** Room is claimed before staging is opened, which takes an inode: on a full disk it has to be made first. */
  async #installLeased(request: ImageRequest): Promise<RootDocument> {
    this.#refuseKnownOverlap(request);
    return this.#space.with(this.#pieces(request), request.signal, () =>
      this.#store.staging.with((paths) => this.#installInto(paths, request)),
    );
  }

  async #installInto(paths: StagingPaths, request: ImageRequest): Promise<RootDocument> {
    const unpackStart = performance.now();
    const ahead = this.#roots.ahead(paths, request);
    if (ahead !== undefined) this.#ahead.add(ahead);
    try {
      const diffIds = await this.#installLayers(request, ahead);
      request.progress.timing("unpackMs", performance.now() - unpackStart);
      return await this.#whileLinking(this.#assemble(paths, request, { diffIds, ahead }));
    } finally {
      if (ahead !== undefined) this.#ahead.delete(ahead);
      await ahead?.abandon();
    }
  }

  async #assemble(
    paths: StagingPaths,
    request: ImageRequest,
    { diffIds, ahead }: { readonly diffIds: readonly DiffId[]; readonly ahead: LinkingAhead | undefined },
  ): Promise<RootDocument> {
    const { progress, image, signal } = request;
    progress.enter("link");
    const linkStart = performance.now();
    const assembly = this.#assembly(diffIds, request);
    const assembled = await this.#roots.assemble(paths, assembly, ahead);
    if (assembled.kind === "conflicts") throw await this.#overlap(assembly, { ...assembled, image });
    signal.throwIfAborted();
    progress.enter("commit");
    const document = documentOf(request, diffIds, assembled);
    // Before the root stands: nothing that comes after that may fail the job.
    await keepDocuments(this.#store.documents, image);
    await this.#store.roots.commit(paths.root, document);
    const { linked, bytes, dropped } = assembled;
    progress.linked({ ...linked, bytes, ...(dropped === 0 ? {} : { dropped }) });
    progress.timing("linkMs", performance.now() - linkStart);
    this.rootsLinked += 1;
    return document;
  }

  /**
   * When everything that was being linked is linked: whoever changed a layer knows then which roots have it as it was. What waits for
   * other layers is linked anew when they are there.
   */
  async settled(): Promise<void> {
    for (const ahead of this.#ahead) void ahead.abandon();
    await Promise.allSettled([...this.#linking]);
  }

  async #whileLinking<Value>(linking: Promise<Value>): Promise<Value> {
    this.#linking.add(linking);
    try {
      return await linking;
    } finally {
      this.#linking.delete(linking);
    }
  }

  /** What the layers that are not stored take at the least. */
  #pieces({ image, link, isFetched, progress }: ImageRequest): Piece[] {
    return image.layers.flatMap((layer, index) => {
      if (this.#store.layers.find(layer) !== undefined) return [];
      const cost = leastCost(layer, { isFetched, link, maxBytes: this.#maxLayerBytes });
      return [{ ...cost, key: `${layer.descriptor.digest} ${layer.diffId}`, share: () => progress.share(index) }];
    });
  }

  /** Under policy c layers that are stored already tell their conflicts before anything is fetched. */
  #refuseKnownOverlap({ image, overlap, placements }: ImageRequest): void {
    if (overlap !== "c") return;
    const stored = image.layers.map((layer) => this.#store.layers.find(layer)?.document);
    if (stored.every((layer) => layer !== undefined)) return; // the plan lists them all, whiteouts too
    const names = new TopLevelNames();
    for (const [index, layer] of stored.entries())
      for (const name of placedTopLevel(topLevelTold(layer), placements[index]) ?? []) names.add(index, name);
    const conflicts = names.conflicts();
    if (conflicts.length > 0) throw overlapError({ conflicts, image, overlap });
  }

  /**
   * Under policy c the first name that two layers share decides: layers that would take long are stopped. The quick ones go on, for
   * the whole list of conflicts, and may still fail for what their bytes are: that is told first.
   */
  async #installLayers(request: ImageRequest, ahead: LinkingAhead | undefined): Promise<DiffId[]> {
    const { image, source, from, progress, signal, overlap, placements } = request;
    const stops = image.layers.map(() => new AbortController());
    const names = new TopLevelNames();
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
          for (const placed of placedTopLevel([name], placements[index]) ?? [])
            if (names.add(index, placed) && overlap === "c") overlapping.abort();
        },
      });
      install.then(
        (diffId) => {
          const stored = this.#store.layers.get(diffId);
          if (stored !== undefined) ahead?.add(stored.document);
        },
        (reason) => {
          if (!isCancelled(reason)) for (const above of stops.slice(index + 1)) above.abort();
        },
      );
      installs.set(index, install);
    }
    const ends = await Promise.allSettled(image.layers.map((_, index) => installs.get(index) as Promise<DiffId>));
    signal.throwIfAborted();
    if (overlapping.signal.aborted && ends.some(({ status }) => status === "rejected"))
      throw firstFailure(ends) ?? this.#early(names, request);
    return valuesOf(ends);
  }

  #early(names: TopLevelNames, { image, overlap }: ImageRequest): StrataError {
    return overlapError({ conflicts: names.conflicts(), image, overlap });
  }

  #assembly(diffIds: readonly DiffId[], { placements, overlap, link, signal }: ImageRequest): Assembly {
    const layers = diffIds.map((diffId, index) => ({ document: this.#stored(diffId), placement: placements[index] }));
    return { layers, overlap, link, signal };
  }

  #stored(diffId: DiffId): LayerDocument {
    const layer = this.#store.layers.get(diffId);
    if (layer === undefined) throw new StrataError("INTERNAL", `Cannot plan the root: layer ${diffId} left the store`);
    return layer.document;
  }

  async #overlap(
    assembly: Assembly,
    known: Pick<Parameters<typeof overlapError>[0], "conflicts" | "total" | "image">,
  ): Promise<StrataError> {
    const accepted = await this.#roots.accepting(assembly);
    return overlapError({ ...known, overlap: assembly.overlap, accepted });
  }
}

/** What a root needs of them, the config first: a manifest that is there names what is there. */
export async function keepDocuments(
  documents: Store["documents"],
  { manifest, manifestDescriptor, manifestBytes, configBytes }: ResolvedImage,
): Promise<void> {
  if (configBytes !== undefined) await documents.keep(manifest.config.digest, configBytes);
  await documents.keep(manifestDescriptor.digest, manifestBytes);
}

function documentOf(
  { rootId, image, overlap, link }: ImageRequest,
  layers: readonly DiffId[],
  { bytes, entries, layerBytes, copiedBytes, planSha256 }: Assembled,
): RootDocument {
  return {
    schema: 1,
    rootId,
    manifestDigest: image.manifestDescriptor.digest,
    platform: formatPlatform(image.platform),
    overlap,
    link,
    layers: [...layers],
    bytes,
    ...(layerBytes === undefined ? {} : { layerBytes: [...layerBytes] }),
    ...(copiedBytes === 0 ? {} : { copiedBytes }),
    ...(planSha256 === undefined ? {} : { planSha256 }),
    entries,
    createdAt: new Date().toISOString(),
  };
}

/** Of those that were not stopped. */
function firstFailure(ends: readonly PromiseSettledResult<unknown>[]): unknown {
  return ends.flatMap((end) => (end.status === "rejected" && !isCancelled(end.reason) ? [end.reason] : []))[0];
}

const isCancelled = (reason: unknown): boolean => reason instanceof StrataError && reason.code === "CANCELLED";

const largestFirst = (layers: readonly LayerDescriptor[]): [number, LayerDescriptor][] =>
  [...layers.entries()].sort(([, a], [, b]) => b.descriptor.size - a.descriptor.size);
