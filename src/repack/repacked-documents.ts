/**
 * The documents of repacked images: a manifest and a config for each, and the index again where they were platforms of one. Pure.
 *
 * Only what tells of layers is new. The history keeps all that it told, as entries without a layer, and says of the layers that
 * they are a repack's; what an earlier repack said is replaced, so that a repack of its own output is that again.
 */
import type { Digest } from "../oci/digest.js";
import { OCI_INDEX, OCI_MANIFEST, type PackCodec } from "../oci/media-types.js";
import { type Document, documentDescriptor, type PackedImage, packedImage } from "../oci/packed-image.js";
import { packedIndex } from "../oci/packed-index.js";
import { isAnyPlatform, type Platform } from "../oci/platform.js";
import { STRIP_COMPONENTS } from "../overlap/placement.js";
import type { PackResult } from "../tasks.js";
import type { Input, InputImage } from "./inputs.js";

export interface RepackedInput {
  /** What the output's name leads to. */
  readonly descriptor: OutputDescriptor;
  /** In the order of the input's images. */
  readonly images: readonly PackedImage<PackResult>[];
  /** Of an index: those below it, and it last. */
  readonly indexes: readonly Document[];
}

export interface OutputDescriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform?: Platform;
}

/** All documents of the outputs, each behind those that it names. */
export const documentsIn = (outputs: readonly RepackedInput[]): Document[] =>
  outputs.flatMap(({ images, indexes }) => [
    ...images.flatMap(({ config, manifest }) => [config, manifest]),
    ...indexes,
  ]);

const CREATED_BY = "stratad repack";

/** `layers` are each image's, the lowest first. */
export function repackedInput(
  { images, index }: Pick<Input, "images" | "index">,
  layers: readonly (readonly PackResult[])[],
  codec: PackCodec,
): RepackedInput {
  const packed = images.map((image, at) => repackedImage(image, layers[at] ?? [], codec));
  const [only] = packed;
  if (index === undefined && only !== undefined) {
    const platform = images[0]?.image.platform;
    const shown = platform === undefined || isAnyPlatform(platform) ? {} : { platform };
    return {
      descriptor: { ...documentDescriptor(OCI_MANIFEST, only.manifest), ...shown },
      images: packed,
      indexes: [],
    };
  }
  const manifests = new Map(images.map(({ image }, at) => [image.manifestDescriptor.digest, packed[at]?.manifest]));
  const indexes: Document[] = [];
  const replaced = (digest: Digest): { mediaType: string; document: Document } | undefined => {
    const manifest = manifests.get(digest);
    if (manifest !== undefined) return { mediaType: OCI_MANIFEST, document: manifest };
    const below = index?.documents.get(digest);
    if (below === undefined) return undefined;
    const document = packedIndex(below, replaced);
    indexes.push(document);
    return { mediaType: OCI_INDEX, document };
  };
  const root = index === undefined ? undefined : replaced(index.descriptor.digest);
  if (root === undefined) throw new Error("an input without images has no index either");
  return { descriptor: documentDescriptor(OCI_INDEX, root.document), images: packed, indexes };
}

function repackedImage(
  { image, defaultStrip }: InputImage,
  layers: readonly PackResult[],
  codec: PackCodec,
): PackedImage<PackResult> {
  const { manifestBytes: manifest, configBytes: config } = image;
  // Entries stand where they belong already, whatever the package's config asks for.
  const annotations = defaultStrip === 0 ? undefined : { [STRIP_COMPONENTS]: "0" };
  const placed = layers.map((layer) => ({ ...layer, annotations }));
  return packedImage({ manifest, config }, placed, { codec, history: (was) => historyOf(was, layers.length) });
}

/** image-spec v1.1 config.md: an entry for each layer, and others that say that they have none. */
function historyOf(was: unknown, layers: number): object[] {
  const told = (Array.isArray(was) ? was : []).filter(
    (entry): entry is object =>
      typeof entry === "object" && entry !== null && (entry as { created_by?: unknown }).created_by !== CREATED_BY,
  );
  return [
    ...told.map((entry) => ({ ...entry, empty_layer: true })),
    ...Array.from({ length: layers }, () => ({ created_by: CREATED_BY })),
  ];
}
