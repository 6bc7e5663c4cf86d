/**
 * What layer.json and its meta document look like: the workers check them where they scan a store.
 */
import { z } from "zod";
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
 * Whether a power cut can take anything of it. `durable` is only ever written after a sync: where no document says so, it is not. Until
 * then `bootId` is the boot that wrote it, or that compared it last with what it was made of.
 */
export const durability = { durable: z.boolean(), bootId: z.string() };

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

/** STORE_CORRUPT where the text, which stands at `path`, is not what this release writes. */
export function parseDocument<Schema extends z.ZodType>(path: string, text: string, schema: Schema): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is not a document of this store`, { cause });
  }
}
