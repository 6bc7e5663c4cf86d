/** What an install would do and cost, and the conflicts in its way. */
import { z } from "zod";
import { count, digest, linkMode, overlap } from "./fields.js";

/** A path that the policy lets only one of its sides have, escaped; a side has a path of its own where that is another. */
export const Conflict = z.object({
  path: z.string(),
  sides: z.array(z.object({ layer: count, digest, type: z.string(), path: z.string().optional() })),
});
export type Conflict = z.infer<typeof Conflict>;

/** Where the install would fail with conflicts, no root is reckoned. */
export const Plan = z.object({
  reference: z.string(),
  platform: z.string(),
  name: z.string(),
  overlap,
  link: linkMode,
  manifestDigest: digest,
  /** The root stands already: an install would only point the name at it. */
  installed: z.boolean(),
  /** Blobs that the store lacks and that come over the network; what a layout or an archive has is read, not fetched. */
  toFetchBytes: count,
  /** Contents of files that are written: of layers that the store lacks, and of the root's own copies, however little a reflink takes. */
  toWriteBytes: count,
  /** Files, directories and symlinks that are made: of layers that the store lacks, and the root's own. */
  toWriteInodes: count,
  /** Contents of the root's files that stand in the store already, and are linked from there. */
  sharedBytes: count,
  /** What others may write after that; below 0 it does not fit. */
  freeAfterBytes: z.number().int(),
  /** Every layer is stored, so all of this is exact. Else `toWrite…` is estimated, and there may be more conflicts. */
  complete: z.boolean(),
  layers: z.array(z.object({ digest, diffId: digest.optional(), size: count, stored: z.boolean() })),
  /** The first of those that are known, and how many are. */
  conflicts: z.array(Conflict),
  conflictsTotal: count,
  /** Policies that are proven to accept the image where this one does not. */
  hints: z.array(z.string()).optional(),
  /** As a job's. */
  notes: z.array(z.string()).optional(),
});
export type Plan = z.infer<typeof Plan>;
