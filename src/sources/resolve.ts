/**
 * From a reference to a manifest and its layers: root → index → platform → manifest → config.
 *
 * Two steps, so that a caller who already has the root of this manifest need not fetch the config. A package has no config that
 * would say what an image's says. Knows no transport and no store.
 */
import { StrataError } from "../errors.js";
import { MAX_INDEX_DEPTH } from "../limits.js";
import {
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  type LayerDescriptor,
  pairLayers,
  parseConfig,
  parseIndex,
  parseManifest,
} from "../oci/documents.js";
import { isImageConfig, isIndex, isManifest, unsupported } from "../oci/media-types.js";
import { OCX_CONFIG, parseDefaultStrip, withDefaultStrip } from "../oci/ocx-package.js";
import {
  ANY_PLATFORM,
  formatPlatform,
  hostPlatform,
  isAnyPlatform,
  isPlainPlatform,
  noPlatform,
  type Platform,
  platformMatches,
  selectPlatform,
} from "../oci/platform.js";
import { printable } from "../printable.js";
import type { ImageSource } from "./source.js";

export interface ResolveOptions {
  /** What the client asked for; absent means the host's. */
  readonly platform?: Platform | undefined;
  /** LIMIT_LAYERS; absent means that of limits.ts. */
  readonly maxLayers?: number | undefined;
  readonly signal: AbortSignal;
}

/** What a manifest says, and how it was come to. */
export interface KnownManifest {
  readonly manifestDescriptor: Descriptor;
  readonly manifest: ImageManifest;
  /** What the index calls it; absent where only the config knows. */
  readonly indexPlatform?: Platform;
  /** The platform looked for, and whether the client named it. */
  readonly wanted: Platform;
  readonly explicit: boolean;
  /** The reference led to the manifest without an index. */
  readonly direct: boolean;
}

export interface ResolvedManifest extends KnownManifest {
  readonly manifestBytes: Buffer;
}

export interface ResolvedImage extends ResolvedManifest {
  /** Absent in a package. */
  readonly config?: ImageConfig;
  /** Absent where nothing in it was asked for. */
  readonly configBytes?: Buffer;
  /** The config's; the index's where the config has none; any where nothing says for which one a package is. */
  readonly platform: Platform;
  /** The lowest first. */
  readonly layers: readonly LayerDescriptor[];
  /** What a person should know: the image is said to be for another platform than was looked for, or for none. */
  readonly platformNote?: string;
}

/** Both steps. */
export async function resolveImage(source: ImageSource, options: ResolveOptions): Promise<ResolvedImage> {
  return resolveLayers(source, await resolveManifest(source, options), options.signal);
}

/**
 * INDEX_DEPTH, NO_PLATFORM, MEDIA_TYPE_UNSUPPORTED, NOT_AN_IMAGE, those of documents.ts and of the source. A platform that
 * only the config knows is not judged yet.
 */
export async function resolveManifest(source: ImageSource, options: ResolveOptions): Promise<ResolvedManifest> {
  const { signal } = options;
  const wanted = options.platform ?? hostPlatform();
  const root = await source.root(signal);
  let { descriptor, bytes } = root;
  for (let depth = 0; isIndex(descriptor.mediaType); depth += 1) {
    if (depth === MAX_INDEX_DEPTH) {
      throw new StrataError("INDEX_DEPTH", `Cannot resolve the image: its indexes nest deeper than ${MAX_INDEX_DEPTH}`);
    }
    descriptor = selectPlatform(parseIndex(bytes, descriptor.mediaType).manifests, wanted);
    if (!isIndex(descriptor.mediaType) && !isManifest(descriptor.mediaType)) break;
    bytes = await source.document(descriptor, signal);
  }
  if (!isManifest(descriptor.mediaType)) throw unsupported("the manifest", descriptor.mediaType);
  const direct = descriptor === root.descriptor;
  return {
    manifestDescriptor: descriptor,
    manifest: parseManifest(bytes, descriptor.mediaType, options.maxLayers),
    manifestBytes: bytes,
    wanted,
    explicit: options.platform !== undefined,
    direct,
    ...(direct || descriptor.platform === undefined ? {} : { indexPlatform: descriptor.platform }),
  };
}

/** LAYER_COUNT, ROOTFS_TYPE, NO_PLATFORM, PLACEMENT_INVALID, and those of documents.ts and the source. */
export function resolveLayers(
  source: ImageSource,
  resolved: ResolvedManifest,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const packaged = packagePlatform(resolved);
  return packaged === undefined
    ? resolveImageLayers(source, resolved, signal)
    : resolvePackageLayers(source, resolved, packaged, signal);
}

async function resolveImageLayers(
  source: ImageSource,
  resolved: ResolvedManifest,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const configBytes = await source.document(resolved.manifest.config, signal);
  const config = parseConfig(configBytes);
  const { os, architecture } = config.platform;
  const platform = os === "" || architecture === "" ? (resolved.indexPlatform ?? resolved.wanted) : config.platform;
  const note = imagePlatformNote(platform, resolved);
  return {
    ...resolved,
    config,
    configBytes,
    platform,
    layers: pairLayers(resolved.manifest, config),
    ...(note === undefined ? {} : { platformNote: note }),
  };
}

/** Nothing claims diffIDs, whatever the config looks like; OCX's says where the layers' entries go. */
async function resolvePackageLayers(
  source: ImageSource,
  resolved: ResolvedManifest,
  { platform, note }: PackagePlatform,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const { config, layers } = resolved.manifest;
  const configBytes = config.mediaType === OCX_CONFIG ? await source.document(config, signal) : undefined;
  const strip = configBytes === undefined ? 0 : parseDefaultStrip(configBytes);
  return {
    ...resolved,
    ...(configBytes === undefined ? {} : { configBytes }),
    platform,
    layers: layers.map((descriptor) => ({ descriptor: withDefaultStrip(descriptor, strip) })),
    ...(note === undefined ? {} : { platformNote: note }),
  };
}

export interface PackagePlatform {
  readonly platform: Platform;
  /** What a person should know. */
  readonly note: string | undefined;
}

/**
 * Which platform a package is installed for; undefined for an image, whose config tells. Only who lists a package knows it, be that an
 * index or a layout's table of names, and two may say different things of one manifest. MANIFEST_INVALID, NO_PLATFORM.
 */
export function packagePlatform(resolved: KnownManifest): PackagePlatform | undefined {
  if (isImageConfig(resolved.manifest.config.mediaType)) return undefined;
  const { platform } = resolved.manifestDescriptor;
  if (platform === undefined) return { platform: ANY_PLATFORM, note: "Nothing says for which platform the package is" };
  if (!isPlainPlatform(platform)) {
    const fact = `its platform is '${printable(formatPlatform(platform), 64)}'`;
    throw new StrataError("MANIFEST_INVALID", `Cannot read the package's descriptor: ${fact}`);
  }
  return { platform, note: judgePlatform(platform, resolved, "The package's index") };
}

/** What a person should know of an image whose config names this platform. NO_PLATFORM. */
export const imagePlatformNote = (platform: Platform, resolved: KnownManifest): string | undefined =>
  judgePlatform(platform, resolved, "The image's config");

/** Only a manifest that was named itself, or that the index vouches for, may differ from what was looked for; never in silence. */
function judgePlatform(
  platform: Platform,
  { wanted, explicit, direct, indexPlatform }: KnownManifest,
  teller: string,
): string | undefined {
  if (platformMatches(platform, wanted)) return undefined;
  const vouched = indexPlatform !== undefined && !isAnyPlatform(indexPlatform);
  if (!vouched && (explicit || !direct)) throw noPlatform(wanted, [platform]);
  return `${teller} names ${printable(formatPlatform(platform), 64)}, not ${formatPlatform(wanted)}`;
}
