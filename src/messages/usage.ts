/** What the roots take on the disk, together and each. */
import { z } from "zod";
import { count, linkMode, overlap } from "./fields.js";

/** Bytes of file content; what each means for a root and for the whole store stands in store/usage.ts and in the README. */
export const usage = { apparentBytes: count, uniqueBytes: count, sharedBytes: count };

export const StoreUsage = z.object({
  ...usage,
  roots: z.array(z.object({ rootId: z.string(), names: z.array(z.string()), overlap, link: linkMode, ...usage })),
});
export type StoreUsage = z.infer<typeof StoreUsage>;
