/**
 * What a repack did, or would do: the document of `--json`, which the text and the picture show. Pure. Bytes are of content, uncompressed,
 * where they are not said to be of blobs.
 */
import type { CapFigures, HoistFigures } from "../layering/plan-repack.js";
import type { DiffId, Digest } from "../oci/digest.js";
import { formatPlatform } from "../oci/platform.js";
import { printable, printableName } from "../printable.js";
import type { PartitionResult } from "../repack-tasks.js";
import type { PushReport } from "../sources/registry/push.js";
import type { PackResult } from "../tasks.js";
import type { Input } from "./inputs.js";
import type { RepackedInput } from "./repacked-documents.js";

export interface RepackReport {
  /** In the order of the inputs, and of their indexes; `images` elsewhere are places in this list. */
  readonly images: readonly ReportedImage[];
  /** Of outputs that are indexes. */
  readonly indexes: readonly { readonly in: string; readonly out: string; readonly digest: Digest }[];
  /** The most widely shared first; `layers` of an image are places in this list. */
  readonly layers: readonly ReportedLayer[];
  /** What the inputs' layers hold, each layer once, and what the outputs' do. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** The same as blobs; after, absent where nothing was packed. */
  readonly blobBytesBefore: number;
  readonly blobBytesAfter?: number;
  /** What all images show, each by itself, and how much of that is in a layer that another image has too. */
  readonly imageBytes: number;
  readonly sharedBytes: number;
  readonly oneLayerEachBytes: number;
  /** The least that any layering could store: each content once. */
  readonly perFileBytes: number;
  readonly sharing: PartitionResult["figures"]["sharing"];
  readonly lostToPolicy: PartitionResult["figures"]["lostToPolicy"];
  readonly caps: CapFigures;
  readonly hoist?: HoistFigures;
  /** What a registry had, and got. */
  readonly pushed?: PushReport;
  /** What a person should know. */
  readonly notes: readonly string[];
}

export interface ReportedImage {
  readonly in: string;
  readonly out: string;
  readonly platform: string;
  /** Of its manifest; absent where nothing was packed. */
  readonly digest?: Digest;
  /** The lowest first. */
  readonly layers: readonly number[];
}

export interface ReportedLayer {
  readonly digest?: Digest;
  readonly diffId?: DiffId;
  /** Of the blob. */
  readonly size?: number;
  readonly bytes: number;
  readonly entries: number;
  readonly images: readonly number[];
}

export interface Repacked {
  readonly inputs: readonly Input[];
  readonly partition: PartitionResult;
  /** Absent where nothing was packed. */
  readonly packed?: { readonly layers: readonly PackResult[]; readonly outputs: readonly RepackedInput[] };
  readonly pushed?: PushReport | undefined;
}

export function repackReport({ inputs, partition, packed, pushed }: Repacked): RepackReport {
  const { images: layersOf, figures } = partition;
  const { beforeBytes, afterBytes, oneLayerEachBytes, perFileBytes, sharing, lostToPolicy, caps, hoist } = figures;
  const images = inputs.flatMap(({ from, out, images: own }, input) =>
    own.map(({ image }, at) => {
      const digest = packed?.outputs[input]?.images[at]?.manifest.digest;
      const platform = printable(formatPlatform(image.platform));
      return { in: from, out, platform, ...(digest === undefined ? {} : { digest }) };
    }),
  );
  const layers = partition.layers.map(({ images: owners, entries, bytes }, index): ReportedLayer => {
    const blob = packed?.layers[index];
    const named = blob === undefined ? {} : { digest: blob.digest, diffId: blob.diffId, size: blob.size };
    return { ...named, bytes, entries, images: owners };
  });
  const stored = distinct(
    inputs.flatMap(({ images: own }) => own.flatMap((image) => image.layers)),
    "diffId",
  );
  const blobs = inputs.flatMap(({ images: own }) => own.flatMap(({ image }) => image.layers));
  const sizes = distinct(
    blobs.map(({ descriptor }) => descriptor),
    "digest",
  );
  const before = sum(stored, ({ bytes }) => bytes);
  return {
    images: images.map((image, index) => ({ ...image, layers: layersOf[index] ?? [] })),
    indexes: inputs.flatMap(({ from, out, index }, at) => {
      const digest = packed?.outputs[at]?.descriptor.digest;
      return index === undefined || digest === undefined ? [] : [{ in: from, out, digest }];
    }),
    layers,
    bytesBefore: before,
    bytesAfter: afterBytes,
    blobBytesBefore: sum(sizes, ({ size }) => size),
    ...(packed === undefined ? {} : { blobBytesAfter: sum(distinct(packed.layers, "digest"), ({ size }) => size) }),
    imageBytes: beforeBytes,
    sharedBytes: sum(layers, ({ bytes, images: owners }) => bytes * (owners.length - 1)),
    oneLayerEachBytes,
    perFileBytes,
    sharing,
    lostToPolicy: {
      bytes: lostToPolicy.bytes,
      paths: lostToPolicy.paths.map(({ path, bytes }) => ({ path: printableName(path, 4096), bytes })),
    },
    caps,
    ...(hoist === undefined ? {} : { hoist }),
    ...(pushed === undefined ? {} : { pushed }),
    notes: notesOf(inputs, figures, before),
  };
}

function notesOf(inputs: readonly Input[], figures: PartitionResult["figures"], bytesBefore: number): string[] {
  const { hoist, lostToPolicy, afterBytes } = figures;
  const isCostly = hoist === undefined && lostToPolicy.bytes > 0 && afterBytes > bytesBefore;
  return [
    ...inputs.flatMap(({ out, left }) =>
      left === 0 ? [] : [`${out}: ${left} of its index's descriptors tell of the images that were, and are left out`],
    ),
    ...(isCostly ? [COSTLY] : []),
    ...(hoist === undefined || hoist.links === 0 ? [] : [HOISTED]),
  ];
}

const COSTLY = "Under policy c these images share less than their layers did; --hoist or --policy b stores less";
const HOISTED =
  "Programs that look from where they really are ($ORIGIN in a RUNPATH, realpath of argv[0] as gcc, Python and Node do it) find " +
  "`.strata-…` there; --no-hoist GLOB keeps a path as it is";

const sum = <Item>(items: readonly Item[], of: (item: Item) => number): number =>
  items.reduce((total, item) => total + of(item), 0);

const distinct = <Key extends string, Item extends { readonly [key in Key]: string }>(
  items: readonly Item[],
  key: Key,
): Item[] => [...new Map(items.map((item) => [item[key], item])).values()];
