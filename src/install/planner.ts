/**
 * What an install would do, and whether it may: resolves the reference, looks what is stored, and has the plan made of that. Reads
 * documents and changesets, never a blob; nothing on the disk is different afterwards.
 */
import { MAX_RUNNING_PLANS, MAX_RUNNING_PLANS_PER_SESSION } from "../limits.js";
import type { ParsedParams } from "../messages/methods.js";
import type { Plan } from "../messages/plan.js";
import type { LayerDescriptor } from "../oci/documents.js";
import { formatPlatform, parsePlatform } from "../oci/platform.js";
import type { Placement } from "../overlap/placement.js";
import type { Conflict } from "../overlap/plan-root.js";
import { SharedSlots } from "../slots.js";
import { type OpenOptions, openSource } from "../sources/open.js";
import { placementsOf } from "../sources/placements.js";
import { type ResolvedImage, resolveImage } from "../sources/resolve.js";
import type { ImageSource } from "../sources/source.js";
import type { RootDocument } from "../store/documents.js";
import type { Lease } from "../store/leases.js";
import { rootIdOf } from "../store/roots.js";
import type { Store } from "../store/store.js";
import type { LayerDocument } from "../tasks.js";
import type { JobSpec } from "./job.js";
import { type Policies, specOf } from "./job-spec.js";
import { hintsOf, listedConflicts } from "./overlap-error.js";
import { type Cost, exact, layerEstimate, measuredByDocuments, NO_COST, rootCost, totalCost } from "./plan-cost.js";
import { refuseWithoutReflink } from "./reflink.js";
import type { RootAssembler } from "./root-assembler.js";

export interface PlannerOptions {
  readonly store: Store;
  readonly roots: RootAssembler;
  readonly sources: OpenOptions;
  readonly policies: Policies;
  readonly maxLayers: number;
  readonly freeBytes: () => Promise<number>;
}

/** A layer of the image, as far as the store knows it. */
interface KnownLayer {
  readonly layer: LayerDescriptor;
  readonly placement: Placement | undefined;
  readonly document: LayerDocument | undefined;
}

/** What the layers come to under the policy. */
interface Verdict extends Pick<Plan, "conflicts" | "conflictsTotal" | "hints"> {
  /** Of the root, as far as its layers are stored. */
  readonly cost: Cost;
}

const NO_CONFLICTS = { conflicts: [], conflictsTotal: 0 };

export class Planner {
  readonly #options: PlannerOptions;
  readonly #slots = new SharedSlots(MAX_RUNNING_PLANS, { share: MAX_RUNNING_PLANS_PER_SESSION });

  constructor(options: PlannerOptions) {
    this.#options = options;
  }

  /** What an install of the same is refused with before its first link, but for conflicts: those are in the plan. CANCELLED. */
  async plan(
    request: ParsedParams<"install/plan">,
    { sessionId, signal }: { readonly sessionId: string; readonly signal: AbortSignal },
  ): Promise<Plan> {
    const spec = specOf(request, this.#options.policies);
    return this.#slots.run(sessionId, 0, signal, async () => {
      await refuseWithoutReflink(spec.link, this.#options.store);
      const source = await openSource(spec.reference, this.#options.sources);
      const lease = this.#options.store.leases.open();
      try {
        return await this.#planFrom(source, { spec, lease, signal });
      } finally {
        lease.drop();
        await source.close();
      }
    });
  }

  async #planFrom(
    source: ImageSource,
    { spec, lease, signal }: { readonly spec: JobSpec; readonly lease: Lease; readonly signal: AbortSignal },
  ): Promise<Plan> {
    const { request, reference, referenceText, name, overlap, link } = spec;
    const platform = request.platform === undefined ? undefined : parsePlatform(request.platform);
    const image = await resolveImage(source, { platform, maxLayers: this.#options.maxLayers, signal });
    const manifestDigest = image.manifestDescriptor.digest;
    const placements = placementsOf(image.layers.map(({ descriptor }) => descriptor));
    const identity = { manifestDigest, overlap, link, placements: placementsOf(image.manifest.layers), name };
    const rootId = rootIdOf(identity);
    lease.root(rootId);
    for (const layer of image.layers) lease.layer(layer);
    const root = await this.#standing(rootId);
    const layers = await Promise.all(image.layers.map((layer, index) => this.#known(layer, placements[index])));
    const missing = distinct(layers.flatMap(({ layer, document }) => (document === undefined ? [layer] : [])));
    const complete = root !== undefined || missing.length === 0;
    const verdict =
      root === undefined
        ? await this.#verdict(layers, { image, spec, signal })
        : { ...NO_CONFLICTS, cost: stands(root) };
    const toUnpack = complete ? [] : missing;
    const cost = totalCost([verdict.cost, ...toUnpack.map((layer) => layerEstimate(layer, link))]);
    const isFetched = reference.transport === "docker";
    return {
      reference: referenceText,
      platform: formatPlatform(image.platform),
      name,
      overlap,
      link,
      manifestDigest,
      installed: root !== undefined,
      toFetchBytes: isFetched ? exact(toUnpack.reduce((sum, { descriptor }) => sum + descriptor.size, 0)) : 0,
      toWriteBytes: cost.writeBytes,
      toWriteInodes: cost.writeInodes,
      sharedBytes: cost.sharedBytes,
      freeAfterBytes: (await this.#options.freeBytes()) - cost.writeBytes,
      complete,
      layers: layers.map(({ layer: { descriptor, diffId }, document }) => {
        const known = document?.diffId ?? diffId;
        const { digest, size } = descriptor;
        return { digest, ...(known === undefined ? {} : { diffId: known }), size, stored: document !== undefined };
      }),
      conflicts: verdict.conflicts,
      conflictsTotal: verdict.conflictsTotal,
      ...(verdict.hints === undefined ? {} : { hints: verdict.hints }),
      ...(image.platformNote === undefined ? {} : { notes: [image.platformNote] }),
    };
  }

  async #standing(rootId: string): Promise<RootDocument | undefined> {
    const { roots } = this.#options.store;
    return (await roots.stands(rootId)) ? roots.get(rootId) : undefined;
  }

  async #known(layer: LayerDescriptor, placement: Placement | undefined): Promise<KnownLayer> {
    const { layers } = this.#options.store;
    const document = layers.find(layer)?.document;
    const isThere = document !== undefined && (await layers.exists(document.diffId));
    return { layer, placement, document: isThere ? document : undefined };
  }

  /**
   * Of the layers that are stored. Under c and b two of them that meet are refused whatever the others hold; under a lower layers that
   * are missing may be what an upper one speaks of, so nothing is known before all are there.
   */
  async #verdict(
    layers: readonly KnownLayer[],
    { image, spec: { overlap, link }, signal }: { image: ResolvedImage; spec: JobSpec; signal: AbortSignal },
  ): Promise<Verdict> {
    const stored = layers.flatMap(({ document, placement }, index) =>
      document === undefined ? [] : [{ index, document, placement }],
    );
    const assembly = { layers: stored, overlap, signal };
    const planned = await this.#options.roots.plan(assembly);
    if (planned.kind === "plan") return { ...NO_CONFLICTS, cost: rootCost(planned, link) };
    const complete = stored.length === layers.length;
    if (!complete && overlap === "a") {
      const measured = measuredByDocuments(stored.map(({ document }) => document));
      return { ...NO_CONFLICTS, cost: rootCost(measured, link) };
    }
    const inImage = (layer: number): number => stored[layer]?.index ?? layer;
    const conflicts = listedConflicts(
      planned.conflicts.map((conflict) => renumbered(conflict, inImage)),
      image,
    );
    const accepted = complete ? await this.#options.roots.accepting(assembly) : [];
    const hints = accepted.length === 0 ? {} : { hints: hintsOf(accepted) };
    return { conflicts, conflictsTotal: planned.total, cost: NO_COST, ...hints };
  }
}

/** Nothing is left to write. */
const stands = ({ bytes, copiedBytes = 0 }: RootDocument): Cost => ({
  ...NO_COST,
  sharedBytes: Math.max(0, bytes - copiedBytes),
});

/** An image may name a layer twice; it is fetched and unpacked once. */
function distinct(layers: readonly LayerDescriptor[]): LayerDescriptor[] {
  return [...new Map(layers.map((layer) => [`${layer.descriptor.digest} ${layer.diffId}`, layer])).values()];
}

function renumbered(conflict: Conflict, inImage: (layer: number) => number): Conflict {
  switch (conflict.code) {
    case "WHITEOUT":
    case "HARDLINK_TARGET":
      return { ...conflict, layer: inImage(conflict.layer) };
    case "LAYER_OVERLAP":
      return { ...conflict, sides: conflict.sides.map((side) => ({ ...side, layer: inImage(side.layer) })) };
    case "NAME_FOLDING":
      return { ...conflict, sides: conflict.sides.map((side) => ({ ...side, layer: inImage(side.layer) })) };
  }
}
