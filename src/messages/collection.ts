/** What a collection removed or would remove, and what it left. */
import { z } from "zod";
import { count } from "./fields.js";

const amount = { bytes: count, inodes: count };

/** Something that a collection took or left. */
export const CollectedItem = z.object({
  kind: z.enum(["root", "layer", "blob"]),
  /** A rootId, a diffID, or the digest of a manifest or config. */
  id: z.string(),
  /** What its removal gives back, or would, while everything else stays. */
  ...amount,
  because: z.string(),
});
export type CollectedItem = z.infer<typeof CollectedItem>;

const collectedTotals = z.object({ roots: count, layers: count, blobs: count, ...amount });

/** What a collection removed, or would remove where it is only a plan; and what stays. */
export const Collection = z.object({
  plan: z.boolean(),
  removed: collectedTotals,
  stays: collectedTotals,
  /** The first of each, roots before layers before blobs. */
  gone: z.array(CollectedItem),
  kept: z.array(CollectedItem),
});
export type Collection = z.infer<typeof Collection>;
