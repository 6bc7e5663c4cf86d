/** An image root, the generations of its names, and a client's hold of it. */
import { z } from "zod";
import { count, digest, linkMode, overlap, time } from "./fields.js";

/** One version of a name: an install made it, and a rollback may lead to it. */
export const NameGeneration = z.object({
  /** Rises with each install under the name. */
  generation: count,
  rootId: z.string(),
  manifestDigest: digest,
  platform: z.string(),
  reference: z.string(),
  at: time,
  current: z.boolean(),
  /** Whether its root is still there. */
  stands: z.boolean(),
});
export type NameGeneration = z.infer<typeof NameGeneration>;

export const Root = z.object({
  rootId: z.string(),
  path: z.string(),
  manifestDigest: digest,
  overlap,
  link: linkMode,
  /** The names whose current generation it is. */
  names: z.array(
    z.object({
      name: z.string(),
      path: z.string(),
      generation: count,
      /** Oldest first; only where `root/get` was asked by this name. */
      generations: z.array(NameGeneration).optional(),
    }),
  ),
  layers: z.array(digest),
  /** Of its files as they appear. */
  bytes: count,
  /** As in `store/usage`. */
  uniqueBytes: count.optional(),
  sharedBytes: count.optional(),
  entries: count,
  pinned: z.boolean(),
  /** Who holds it, or one of them (`root/hold`); absent: nobody. */
  heldFor: z.string().optional(),
  createdAt: time,
});
export type Root = z.infer<typeof Root>;

/** A client's lease of a root: it outlives the connection and the daemon, and dies with the boot. */
export const Hold = z.object({ holdId: z.uuid(), rootId: z.string(), owner: z.string(), at: time });
export type Hold = z.infer<typeof Hold>;
