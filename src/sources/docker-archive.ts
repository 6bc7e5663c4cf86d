/**
 * What `docker save` and `podman save` write: manifest.json names a config and layers among the archive's members.
 *
 * Such an archive has no manifest with a digest, so one is made of config digest and diffIDs, always the same bytes for the same
 * content. A layer's digest is its diffID, whether the member is compressed or not: only the config says what a layer is.
 */
import { z } from "zod";
import { StrataError } from "../errors.js";
import { MAX_ARCHIVE_MEMBERS } from "../limits.js";
import { type DiffId, type Digest, diffIdAsDigest, digestOf } from "../oci/digest.js";
import { type Descriptor, parseConfig } from "../oci/documents.js";
import { parseJson } from "../oci/json.js";
import { layerMediaType, OCI_CONFIG, OCI_MANIFEST } from "../oci/media-types.js";
import { type ArchiveReference, formatReference, parseDockerTag } from "../oci/reference.js";
import { list, shape, texts } from "../oci/shapes.js";
import { printable } from "../printable.js";
import { refusal } from "./archive-members.js";
import { checkedDocument } from "./checked-document.js";
import { compressionOf, MAGIC_BYTES } from "./compression.js";
import type { Files, Place } from "./files.js";
import type { ImageSource, ResolvedDocument } from "./source.js";
import { unknownImage } from "./unknown-image.js";

/** Closing the source closes `files`. ARCHIVE_LAYOUT, MANIFEST_UNKNOWN, LAYER_COUNT, and those of parseConfig. */
export function dockerArchiveSource(reference: ArchiveReference, files: Files): ImageSource {
  let opened: Promise<Image> | undefined;
  const image = () => {
    opened ??= openImage(reference, files);
    return opened;
  };
  return {
    reference,
    root: async () => (await image()).root,
    document: async (descriptor) => {
      const { root, config, configDigest } = await image();
      const known = descriptor.digest === configDigest ? config : root.bytes;
      return checkedDocument(descriptor, known);
    },
    blob: async (descriptor) => {
      const place = (await image()).layers.get(descriptor.digest);
      if (place === undefined) {
        throw new StrataError("BLOB_UNKNOWN", `Cannot read layer ${descriptor.digest}: the archive does not hold it`);
      }
      return { ...place, digestIsOfBytes: false, done: Promise.resolve() };
    },
    close: () => files.close(),
  };
}

interface Image {
  readonly root: ResolvedDocument;
  readonly config: Buffer;
  readonly configDigest: Digest;
  readonly layers: ReadonlyMap<Digest, Place>;
}

const EntrySchema = shape({ Config: z.string(), RepoTags: texts.nullish(), Layers: texts.nullish() });
type Entry = z.infer<typeof EntrySchema>;

async function openImage(reference: ArchiveReference, files: Files): Promise<Image> {
  const entry = choose(await entriesOf(files), reference, files);
  const config = await files.read(entry.Config);
  if (config === undefined)
    throw refusal(`its manifest.json names a config '${printable(entry.Config)}' that is missing`);
  const { diffIds } = parseConfig(config);
  const names = entry.Layers ?? [];
  if (names.length > MAX_ARCHIVE_MEMBERS)
    throw new StrataError("LIMIT_LAYERS", `Cannot read the archive: manifest.json names ${names.length} layers`);
  if (names.length !== diffIds.length) {
    throw new StrataError(
      "LAYER_COUNT",
      `Cannot match layers and diffIDs: manifest.json has ${names.length}, the config ${diffIds.length}`,
    );
  }
  const layers = new Map<Digest, Place>();
  const descriptors: Descriptor[] = [];
  for (const [index, diffId] of diffIds.entries()) {
    const { place, descriptor } = await layerOf(files, names[index] ?? "", diffId);
    layers.set(descriptor.digest, place);
    descriptors.push(descriptor);
  }
  const configDigest = digestOf(config);
  return {
    root: manifestOf({ digest: configDigest, size: config.byteLength }, descriptors),
    config,
    configDigest,
    layers,
  };
}

async function entriesOf(files: Files): Promise<readonly Entry[]> {
  const bytes = await files.read("manifest.json");
  if (bytes === undefined) throw refusal("it has no manifest.json, so it is not what docker save or podman save write");
  const entries = list.safeParse(parseJson(bytes, "manifest.json"));
  return (entries.data ?? refuseListing()).map((entry) => EntrySchema.safeParse(entry).data ?? refuseListing());
}

function refuseListing(): never {
  throw refusal("its manifest.json is not a list of Config, RepoTags and Layers");
}

function choose(entries: readonly Entry[], { tag }: ArchiveReference, files: Files): Entry {
  const wanted = tag === undefined ? undefined : canonical(tag);
  const matches =
    wanted === undefined
      ? entries
      : entries.filter(({ RepoTags }) => RepoTags?.some((own) => canonical(own) === wanted));
  const [entry] = matches;
  if (entry !== undefined && (wanted !== undefined || entries.length === 1)) return entry;
  const tags = entries.flatMap(({ RepoTags }) => RepoTags ?? []);
  const fact = tag === undefined ? `it holds ${entries.length} images` : `it has no '${printable(tag)}'`;
  throw unknownImage(files, fact, tags);
}

/** Undefined for what an archive says and nobody could ask for. */
function canonical(tag: string): string | undefined {
  try {
    return formatReference(parseDockerTag(tag));
  } catch {
    return undefined;
  }
}

async function layerOf(files: Files, name: string, diffId: DiffId): Promise<{ place: Place; descriptor: Descriptor }> {
  const place = await files.locate(name);
  if (place === undefined) throw refusal(`its manifest.json names a layer '${printable(name)}' that is missing`);
  const start = (await files.start(name, MAGIC_BYTES)) ?? Buffer.alloc(0);
  const mediaType = layerMediaType(compressionOf(start));
  return { place, descriptor: { mediaType, digest: diffIdAsDigest(diffId), size: place.length } };
}

/** The order of the fields is part of the digest. */
function manifestOf(config: { digest: Digest; size: number }, layers: readonly Descriptor[]): ResolvedDocument {
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { mediaType: OCI_CONFIG, digest: config.digest, size: config.size },
      layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    }),
  );
  return { descriptor: { mediaType: OCI_MANIFEST, digest: digestOf(bytes), size: bytes.byteLength }, bytes };
}
