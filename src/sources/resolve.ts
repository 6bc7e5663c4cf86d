/**
 * From a reference to a manifest and its layers: root → index → platform → manifest → config.
 *
 * Two steps, so that a caller who already has the root of this manifest need not fetch the config. Knows no transport and
 * no store.
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
import { isIndex, isManifest, unsupported } from "../oci/media-types.js";
import {
  formatPlatform,
  hostPlatform,
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

export interface ResolvedManifest {
  readonly manifestDescriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly manifestBytes: Buffer;
  /** What the index calls it; absent where only the config knows. */
  readonly indexPlatform?: Platform;
  /** The platform looked for, and whether the client named it. */
  readonly wanted: Platform;
  readonly explicit: boolean;
  /** The reference led to the manifest without an index. */
  readonly direct: boolean;
}

export interface ResolvedImage extends ResolvedManifest {
  readonly config: ImageConfig | undefined;
  readonly configBytes: Buffer | undefined;
  /** The config's; the index's where the config has none. */
  readonly platform: Platform;
  /** The lowest first. */
  readonly layers: readonly LayerDescriptor[];
  /** What a person should know: the config names another platform than was looked for. */
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

/** LAYER_COUNT, ROOTFS_TYPE, NO_PLATFORM, and those of documents.ts and the source. */
export async function resolveLayers(
  source: ImageSource,
  resolved: ResolvedManifest,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const configBytes = await source.document(resolved.manifest.config, signal);
  const config = parseConfig(configBytes);
  const { os, architecture } = config.platform;
  const platform = os === "" || architecture === "" ? (resolved.indexPlatform ?? resolved.wanted) : config.platform;
  const note = judgePlatform(platform, resolved);
  return {
    ...resolved,
    config,
    configBytes,
    platform,
    layers: pairLayers(resolved.manifest, config),
    ...(note === undefined ? {} : { platformNote: note }),
  };
}

/** Only a manifest that was named itself, or that the index vouches for, may differ from what was looked for; never in silence. */
function judgePlatform(
  platform: Platform,
  { wanted, explicit, direct, indexPlatform }: ResolvedManifest,
): string | undefined {
  if (platformMatches(platform, wanted)) return undefined;
  if (indexPlatform === undefined && (explicit || !direct)) throw noPlatform(wanted, [platform]);
  return `The image's config names ${printable(formatPlatform(platform), 64)}, not ${formatPlatform(wanted)}`;
}
