/** A layer as it stands in the store. */
import { z } from "zod";
import { count, digest, time } from "./fields.js";

export const Layer = z.object({
  diffId: digest,
  digests: z.array(digest),
  bytes: count,
  /** What linking its files into more than one root saves. */
  sharedBytes: count.optional(),
  entries: count,
  topLevel: z.array(z.string()),
  roots: z.array(z.string()),
  durable: z.boolean(),
  createdAt: time,
  lastUsedAt: time,
});
export type Layer = z.infer<typeof Layer>;
