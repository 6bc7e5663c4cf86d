/**
 * The documents of an image as data: index, manifest, config, and the marker of a layout (image-spec v1.1).
 *
 * A package is what OCX and others publish as one: an OCI manifest with an artifactType, layers that are all tars, and no image config.
 *
 * Parsing is strict about what this program relies on and deaf to everything else: unknown fields are no error, and only the
 * fields named here leave this file. A descriptor's `data` is never used.
 */
import { z } from "zod";
import { StrataError } from "../errors.js";
import { imageLimits } from "../limits.js";
import { printable } from "../printable.js";
import { type DiffId, type Digest, parseDiffId, parseDigest } from "./digest.js";
import { parseJson } from "./json.js";
import { isImageConfig, isLayer, layerCodec, OCI_MANIFEST, unsupported } from "./media-types.js";
import { formatPlatform, isPlainPlatform, type Platform } from "./platform.js";
import { list, object, shape, textMap, texts } from "./shapes.js";

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform?: Platform;
  readonly annotations?: Annotations;
  readonly urls?: readonly string[];
}

export type Annotations = Readonly<Record<string, string>>;

export interface ImageIndex {
  readonly manifests: readonly Descriptor[];
  readonly annotations: Annotations;
}

export interface ImageManifest {
  /** An image's, or whatever a package has there. */
  readonly config: Descriptor;
  /** At least one. */
  readonly layers: readonly Descriptor[];
  readonly annotations: Annotations;
  readonly artifactType?: string;
}

export interface ImageConfig {
  /** Of the form that parsePlatform reads, or without an os or an architecture. */
  readonly platform: Platform;
  readonly diffIds: readonly DiffId[];
}

export interface OciLayout {
  readonly imageLayoutVersion: string;
}

export interface LayerDescriptor {
  readonly descriptor: Descriptor;
  /** Absent where nothing claims one, as in a package: then the blob's digest is all that the bytes are checked against. */
  readonly diffId?: DiffId;
}

/**
 * `mediaType` is what the descriptor or the registry calls it; a document that calls itself something else, or has the
 * fields of a manifest too, is MANIFEST_AMBIGUOUS. MANIFEST_INVALID, MANIFEST_TOO_BIG, DESCRIPTOR_INVALID, DIGEST_FORMAT.
 */
export function parseIndex(bytes: Uint8Array, mediaType: string): ImageIndex {
  const what = "the image index";
  const { manifests, annotations } = checked(IndexSchema, open(bytes, what, mediaType), what);
  return {
    manifests: manifests.map((raw, index) => descriptorOf(raw, what, `manifests.${index}`)),
    annotations: annotations ?? {},
  };
}

/** As parseIndex, and NOT_AN_IMAGE (nor a package), NO_LAYERS, LIMIT_LAYERS, MEDIA_TYPE_UNSUPPORTED (a layer's). */
export function parseManifest(
  bytes: Uint8Array,
  mediaType: string,
  maxLayers: number = imageLimits.maxLayers,
): ImageManifest {
  const what = "the manifest";
  const raw = checked(ManifestSchema, open(bytes, what, mediaType), what);
  const config = descriptorOf(raw.config, what, "config");
  const isPackage = mediaType === OCI_MANIFEST && !!raw.artifactType && hasOnlyTars(raw.layers);
  if (!isImageConfig(config.mediaType) && !isPackage) throw notAnImage(config, raw.artifactType);
  const count = raw.layers?.length ?? 0;
  if (count === 0) throw new StrataError("NO_LAYERS", `Cannot install ${what}: it has no layers`);
  if (count > maxLayers) {
    throw new StrataError("LIMIT_LAYERS", `Cannot install ${what}: it has ${count} layers, over ${maxLayers}`);
  }
  const layers = (raw.layers ?? []).map((layer, index) => descriptorOf(layer, what, `layers.${index}`));
  for (const { mediaType: type } of layers) layerCodec(type);
  const artifactType = raw.artifactType == null ? {} : { artifactType: raw.artifactType };
  return { config, layers, annotations: raw.annotations ?? {}, ...artifactType };
}

/** ROOTFS_TYPE, DIGEST_FORMAT, MANIFEST_INVALID, MANIFEST_TOO_BIG. */
export function parseConfig(bytes: Uint8Array): ImageConfig {
  const what = "the image config";
  const { os, architecture, variant, rootfs } = checked(ConfigSchema, parseJson(bytes, what), what);
  if (rootfs.type !== "layers") {
    throw new StrataError(
      "ROOTFS_TYPE",
      `Cannot read ${what}: rootfs.type is ${printable(JSON.stringify(rootfs.type) ?? "missing")}, not "layers"`,
    );
  }
  const platform = platformOf({ os, architecture, variant });
  if (os !== "" && architecture !== "" && !isPlainPlatform(platform)) {
    const fact = `its platform is '${printable(formatPlatform(platform), 64)}'`;
    throw new StrataError("MANIFEST_INVALID", `Cannot read ${what}: ${fact}`);
  }
  return {
    platform,
    diffIds: (rootfs.diff_ids ?? []).map(parseDiffId),
  };
}

/** The content of `oci-layout`. LAYOUT_INVALID. */
export function parseLayout(bytes: Uint8Array): OciLayout {
  const parsed = LayoutSchema.safeParse(parseJson(bytes, "oci-layout"));
  if (parsed.success && /^1\.\d{1,4}\.\d{1,4}$/.test(parsed.data.imageLayoutVersion)) return parsed.data;
  const fact = parsed.success
    ? `its version is '${printable(parsed.data.imageLayoutVersion, 32)}'`
    : "it names no version";
  throw new StrataError("LAYOUT_INVALID", `Cannot read oci-layout: ${fact}, not 1.0.0`);
}

/** Each layer with its diffID, the lowest first. LAYER_COUNT. */
export function pairLayers(manifest: ImageManifest, config: ImageConfig): readonly LayerDescriptor[] {
  const { layers } = manifest;
  const { diffIds } = config;
  if (layers.length !== diffIds.length) {
    throw new StrataError(
      "LAYER_COUNT",
      `Cannot match layers and diffIDs: the manifest has ${layers.length}, the config ${diffIds.length}`,
    );
  }
  return layers.flatMap((descriptor, index) => {
    const diffId = diffIds[index];
    return diffId === undefined ? [] : [{ descriptor, diffId }];
  });
}

/**
 * What makes a package of an artifact: without an image config nothing but the media types of the layers says that they are trees.
 * They are looked at before anything else of their descriptors, so that what a chart or a signature may be wrong in stays its own.
 */
function hasOnlyTars(layers: readonly unknown[] | null | undefined): boolean {
  const isTar = (layer: unknown): boolean => {
    const { mediaType } = Object(layer) as { readonly mediaType?: unknown };
    return typeof mediaType === "string" && isLayer(mediaType);
  };
  return layers != null && layers.length > 0 && layers.every(isTar);
}

const text = z.string().max(1024);
const mediaType = z.string().regex(/^[A-Za-z0-9][\w!#$&^.+-]{0,126}\/[A-Za-z0-9][\w!#$&^.+-]{0,126}$/);
/** An index is told from a manifest by their fields, so each knows the other's. */
const KINDS = ["mediaType", "config", "layers", "manifests"];

const DescriptorSchema = shape({
  mediaType,
  digest: z.string(),
  size: z.number().int().nonnegative(),
  platform: shape({ os: text, architecture: text, variant: text.nullish() }).nullish(),
  annotations: textMap.nullish(),
  urls: texts.nullish(),
});

const IndexSchema = shape({ schemaVersion: z.literal(2), manifests: list, annotations: textMap.nullish() }, KINDS);

const ManifestSchema = shape(
  {
    schemaVersion: z.literal(2),
    config: object,
    layers: list.nullish(),
    artifactType: text.nullish(),
    annotations: textMap.nullish(),
  },
  KINDS,
);

const ConfigSchema = shape({
  os: text,
  architecture: text,
  variant: text.nullish(),
  rootfs: shape({ type: z.unknown().optional(), diff_ids: texts.nullish() }),
});

const LayoutSchema = shape({ imageLayoutVersion: z.string() });

/** The document as JSON, once it is clear that everybody would call it the same. */
function open(bytes: Uint8Array, what: string, expected: string): object {
  const document = parseJson(bytes, what);
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw new StrataError("MANIFEST_INVALID", `Cannot read ${what}: it is not a JSON object`);
  }
  const own = "mediaType" in document ? document.mediaType : undefined;
  if ("schemaVersion" in document && document.schemaVersion === 1) {
    throw unsupported(what, typeof own === "string" ? own : "application/vnd.docker.distribution.manifest.v1+json");
  }
  if ("manifests" in document && ("layers" in document || "config" in document)) {
    throw new StrataError("MANIFEST_AMBIGUOUS", `Cannot read ${what}: it is an index and a manifest at once`);
  }
  if (own != null && typeof own !== "string") {
    throw new StrataError("MANIFEST_INVALID", `Cannot read ${what}: its mediaType is no text`);
  }
  if (own != null && own !== "" && own !== expected) {
    throw new StrataError(
      "MANIFEST_AMBIGUOUS",
      `Cannot read ${what}: it calls itself '${printable(own)}' and was named '${printable(expected)}'`,
    );
  }
  return document;
}

function checked<T>(schema: z.ZodType<T>, document: unknown, what: string): T {
  const parsed = schema.safeParse(document);
  if (parsed.success) return parsed.data;
  throw new StrataError("MANIFEST_INVALID", `Cannot read ${what}: ${firstIssue(parsed.error)}`);
}

/** `at` says where in the document it stands. DESCRIPTOR_INVALID, DIGEST_FORMAT. */
function descriptorOf(value: unknown, what: string, at: string): Descriptor {
  const parsed = DescriptorSchema.safeParse(value);
  if (!parsed.success) {
    throw new StrataError("DESCRIPTOR_INVALID", `Cannot read ${what}: ${firstIssue(parsed.error, at)}`);
  }
  const { mediaType, digest, size, platform, annotations, urls } = parsed.data;
  return {
    mediaType,
    digest: parseDigest(digest),
    size,
    ...(platform == null ? {} : { platform: platformOf(platform) }),
    ...(annotations == null ? {} : { annotations }),
    ...(urls == null ? {} : { urls }),
  };
}

function firstIssue({ issues: [issue] }: z.ZodError, at?: string): string {
  const path = [...(at === undefined ? [] : [at]), ...(issue?.path.map(String) ?? [])];
  return `at '${printable(path.join("."))}' ${printable(issue?.message ?? "")}`;
}

function platformOf(raw: { os: string; architecture: string; variant?: string | null | undefined }): Platform {
  const { os, architecture, variant } = raw;
  return { os, architecture, ...(variant ? { variant } : {}) };
}

function notAnImage(config: Descriptor, artifactType: string | null | undefined): StrataError {
  const type = printable(artifactType ?? config.mediaType);
  return new StrataError("NOT_AN_IMAGE", `Cannot install the manifest: it is an artifact of type '${type}'`, {
    details: { configMediaType: printable(config.mediaType) },
  });
}
