/**
 * Images in, the same images with shared layers out: the whole journey.
 *
 * Inputs are resolved and unpacked, each layer once; what each image's root holds is planned from them, and the trees are parted into layers;
 * those are packed straight from the stored trees; documents follow, and all of it stands as a layout in the workshop. Only what was
 * verified there is published.
 */
import { mkdir } from "node:fs/promises";
import { StrataError } from "../errors.js";
import { MAX_REPACKED_ENTRIES } from "../limits.js";
import type { DiffId, Digest } from "../oci/digest.js";
import type { PackCodec } from "../oci/media-types.js";
import type { Platform } from "../oci/platform.js";
import type { Reference } from "../oci/reference.js";
import type { PlannedPolicy } from "../overlap/plan-root.js";
import type { PartitionResult, TreeFile } from "../repack-tasks.js";
import type { PushReport } from "../sources/registry/push.js";
import type { PackResult } from "../tasks.js";
import { together } from "../together.js";
import { type Input, type InputRequest, readInputs } from "./inputs.js";
import { type OutputBlob, OutputLayout } from "./output-layout.js";
import { type PackedBlob, packLayers } from "./packed-layers.js";
import type { Phase, RepackProgress } from "./repack-progress.js";
import { type RepackReport, repackReport } from "./repack-report.js";
import { documentsIn, type RepackedInput, repackedInput } from "./repacked-documents.js";
import { verifyOutputs } from "./verify-outputs.js";
import type { StoredImage, Workshop } from "./workshop.js";

export interface RepackRequest {
  readonly inputs: readonly InputRequest[];
  readonly policy: "c" | "b";
  readonly codec: PackCodec;
  /** Of one image; absent: as many as an install takes. */
  readonly maxLayers?: number | undefined;
  readonly minLayerBytes?: number | undefined;
  /** Absent: nothing is hoisted. */
  readonly hoist?: { readonly keep: readonly string[] } | undefined;
  readonly platform?: Platform | undefined;
  /** As InputOptions has it. */
  readonly overlap?: PlannedPolicy | undefined;
  /** Seconds: SOURCE_DATE_EPOCH. */
  readonly latestMtime?: number | undefined;
  /** Says what it would do, and packs nothing. */
  readonly planOnly: boolean;
  readonly verify: boolean;
}

/** What is to be published: it stands as a layout in the workshop. */
export interface MadeLayout {
  readonly layout: OutputLayout;
  readonly layers: readonly PackResult[];
  readonly outputs: readonly (RepackedInput & { readonly name: string })[];
  /** Where the inputs came from. */
  readonly references: readonly Reference[];
}

export interface RepackWatch {
  readonly signal: AbortSignal;
  readonly progress: RepackProgress;
}

/** The codes of resolving, unpacking, planning and packing; those of `publish`; INTERNAL where the result is not what was read. */
export async function repack(
  request: RepackRequest,
  workshop: Workshop,
  publish: (made: MadeLayout, writing: Phase) => Promise<PushReport | undefined>,
  watch: RepackWatch,
): Promise<RepackReport> {
  const { signal, progress } = watch;
  const place = await placesIn(workshop.directory);
  const inputs = await readInputs(request.inputs, workshop, { ...request, ...watch });
  const stored = new StoredTrees(inputs, workshop);
  const planning = progress.begin("plan");
  const trees = await plannedTrees(inputs, workshop, { stored, directory: place.trees, signal });
  const partition = await partitioned(request, workshop, { trees: trees.flat(), directory: place.layers, signal });
  planning.end();
  if (request.planOnly) return repackReport({ inputs, partition });

  const { codec } = request;
  const packing = { codec, trees: stored.paths, directory: place.blobs, ...watch };
  const blobs = await packLayers(partition.layers, workshop, packing);
  const outputs = documentsOf(inputs, { partition, blobs, codec });
  const made = await layoutOf(place.layout, { inputs, outputs, blobs });
  if (request.verify) await verified(request, workshop, { inputs, outputs, trees, blobs, place, watch });
  signal.throwIfAborted();
  const writing = progress.begin("write");
  const pushed = await publish(made, writing);
  writing.end();
  return repackReport({ inputs, partition, packed: { layers: blobs, outputs }, pushed });
}

interface Places {
  readonly trees: string;
  readonly layers: string;
  readonly blobs: string;
  readonly verified: string;
  /** Made when it is filled. */
  readonly layout: string;
}

async function placesIn(directory: string): Promise<Places> {
  const filled = {
    trees: `${directory}/trees`,
    layers: `${directory}/plans`,
    blobs: `${directory}/packed`,
    verified: `${directory}/verified`,
  };
  for (const place of Object.values(filled)) await mkdir(place);
  return { ...filled, layout: `${directory}/layout` };
}

/** The trees of all layers that are stored for the inputs, by a number that plans have for them. */
class StoredTrees {
  readonly paths: readonly string[];
  readonly #numbers: ReadonlyMap<DiffId, number>;

  constructor(inputs: readonly Input[], { store }: Workshop) {
    const diffIds = inputs.flatMap(({ images }) => images.flatMap(({ layers }) => layers.map(({ diffId }) => diffId)));
    const distinct = [...new Set(diffIds)];
    this.paths = distinct.map((diffId) => store.layout.layerTree(diffId));
    this.#numbers = new Map(distinct.map((diffId, index) => [diffId, index]));
  }

  numbersOf({ layers }: StoredImage): number[] {
    return layers.map(({ diffId }) => this.#numbers.get(diffId) as number);
  }
}

interface Planning {
  readonly directory: string;
  readonly signal: AbortSignal;
}

/** For each input, for each of its images, what its root holds. LIMIT_ENTRIES where all together are too many to be parted at once. */
async function plannedTrees(
  inputs: readonly Input[],
  workshop: Workshop,
  { stored, directory, signal }: Planning & { readonly stored: StoredTrees },
): Promise<TreeFile[][]> {
  let entries = 0;
  return together(
    signal,
    inputs.map(({ from, images }, input) => (ofInput) => {
      const planned = images.map((image, at) => async (each: AbortSignal): Promise<TreeFile> => {
        const options = { overlap: image.overlap, signal: each };
        const plan = await workshop.plan(image, `${directory}/${input}-${at}`, options).catch((error: unknown) => {
          throw error instanceof StrataError ? error.with({ in: from }) : error;
        });
        entries += plan.entries;
        if (entries > MAX_REPACKED_ENTRIES)
          throw new StrataError(
            "LIMIT_ENTRIES",
            `Cannot repack the images: they have more than ${MAX_REPACKED_ENTRIES} entries together`,
            { hint: "Repack fewer at once." },
          );
        return { plan: plan.file, layers: stored.numbersOf(image) };
      });
      return together(ofInput, planned);
    }),
  );
}

function partitioned(
  { policy, maxLayers, minLayerBytes, hoist, latestMtime }: RepackRequest,
  { pool, limits }: Workshop,
  { trees, directory, signal }: Planning & { readonly trees: readonly TreeFile[] },
): Promise<PartitionResult> {
  const task = {
    trees,
    policy,
    maxLayers: Math.min(maxLayers ?? limits.maxLayers, limits.maxLayers),
    minLayerBytes: minLayerBytes ?? 0,
    ...(hoist === undefined ? {} : { hoist }),
    ...(latestMtime === undefined ? {} : { latestMtime }),
    directory,
  };
  return pool.run("partition", task, { signal });
}

interface Made {
  readonly inputs: readonly Input[];
  readonly outputs: readonly RepackedInput[];
  readonly blobs: readonly PackedBlob[];
}

/** The partition counts images through all inputs. */
function documentsOf(
  inputs: readonly Input[],
  { partition, blobs, codec }: { partition: PartitionResult; blobs: readonly PackedBlob[]; codec: PackCodec },
): RepackedInput[] {
  let next = 0;
  return inputs.map((input) => {
    const layers = input.images.map(() => {
      const numbers = partition.images[next++] ?? [];
      return numbers.map((number) => blobs[number] as PackedBlob);
    });
    return repackedInput(input, layers, codec);
  });
}

async function layoutOf(directory: string, { inputs, outputs, blobs }: Made): Promise<MadeLayout> {
  const named = outputs.map((output, index) => ({ ...output, name: inputs[index]?.out ?? "" }));
  const written = new Map<Digest, OutputBlob>([...blobs, ...documentsIn(named)].map((blob) => [blob.digest, blob]));
  const layout = await OutputLayout.fill(directory, [...written.values()], named);
  return { layout, layers: blobs, outputs: named, references: inputs.map(({ reference }) => reference) };
}

interface Verification extends Made {
  readonly trees: readonly (readonly TreeFile[])[];
  readonly place: Places;
  readonly watch: RepackWatch;
}

function verified(
  { policy, latestMtime }: RepackRequest,
  workshop: Workshop,
  { inputs, outputs, trees, blobs, place, watch }: Verification,
): Promise<void> {
  const made = outputs.map(({ descriptor, images }, index) => ({
    from: inputs[index]?.from ?? "",
    descriptor,
    trees: new Map(images.map(({ manifest }, at) => [manifest.digest, trees[index]?.[at] as TreeFile])),
  }));
  const diffIds = new Map(blobs.map(({ digest, diffId }) => [digest, diffId]));
  const options = { layout: place.layout, directory: place.verified, policy, diffIds, latestMtime, ...watch };
  return verifyOutputs(made, workshop, options);
}
