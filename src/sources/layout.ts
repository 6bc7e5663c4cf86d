/**
 * An OCI image layout (image-spec v1.1 image-layout.md), be it a directory or an archive: the same logic over `Files`.
 *
 * index.json is the table of names: a tag is the annotation `org.opencontainers.image.ref.name` of one of its descriptors.
 */
import { StrataError } from "../errors.js";
import { REF_NAME } from "../oci/annotations.js";
import { type Digest, digestAlgorithm, digestHex } from "../oci/digest.js";
import { type Descriptor, parseIndex, parseLayout } from "../oci/documents.js";
import { parseJson } from "../oci/json.js";
import { isForeignLayer, isIndex, isManifest, OCI_INDEX, OCI_MANIFEST } from "../oci/media-types.js";
import type { ArchiveReference, LayoutReference } from "../oci/reference.js";
import { printable } from "../printable.js";
import { checkedDocument, refuseBigDocument, sizeMismatch } from "./checked-document.js";
import type { Files, Place } from "./files.js";
import type { ImageSource } from "./source.js";
import { unknownImage } from "./unknown-image.js";

/** Closing the source closes `files`. LAYOUT_INVALID, MANIFEST_UNKNOWN, BLOB_UNKNOWN, FOREIGN_LAYER, SIZE_MISMATCH, DIGEST_MISMATCH. */
export function layoutSource(reference: LayoutReference | ArchiveReference, files: Files): ImageSource {
  const document = async (descriptor: Descriptor): Promise<Buffer> => {
    refuseBigDocument(descriptor);
    // A file of another size is that, however large it is: it is not read.
    await locateBlob(files, descriptor);
    const bytes = await files.read(blobName(descriptor.digest));
    return checkedDocument(descriptor, bytes ?? missing(descriptor));
  };
  return {
    reference,
    document,
    root: async () => {
      await checkVersion(files);
      const descriptor = await namedDescriptor(reference, files);
      return { descriptor, bytes: await document(descriptor) };
    },
    blob: async (descriptor) => {
      const place = await locateBlob(files, descriptor);
      return { ...place, digestIsOfBytes: true, done: Promise.resolve() };
    },
    close: () => files.close(),
  };
}

/** What index.json lists. LAYOUT_INVALID, and those of documents.ts. */
export async function layoutImages(files: Files): Promise<readonly Descriptor[]> {
  await checkVersion(files);
  return readIndex(files);
}

async function readIndex(files: Files): Promise<readonly Descriptor[]> {
  const index = await files.read("index.json");
  if (index === undefined) throw invalid(files, "it has no index.json");
  return parseIndex(index, OCI_INDEX).manifests;
}

async function checkVersion(files: Files): Promise<void> {
  const marker = await files.read("oci-layout");
  if (marker === undefined) throw invalid(files, "it has no oci-layout file, so it is not an OCI image layout");
  try {
    parseLayout(marker);
  } catch (error) {
    throw invalid(files, error instanceof StrataError ? error.message : "oci-layout is malformed", error);
  }
}

async function namedDescriptor(reference: LayoutReference | ArchiveReference, files: Files): Promise<Descriptor> {
  const manifests = await readIndex(files);
  if (reference.transport === "oci" && reference.digest !== undefined) {
    const { digest } = reference;
    return manifests.find((descriptor) => descriptor.digest === digest) ?? descriptorByDigest(files, digest);
  }
  return reference.tag === undefined ? onlyImage(manifests, files) : tagged(manifests, reference.tag, files);
}

function tagged(manifests: readonly Descriptor[], tag: string, files: Files): Descriptor {
  const found = manifests.filter(({ annotations }) => annotations?.[REF_NAME] === tag);
  const [first] = found;
  if (first === undefined) throw unknown(files, `it has no tag '${printable(tag)}'`, manifests);
  if (found.some(({ digest }) => digest !== first.digest)) {
    throw invalid(files, `the tag '${printable(tag)}' names different digests`);
  }
  return first;
}

function onlyImage(manifests: readonly Descriptor[], files: Files): Descriptor {
  const [first] = manifests;
  if (first === undefined) throw unknown(files, "it holds no image", manifests);
  const count = new Set(manifests.map(({ digest }) => digest)).size;
  if (count > 1) throw unknown(files, `it holds ${count} images and the reference names no tag`, manifests);
  return first;
}

/** A manifest below an index of the layout stands in no table: it says itself what it is. */
async function descriptorByDigest(files: Files, digest: Digest): Promise<Descriptor> {
  const bytes = await files.read(blobName(digest));
  if (bytes === undefined) throw unknown(files, `it has no blob ${digest}`, []);
  const document = parseJson(bytes, "the manifest");
  const { mediaType } = Object(document) as { readonly mediaType?: unknown };
  const own = typeof mediaType === "string" && (isIndex(mediaType) || isManifest(mediaType)) ? mediaType : undefined;
  const shape = "manifests" in Object(document) ? OCI_INDEX : OCI_MANIFEST;
  return { mediaType: own ?? shape, digest, size: bytes.byteLength };
}

async function locateBlob(files: Files, descriptor: Descriptor): Promise<Place> {
  const place = (await files.locate(blobName(descriptor.digest))) ?? missing(descriptor);
  if (place.length !== descriptor.size) throw sizeMismatch(descriptor, place.length);
  return place;
}

const blobName = (digest: Digest) => `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;

function missing({ digest, mediaType }: Descriptor): never {
  if (isForeignLayer(mediaType)) {
    throw new StrataError("FOREIGN_LAYER", `Cannot read layer ${digest}: it is foreign and its bytes are not here`);
  }
  throw new StrataError("BLOB_UNKNOWN", `Cannot read blob ${digest}: the layout does not hold it`, {
    details: { digest },
  });
}

function unknown(files: Files, fact: string, manifests: readonly Descriptor[]): StrataError {
  const tags = manifests.flatMap(({ annotations }) => annotations?.[REF_NAME] ?? []);
  return unknownImage(files, fact, tags);
}

function invalid(files: Files, fact: string, cause?: unknown): StrataError {
  return new StrataError("LAYOUT_INVALID", `Cannot read the layout ${printable(files.path)}: ${fact}`, { cause });
}
