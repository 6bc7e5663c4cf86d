/** An install that somebody is interested in: how far it is, what came of it, and what happened to it. */
import { z } from "zod";
import { count, digest, linkMode, overlap, priority, time } from "./fields.js";
import { WireErrorSchema } from "./wire-error.js";

export const JobState = z.enum(["queued", "running", "ready", "failed", "cancelled"]);
export type JobState = z.infer<typeof JobState>;
export const Phase = z.enum(["resolve", "fetch", "unpack", "link", "commit"]);
export type Phase = z.infer<typeof Phase>;

export const JobLayer = z.object({
  digest,
  diffId: digest.optional(),
  mediaType: z.string(),
  size: count,
  state: z.enum(["waiting", "fetching", "unpacking", "stored", "failed"]),
  /** True where the layer was in the store, or another job was unpacking it. */
  reused: z.boolean(),
  /** Compressed bytes read so far, at most `size`. */
  bytesDone: count,
  servedBy: z.string().optional(),
});
export type JobLayer = z.infer<typeof JobLayer>;

export const Progress = z.object({
  bytesDone: count,
  bytesTotal: count,
  layersDone: count,
  layersTotal: count,
  entriesDone: count,
  etaMs: count.optional(),
  limiting: z.enum(["network", "cpu", "disk", "queue", "registry"]).optional(),
});
export type Progress = z.infer<typeof Progress>;

/** Names at the image root that an update added, changed and removed: the first of each kind, escaped, and how many there are. */
export const Changes = z.object({
  added: z.array(z.string()),
  changed: z.array(z.string()),
  removed: z.array(z.string()),
  total: z.object({ added: count, changed: count, removed: count }),
});
export type Changes = z.infer<typeof Changes>;

export const Job = z.object({
  jobId: z.uuid(),
  reference: z.string(),
  platform: z.string(),
  overlap,
  link: linkMode,
  priority,
  state: JobState,
  /** It was cancelled, and is over when its work has ended. */
  stopping: z.boolean().optional(),
  phase: Phase.optional(),
  manifestDigest: digest.optional(),
  root: z.object({ rootId: z.string(), path: z.string() }).optional(),
  name: z.object({ name: z.string(), path: z.string(), generation: count }).optional(),
  progress: Progress,
  layers: z.array(JobLayer),
  linked: z
    .object({
      files: count,
      bytes: count,
      copied: z.object({ count, because: z.string().optional() }),
      /** Names of which a layer's placement left nothing. */
      dropped: count.optional(),
    })
    .optional(),
  /** How the root differs from the one that the name had; only where it had another. */
  changes: Changes.optional(),
  durable: z.boolean(),
  /** What a person should know though nothing failed, e.g. that the config names another platform. */
  notes: z.array(z.string()).optional(),
  createdAt: time,
  updatedAt: time,
  finishedAt: time.optional(),
  timings: z
    .object({ resolveMs: z.number(), fetchMs: z.number(), unpackMs: z.number(), linkMs: z.number() })
    .partial()
    .optional(),
  error: WireErrorSchema.optional(),
});
export type Job = z.infer<typeof Job>;

/** Something that happened to a job, as the journal has it. */
export const JobLogLine = z.object({
  at: time,
  /** `accepted`, `started`, `resolved`, `layers`, `linked`, `named`, `ended`, …: more may come. */
  event: z.string(),
  /** For a person; escaped. */
  message: z.string(),
  data: z.record(z.string(), z.unknown()),
});
export type JobLogLine = z.infer<typeof JobLogLine>;
