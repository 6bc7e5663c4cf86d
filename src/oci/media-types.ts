/**
 * The media types of images: OCI's and those of Docker's schema 2 that they were made from.
 *
 * One table for each kind of thing; what stands in none is refused by its user with MEDIA_TYPE_UNSUPPORTED.
 */
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";

export const codecs = ["none", "gzip", "zstd", "xz"] as const;
export type Codec = (typeof codecs)[number];
/** Those that a layer may be packed in. */
export const packCodecs = ["gzip", "zstd", "none"] as const satisfies readonly Codec[];
export type PackCodec = (typeof packCodecs)[number];

export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_CONFIG = "application/vnd.oci.image.config.v1+json";
export const DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json";
export const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
export const DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json";

/** What a registry is asked for: everything that this program can read. */
export const manifestTypes: readonly string[] = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

export const isIndex = (mediaType: string): boolean => mediaType === OCI_INDEX || mediaType === DOCKER_INDEX;
export const isManifest = (mediaType: string): boolean => mediaType === OCI_MANIFEST || mediaType === DOCKER_MANIFEST;
export const isImageConfig = (mediaType: string): boolean => mediaType === OCI_CONFIG || mediaType === DOCKER_CONFIG;

/** Docker's schema 1: a signed history instead of layers with digests; nobody should serve it. */
export const isSchema1 = (mediaType: string): boolean =>
  mediaType.startsWith("application/vnd.docker.distribution.manifest.v1+");

const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
const OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar";

const suffixes: readonly (readonly [string, Codec])[] = [
  ["", "none"],
  ["gzip", "gzip"],
  ["zstd", "zstd"],
  ["xz", "xz"],
];

const layerTypes: ReadonlyMap<string, Codec> = new Map(
  suffixes.flatMap(([suffix, codec]) =>
    [
      [OCI_LAYER, "+"],
      [OCI_FOREIGN_LAYER, "+"],
      [DOCKER_LAYER, "."],
      [DOCKER_FOREIGN_LAYER, "."],
    ].map(([base, joint]) => [suffix === "" ? `${base}` : `${base}${joint}${suffix}`, codec] as const),
  ),
);

export const isLayer = (mediaType: string): boolean => layerTypes.has(mediaType);

/** How the tar of a layer is compressed. MEDIA_TYPE_UNSUPPORTED for anything that is not a layer of a tar. */
export function layerCodec(mediaType: string): Codec {
  const codec = layerTypes.get(mediaType);
  if (codec !== undefined) return codec;
  throw unsupported("the layer", mediaType);
}

/** The media type of an OCI layer in this codec. */
export function layerMediaType(codec: Codec): string {
  return codec === "none" ? OCI_LAYER : `${OCI_LAYER}+${codec}`;
}

/** A layer whose bytes its `urls` name, which are never fetched; a registry may hold the blob nevertheless. */
export function isForeignLayer(mediaType: string): boolean {
  return mediaType.startsWith(OCI_FOREIGN_LAYER) || mediaType.startsWith(DOCKER_FOREIGN_LAYER);
}

/** MEDIA_TYPE_UNSUPPORTED, to be thrown. */
export function unsupported(what: string, mediaType: string): StrataError {
  const fact = isSchema1(mediaType) ? "Docker's schema 1 is not supported" : "it is not a supported type";
  return new StrataError(
    "MEDIA_TYPE_UNSUPPORTED",
    `Cannot read ${what} of media type '${printable(mediaType)}': ${fact}`,
    { details: { mediaType: printable(mediaType) } },
  );
}
