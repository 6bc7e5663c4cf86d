/**
 * From a reference to all that it names: the image, or each image of an index, whatever platform it is for.
 *
 * What of an index is no image (attestations, artifacts of others) is counted and left: it tells of a manifest that a repack replaces.
 */
import { StrataError } from "../errors.js";
import { MAX_IMAGES_AT_ONCE, MAX_INDEX_DEPTH } from "../limits.js";
import type { Digest } from "../oci/digest.js";
import { type Descriptor, parseIndex, parseManifest } from "../oci/documents.js";
import { isIndex, isManifest } from "../oci/media-types.js";
import { hostPlatform, isAttestation } from "../oci/platform.js";
import { type ResolvedImage, type ResolveOptions, resolveImage, resolveLayers } from "./resolve.js";
import type { ImageSource } from "./source.js";

export interface ResolvedSet {
  /** Each manifest once, in the order of the index. */
  readonly images: readonly ResolvedImage[];
  /** Absent where the reference leads to one image: it names a manifest, or a platform was chosen. */
  readonly index?: ResolvedIndex;
  /** Descriptors that lead to no image. */
  readonly left: number;
}

export interface ResolvedIndex {
  readonly descriptor: Descriptor;
  /** The index and those below it. */
  readonly documents: ReadonlyMap<Digest, Buffer>;
}

/** As resolveImage; LIMIT_LAYERS of each image, LAYOUT_INVALID where there are too many, NO_PLATFORM where there is none. */
export async function resolveAll(source: ImageSource, options: ResolveOptions): Promise<ResolvedSet> {
  const root = await source.root(options.signal);
  if (!isIndex(root.descriptor.mediaType) || options.platform !== undefined)
    return { images: [await resolveImage(source, options)], left: 0 };
  const listing = new Listing(source, options);
  await listing.read(root.descriptor, root.bytes);
  if (listing.manifests.size === 0)
    throw new StrataError("NO_PLATFORM", "Cannot resolve the images of the index: it lists none");
  const images: ResolvedImage[] = [];
  for (const descriptor of listing.manifests.values()) images.push(await listing.image(descriptor));
  return { images, index: { descriptor: root.descriptor, documents: listing.documents }, left: listing.left };
}

class Listing {
  readonly documents = new Map<Digest, Buffer>();
  readonly manifests = new Map<Digest, Descriptor>();
  left = 0;
  readonly #source: ImageSource;
  readonly #options: ResolveOptions;

  constructor(source: ImageSource, options: ResolveOptions) {
    this.#source = source;
    this.#options = options;
  }

  async read(index: Descriptor, bytes: Buffer, depth = 0): Promise<void> {
    if (depth === MAX_INDEX_DEPTH)
      throw new StrataError("INDEX_DEPTH", `Cannot resolve the image: its indexes nest deeper than ${MAX_INDEX_DEPTH}`);
    this.documents.set(index.digest, bytes);
    for (const descriptor of parseIndex(bytes, index.mediaType).manifests) {
      if (this.documents.has(descriptor.digest)) continue;
      if (isIndex(descriptor.mediaType)) {
        await this.read(descriptor, await this.#source.document(descriptor, this.#options.signal), depth + 1);
      } else if (isManifest(descriptor.mediaType) && !isAttestation(descriptor)) {
        this.manifests.set(descriptor.digest, this.manifests.get(descriptor.digest) ?? descriptor);
      } else {
        this.left += 1;
      }
      if (this.documents.size + this.manifests.size > MAX_IMAGES_AT_ONCE)
        throw new StrataError("LAYOUT_INVALID", `Cannot resolve the images: they are more than ${MAX_IMAGES_AT_ONCE}`);
    }
  }

  /** The index vouches for the platform that it says; one that it says nothing of is whatever its config names. */
  async image(manifestDescriptor: Descriptor): Promise<ResolvedImage> {
    const { maxLayers, signal } = this.#options;
    const { mediaType, platform } = manifestDescriptor;
    const manifestBytes = await this.#source.document(manifestDescriptor, signal);
    const manifest = parseManifest(manifestBytes, mediaType, maxLayers);
    const wanted = platform ?? hostPlatform();
    const indexPlatform = platform === undefined ? {} : { indexPlatform: platform };
    const direct = platform === undefined;
    const resolved = { manifestDescriptor, manifest, manifestBytes, wanted, explicit: false, direct, ...indexPlatform };
    return resolveLayers(this.#source, resolved, signal);
  }
}
