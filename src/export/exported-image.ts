/**
 * The documents of an image whose layers were packed anew: the kept ones with other digests. Pure.
 *
 * What an image says of itself stays: platform, environment, history, annotations, the places its layers ask for. Docker's media
 * types become OCI's.
 */
import { StrataError } from "../errors.js";
import { LINK, OVERLAP, REF_NAME } from "../oci/annotations.js";
import { type DiffId, type Digest, digestOf } from "../oci/digest.js";
import { type Descriptor, type ImageManifest, parseManifest } from "../oci/documents.js";
import { parseJson } from "../oci/json.js";
import {
  DOCKER_MANIFEST,
  isImageConfig,
  layerMediaType,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
  type PackCodec,
} from "../oci/media-types.js";
import { isAnyPlatform, parsePlatform } from "../oci/platform.js";
import type { PackResult } from "../tasks.js";

/** What the store keeps of an image. */
export interface KeptImage {
  readonly manifest: Buffer;
  /** Absent in a package whose config was never read. */
  readonly config: Buffer | undefined;
}

export interface ExportedImage {
  readonly manifest: Document;
  readonly config: Document;
  readonly layers: readonly PackResult[];
}

export interface Document {
  readonly text: string;
  readonly digest: Digest;
}

/** How a name's root was made, for whoever imports it. */
export interface NamedImage {
  readonly name: string;
  readonly platform: string;
  readonly overlap: string;
  readonly link: string;
  readonly image: ExportedImage;
}

/** STORE_CORRUPT, and those of documents.ts, which the same bytes have passed once. */
export function keptManifest(bytes: Buffer): ImageManifest {
  const { mediaType } = Object(parseJson(bytes, "the manifest")) as { readonly mediaType?: unknown };
  return parseManifest(bytes, mediaType === DOCKER_MANIFEST ? DOCKER_MANIFEST : OCI_MANIFEST, Number.MAX_SAFE_INTEGER);
}

/** `layers` are in the manifest's order. */
export function exportedImage(kept: KeptImage, layers: readonly PackResult[], codec: PackCodec): ExportedImage {
  const { config: was, layers: descriptors, annotations, artifactType } = keptManifest(kept.manifest);
  if (descriptors.length !== layers.length)
    throw new StrataError("STORE_CORRUPT", "Cannot export the image: its root has other layers than its manifest");
  const config = configOf(was, kept.config, layers);
  const manifest = documentOf({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    ...(artifactType === undefined ? {} : { artifactType }),
    config: { mediaType: config.mediaType, digest: config.digest, size: sizeOf(config) },
    layers: layers.map(({ digest, size }, index) => ({
      mediaType: layerMediaType(codec),
      digest,
      size,
      ...unlessEmpty(descriptors[index]?.annotations),
    })),
    ...unlessEmpty(annotations),
  });
  return { manifest, config, layers };
}

/** index.json of an archive of these: one descriptor for each name. */
export function exportedIndex(images: readonly NamedImage[]): string {
  const manifests = images.map(({ name, platform, overlap, link, image: { manifest } }) => ({
    mediaType: OCI_MANIFEST,
    digest: manifest.digest,
    size: sizeOf(manifest),
    ...platformOf(platform),
    annotations: { [REF_NAME]: name, [OVERLAP]: overlap, [LINK]: link },
  }));
  return JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}

export const sizeOf = ({ text }: Document): number => Buffer.byteLength(text);

const EMPTY_CONFIG = { mediaType: "application/vnd.oci.empty.v1+json", text: "{}" } as const;

/** A package's config is none of ours: kept as it is, or the empty one of image-spec v1.1 manifest.md. */
function configOf(
  { mediaType }: Descriptor,
  kept: Buffer | undefined,
  layers: readonly PackResult[],
): Document & { readonly mediaType: string } {
  if (!isImageConfig(mediaType)) {
    const { text, ...empty } = EMPTY_CONFIG;
    return kept === undefined ? { ...empty, ...withDigest(text) } : { mediaType, ...withDigest(kept.toString("utf8")) };
  }
  if (kept === undefined) throw new StrataError("STORE_CORRUPT", "Cannot export the image: its config is missing");
  const document = parseJson(kept, "the image config") as Record<string, unknown>;
  const diffIds: DiffId[] = layers.map(({ diffId }) => diffId);
  const { history, ...rest }: Record<string, unknown> = { ...document, rootfs: { type: "layers", diff_ids: diffIds } };
  return { mediaType: OCI_CONFIG, ...documentOf(isOf(history, layers.length) ? { ...rest, history } : rest) };
}

/** image-spec v1.1 config.md: an entry for each layer, and others that say that they have none. */
function isOf(history: unknown, layers: number): boolean {
  if (!Array.isArray(history)) return false;
  return history.filter((entry) => (Object(entry) as { empty_layer?: unknown }).empty_layer !== true).length === layers;
}

function platformOf(text: string): { platform?: ReturnType<typeof parsePlatform> } {
  const platform = parsePlatform(text);
  return isAnyPlatform(platform) ? {} : { platform };
}

const unlessEmpty = (annotations: Readonly<Record<string, string>> = {}) =>
  Object.keys(annotations).length === 0 ? {} : { annotations };

const documentOf = (value: unknown): Document => withDigest(JSON.stringify(value));
const withDigest = (text: string): Document => ({ text, digest: digestOf(Buffer.from(text)) });
