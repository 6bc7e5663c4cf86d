/**
 * The documents of an image whose layers were packed anew: the kept ones with other layers. Pure.
 *
 * What an image says of itself stays: platform, environment, history, annotations. Docker's media types become OCI's.
 */
import { StrataError } from "../errors.js";
import { type DiffId, type Digest, digestOf } from "./digest.js";
import { type Annotations, type Descriptor, type ImageManifest, parseManifest } from "./documents.js";
import { parseJson } from "./json.js";
import { type Codec, DOCKER_MANIFEST, isImageConfig, layerMediaType, OCI_CONFIG, OCI_MANIFEST } from "./media-types.js";

/** What is there of an image. */
export interface KeptImage {
  readonly manifest: Buffer;
  /** Absent in a package whose config was never read. */
  readonly config: Buffer | undefined;
}

/** A layer as the image shall name it. */
export interface PackedLayer {
  readonly diffId: DiffId;
  readonly digest: Digest;
  readonly size: number;
  readonly annotations?: Annotations | undefined;
}

export interface PackedImage<Layer extends PackedLayer = PackedLayer> {
  readonly manifest: Document;
  readonly config: Document;
  readonly layers: readonly Layer[];
}

export interface Document {
  readonly text: string;
  readonly digest: Digest;
}

export interface PackedOptions {
  readonly codec: Codec;
  /** The history of the config from the one it had; absent: that one, where it is of as many layers. */
  readonly history?: ((was: unknown) => readonly object[]) | undefined;
}

/** STORE_CORRUPT, and those of documents.ts, which the same bytes have passed once. */
export function keptManifest(bytes: Buffer): ImageManifest {
  const { mediaType } = Object(parseJson(bytes, "the manifest")) as { readonly mediaType?: unknown };
  return parseManifest(bytes, mediaType === DOCKER_MANIFEST ? DOCKER_MANIFEST : OCI_MANIFEST, Number.MAX_SAFE_INTEGER);
}

/** `layers` stand the lowest first. STORE_CORRUPT where an image has no config. */
export function packedImage<Layer extends PackedLayer>(
  kept: KeptImage,
  layers: readonly Layer[],
  options: PackedOptions,
): PackedImage<Layer> {
  const { config: was, annotations, artifactType } = keptManifest(kept.manifest);
  const config = configOf(was, kept.config, { layers, ...options });
  const manifest = documentOf({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    ...(artifactType === undefined ? {} : { artifactType }),
    config: documentDescriptor(config.mediaType, config),
    layers: layers.map(({ digest, size, annotations: own }) => ({
      mediaType: layerMediaType(options.codec),
      digest,
      size,
      ...unlessEmpty(own),
    })),
    ...unlessEmpty(annotations),
  });
  return { manifest, config, layers };
}

/** What names the document in others. */
export const documentDescriptor = (mediaType: string, document: Document) => ({
  mediaType,
  digest: document.digest,
  size: sizeOf(document),
});
export const sizeOf = ({ text }: Document): number => Buffer.byteLength(text);
export const documentOf = (value: unknown): Document => withDigest(JSON.stringify(value));

const EMPTY_CONFIG = { mediaType: "application/vnd.oci.empty.v1+json", text: "{}" } as const;

/** A package's config is none of ours: kept as it is, or the empty one of image-spec v1.1 manifest.md. */
function configOf(
  { mediaType }: Descriptor,
  kept: Buffer | undefined,
  { layers, history: rewritten }: { readonly layers: readonly PackedLayer[] } & PackedOptions,
): Document & { readonly mediaType: string } {
  if (!isImageConfig(mediaType)) {
    const { text, ...empty } = EMPTY_CONFIG;
    return kept === undefined ? { ...empty, ...withDigest(text) } : { mediaType, ...withDigest(kept.toString("utf8")) };
  }
  if (kept === undefined) throw new StrataError("STORE_CORRUPT", "Cannot pack the image: its config is missing");
  const document = parseJson(kept, "the image config") as Record<string, unknown>;
  const diffIds: DiffId[] = layers.map(({ diffId }) => diffId);
  const { history, ...rest }: Record<string, unknown> = { ...document, rootfs: { type: "layers", diff_ids: diffIds } };
  if (rewritten !== undefined)
    return { mediaType: OCI_CONFIG, ...documentOf({ ...rest, history: rewritten(history) }) };
  return { mediaType: OCI_CONFIG, ...documentOf(isOf(history, layers.length) ? { ...rest, history } : rest) };
}

/** image-spec v1.1 config.md: an entry for each layer, and others that say that they have none. */
function isOf(history: unknown, layers: number): boolean {
  if (!Array.isArray(history)) return false;
  return history.filter((entry) => (Object(entry) as { empty_layer?: unknown }).empty_layer !== true).length === layers;
}

const unlessEmpty = (annotations: Annotations = {}) => (Object.keys(annotations).length === 0 ? {} : { annotations });

const withDigest = (text: string): Document => ({ text, digest: digestOf(Buffer.from(text)) });
