/**
 * Where a stored layer, or a root's manifest, may be had again: the images that names were installed from, each at exactly the manifest
 * that it had.
 */
import { StrataError } from "../errors.js";
import type { DiffId } from "../oci/digest.js";
import type { LayerDescriptor } from "../oci/documents.js";
import { isAnyPlatform, parsePlatform } from "../oci/platform.js";
import { parseReference, type Reference } from "../oci/reference.js";
import { type OpenOptions, openSource } from "../sources/open.js";
import { type ResolvedImage, resolveImage } from "../sources/resolve.js";
import type { ImageSource } from "../sources/source.js";
import type { Generation, RootDocument } from "../store/documents.js";
import type { Store } from "../store/store.js";

export interface ImageOrigin {
  readonly reference: string;
  readonly generation: Generation;
  readonly root: RootDocument;
}

/** Of every name's generations whose root has the layer, the newest first, each image once. */
export const originsOf = (diffId: DiffId, store: Store): ImageOrigin[] =>
  originsOfRoots(new Set(store.usage.rootsOf(diffId)), store);

/** As `originsOf`, of these roots. */
export function originsOfRoots(users: ReadonlySet<string>, store: Store): ImageOrigin[] {
  const origins = new Map<string, ImageOrigin>();
  const generations = store.names
    .all()
    .flatMap((document) => document.generations.filter(({ rootId }) => users.has(rootId)));
  for (const generation of generations.sort((a, b) => (a.at < b.at ? 1 : -1))) {
    const root = store.roots.get(generation.rootId);
    if (root === undefined) continue;
    const key = `${generation.reference} ${generation.manifestDigest}`;
    if (!origins.has(key)) origins.set(key, { reference: generation.reference, generation, root });
  }
  return [...origins.values()];
}

export interface OriginOptions {
  readonly sources: OpenOptions;
  readonly maxLayers: number;
  readonly signal: AbortSignal;
}

/** Gives the source and the layer's descriptor to `use`. MANIFEST_UNKNOWN, and what `withOrigin` throws. */
export function withLayerSource<Value>(
  origin: ImageOrigin,
  { diffId, ...options }: OriginOptions & { readonly diffId: DiffId },
  use: (source: ImageSource, layer: Required<LayerDescriptor>) => Promise<Value>,
): Promise<Value> {
  return withOrigin(origin, options, (source, image) => {
    const layer = image.layers[origin.root.layers.indexOf(diffId)];
    if (layer === undefined)
      throw new StrataError("MANIFEST_UNKNOWN", `Cannot fetch the layer again: ${origin.reference} has no such layer`);
    return use(source, { descriptor: layer.descriptor, diffId });
  });
}

/**
 * Gives the source and the image to `use`. MANIFEST_UNKNOWN where the reference leads to another image by now and cannot be pinned (an
 * archive); the codes of sources and of resolving.
 */
export async function withOrigin<Value>(
  { reference, generation }: ImageOrigin,
  { sources, maxLayers, signal }: OriginOptions,
  use: (source: ImageSource, image: ResolvedImage) => Promise<Value>,
): Promise<Value> {
  const pinned = pinnedTo(parseReference(reference), generation);
  const source = await openSource(pinned, sources);
  try {
    const wanted = parsePlatform(generation.platform);
    const isPinned = "digest" in pinned || isAnyPlatform(wanted);
    const image = await resolveImage(source, { platform: isPinned ? undefined : wanted, maxLayers, signal });
    const found = image.manifestDescriptor.digest;
    if (found !== generation.manifestDigest)
      throw new StrataError("MANIFEST_UNKNOWN", `Cannot fetch the image again: ${reference} is ${found} by now`);
    return await use(source, image);
  } finally {
    await source.close();
  }
}

const pinnedTo = (reference: Reference, { manifestDigest: digest }: Generation): Reference =>
  reference.transport === "docker" || reference.transport === "oci" ? { ...reference, digest } : reference;
