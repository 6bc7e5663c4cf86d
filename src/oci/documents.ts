/**
 * The documents of an image as data: index, manifest, config, and the marker of a layout (image-spec v1.1).
 *
 * Parsing is strict about what this program relies on and deaf to everything else: unknown fields are no error, and only the
 * fields named here leave this file. A descriptor's `data` is never used.
 */
import { z } from "zod";
import { type ErrorCode, StrataError } from "../errors.js";
import { imageLimits } from "../limits.js";
import { printable } from "../printable.js";
import { type DiffId, type Digest, parseDiffId, parseDigest } from "./digest.js";
import { parseJson } from "./json.js";
import { isImageConfig, layerCodec, unsupported } from "./media-types.js";
import type { Platform } from "./platform.js";

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
  readonly config: Descriptor;
  /** At least one. */
  readonly layers: readonly Descriptor[];
  readonly annotations: Annotations;
  readonly artifactType?: string;
}

export interface ImageConfig {
  readonly platform: Platform;
  readonly diffIds: readonly DiffId[];
}

export interface OciLayout {
  readonly imageLayoutVersion: string;
}

export interface LayerDescriptor {
  readonly descriptor: Descriptor;
  readonly diffId: DiffId;
}

/**
 * `mediaType` is what the descriptor or the registry calls it; a document that calls itself something else, or has the
 * fields of a manifest too, is MANIFEST_AMBIGUOUS. MANIFEST_INVALID, MANIFEST_TOO_BIG, DESCRIPTOR_INVALID, DIGEST_FORMAT.
 */
export function parseIndex(bytes: Uint8Array, mediaType: string): ImageIndex {
  const what = "the image index";
  const document = open(bytes, what, mediaType);
  const { manifests, annotations } = checked(IndexSchema, document, what);
  return { manifests: manifests.map(descriptorOf), annotations: annotations ?? {} };
}

/** As parseIndex, and NOT_AN_IMAGE (its config is none), NO_LAYERS, LIMIT_LAYERS, MEDIA_TYPE_UNSUPPORTED (a layer's). */
export function parseManifest(
  bytes: Uint8Array,
  mediaType: string,
  maxLayers: number = imageLimits.maxLayers,
): ImageManifest {
  const what = "the manifest";
  const document = open(bytes, what, mediaType);
  const raw = checked(ManifestSchema, document, what);
  const manifest: ImageManifest = {
    config: descriptorOf(raw.config),
    layers: (raw.layers ?? []).map(descriptorOf),
    annotations: raw.annotations ?? {},
    ...(raw.artifactType == null ? {} : { artifactType: raw.artifactType }),
  };
  if (!isImageConfig(manifest.config.mediaType)) throw notAnImage(manifest);
  const count = manifest.layers.length;
  if (count === 0) throw new StrataError("NO_LAYERS", `Cannot install ${what}: it has no layers`);
  if (count > maxLayers) {
    throw new StrataError("LIMIT_LAYERS", `Cannot install ${what}: it has ${count} layers, over ${maxLayers}`);
  }
  for (const layer of manifest.layers) layerCodec(layer.mediaType);
  return manifest;
}

/** ROOTFS_TYPE, DIGEST_FORMAT, MANIFEST_INVALID, MANIFEST_TOO_BIG. */
export function parseConfig(bytes: Uint8Array): ImageConfig {
  const what = "the image config";
  const { os, architecture, variant, rootfs } = checked(ConfigSchema, parseJson(bytes, what), what);
  if (rootfs.type !== "layers") {
    throw new StrataError(
      "ROOTFS_TYPE",
      `Cannot read ${what}: rootfs.type is '${printable(rootfs.type)}', not 'layers'`,
    );
  }
  return {
    platform: { os, architecture, ...(variant ? { variant } : {}) },
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

const text = z.string().max(1024);
const annotations = z.record(z.string(), z.string()).nullish();
const mediaType = z.string().regex(/^[A-Za-z0-9][\w!#$&^.+-]{0,126}\/[A-Za-z0-9][\w!#$&^.+-]{0,126}$/);

const DescriptorSchema = z.looseObject({
  mediaType,
  digest: z.string(),
  size: z.number().int().nonnegative(),
  platform: z.looseObject({ os: text, architecture: text, variant: text.nullish() }).nullish(),
  annotations,
  urls: z.array(z.string()).nullish(),
});

const IndexSchema = z.looseObject({ schemaVersion: z.literal(2), manifests: z.array(DescriptorSchema), annotations });

const ManifestSchema = z.looseObject({
  schemaVersion: z.literal(2),
  config: DescriptorSchema,
  layers: z.array(DescriptorSchema).nullish(),
  artifactType: text.nullish(),
  annotations,
});

const ConfigSchema = z.looseObject({
  os: text,
  architecture: text,
  variant: text.nullish(),
  rootfs: z.looseObject({ type: z.string(), diff_ids: z.array(z.string()).nullish() }),
});

const LayoutSchema = z.looseObject({ imageLayoutVersion: z.string() });

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
  if (own != null && own !== "" && own !== expected) {
    throw new StrataError(
      "MANIFEST_AMBIGUOUS",
      `Cannot read ${what}: it calls itself '${printable(String(own))}' and was named '${printable(expected)}'`,
    );
  }
  return document;
}

function checked<T>(schema: z.ZodType<T>, document: unknown, what: string): T {
  const parsed = schema.safeParse(document);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path.map(String) ?? [];
  const inDescriptor = path.length > 1 && ["config", "layers", "manifests"].includes(path[0] ?? "");
  const code: ErrorCode = inDescriptor ? "DESCRIPTOR_INVALID" : "MANIFEST_INVALID";
  throw new StrataError(
    code,
    `Cannot read ${what}: at '${printable(path.join("."))}' ${printable(issue?.message ?? "")}`,
  );
}

function descriptorOf(raw: z.infer<typeof DescriptorSchema>): Descriptor {
  const { platform } = raw;
  return {
    mediaType: raw.mediaType,
    digest: parseDigest(raw.digest),
    size: raw.size,
    ...(platform == null ? {} : { platform: platformOf(platform) }),
    ...(raw.annotations == null ? {} : { annotations: raw.annotations }),
    ...(raw.urls == null ? {} : { urls: raw.urls }),
  };
}

function platformOf(raw: { os: string; architecture: string; variant?: string | null | undefined }): Platform {
  const { os, architecture, variant } = raw;
  return { os, architecture, ...(variant ? { variant } : {}) };
}

function notAnImage({ config, artifactType }: ImageManifest): StrataError {
  const type = printable(artifactType ?? config.mediaType);
  return new StrataError("NOT_AN_IMAGE", `Cannot install the manifest: it is an artifact of type '${type}'`, {
    details: { configMediaType: printable(config.mediaType) },
  });
}
