/**
 * What the documents of layers, roots and names look like: the workers check them where they scan a store.
 */
import { z } from "zod";
import { linkModes, overlaps } from "./choices.js";
import { StrataError } from "./errors.js";
import { parseDiffId, parseDigest } from "./oci/digest.js";
import { codecs } from "./oci/media-types.js";
import { entryTypes } from "./overlap/changeset.js";
import type { LayerDocument } from "./tasks.js";

const count = z.number().int().nonnegative();
const digest = z.string().transform((text) => parseDigest(text));
const diffId = z.string().transform((text) => parseDiffId(text));

/** The worker wrote it; it is checked again because a store may have been edited. */
export const layerSchema = z.looseObject({
  schema: z.literal(1),
  diffId,
  tarBytes: count,
  bytes: count,
  entries: count,
  files: count,
  topLevel: z.array(z.tuple([z.string(), z.enum(entryTypes)])),
  whiteouts: count,
  unresolved: count,
  dropped: z.object({ setid: count, ownership: count, xattrs: count, aufs: count }),
  escapingSymlinks: count,
  splitLinks: count.default(0),
  sharedFiles: count.default(0),
  sharedFileBytes: count.default(0),
  decoder: z.string(),
  changesetSha256: z.string(),
  createdAt: z.string(),
}) satisfies z.ZodType<LayerDocument>;

const layerBlobSchema = z.object({ digest, size: count, codec: z.enum(codecs) });
/** Bytes that were compared with their digest and gave the layer when they were read in this codec. */
export type LayerBlob = z.output<typeof layerBlobSchema>;

/**
 * Blobs that differ in anything are told apart, the codec included: a tar whose first name starts as gzip does may be one and the
 * other, with two contents under one digest.
 */
export const blobKey = ({ digest, size, codec }: LayerBlob): string => `${digest} ${size} ${codec}`;

/**
 * Whether a power cut can take anything of it. `durable` is only ever written after a sync: where no document says so, it is not. Until
 * then `bootId` is the boot that wrote it, or that compared it last with what it was made of.
 */
const durability = { durable: z.boolean(), bootId: z.string() };

/** meta/<diffID>.json: what changes about a layer that never changes. */
export const layerMetaSchema = z.object({
  schema: z.literal(1),
  blobs: z.array(layerBlobSchema).default([]),
  ...durability,
  lastUsedAt: z.string(),
  /** When the scrub last read all of it; absent: not since it was unpacked. */
  verifiedAt: z.string().optional(),
});
export type LayerMeta = z.output<typeof layerMetaSchema>;

export const rootSchema = z.object({
  schema: z.literal(1),
  rootId: z.string(),
  manifestDigest: digest,
  platform: z.string(),
  overlap: z.enum(overlaps),
  link: z.enum(linkModes),
  layers: z.array(diffId),
  /** Bytes of the root's files, linked or copied. */
  bytes: count,
  /** How many of them come from each of `layers`, in order; absent where each gave all that it has. */
  layerBytes: z.array(count).optional(),
  /** How many of them are the root's own, because their files were copied; absent where none were. */
  copiedBytes: count.optional(),
  /** Of the file plan beside it; absent where its layers were linked as they stand. */
  planSha256: z.string().optional(),
  entries: count,
  createdAt: z.string(),
});
export type RootDocument = z.output<typeof rootSchema>;

export const nameSchema = z
  .object({
    schema: z.literal(1),
    name: z.string(),
    /** Oldest first. */
    generations: z.array(
      z.object({
        generation: count,
        rootId: z.string(),
        reference: z.string(),
        platform: z.string(),
        manifestDigest: digest,
        at: z.string(),
      }),
    ),
    /** The number of the current generation; absent where it is the last. */
    current: count.optional(),
  })
  .refine(
    ({ generations, current }) => current === undefined || generations.some(({ generation }) => generation === current),
    "the current generation is none of the name's",
  );
export type NameDocument = z.output<typeof nameSchema>;
export type Generation = NameDocument["generations"][number];

/** meta/roots/<rootId>.json: the same for a root. */
export const rootMetaSchema = z.object({ schema: z.literal(1), ...durability });
export type RootMeta = z.output<typeof rootMetaSchema>;

/** STORE_CORRUPT where the text, which stands at `path`, is not what this release writes. */
export function parseDocument<Schema extends z.ZodType>(path: string, text: string, schema: Schema): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is not a document of this store`, { cause });
  }
}

/** Of each kind of things that are scanned, what their documents look like, and by which key they say what they are of. */
export const scannedSchemas = {
  layers: { document: layerSchema, meta: layerMetaSchema, idKey: "diffId" },
  roots: { document: rootSchema, meta: rootMetaSchema, idKey: "rootId" },
  names: { document: nameSchema, meta: undefined, idKey: "name" },
} as const;

const readings = new Map<ScannedKind, string>();

/** Another text for whatever is read in another way; of documents that one release has read, another may not take the word. */
export function readingOf(kind: ScannedKind): string {
  const known = readings.get(kind);
  if (known !== undefined) return known;
  const { document, meta } = scannedSchemas[kind];
  const reading = JSON.stringify([kind, document, meta], (_key, part: unknown) =>
    part instanceof z.ZodType ? z.toJSONSchema(part, { io: "input" }) : part,
  );
  readings.set(kind, reading);
  return reading;
}

type ScannedKind = keyof typeof scannedSchemas;
