/** What the daemon sends unasked: events to a subscription, and the progress of a request that gave a token. */
import { z } from "zod";
import { EventParams } from "./events.js";
import { Job } from "./job.js";

export const ProgressParams = z.object({
  token: z.union([z.string(), z.number().int()]),
  value: z.object({
    kind: z.enum(["begin", "report", "end"]),
    title: z.string().optional(),
    cancellable: z.boolean().optional(),
    message: z.string().optional(),
    percentage: z.number().min(0).max(100).optional(),
    job: Job.optional(),
  }),
});
export type ProgressParams = z.infer<typeof ProgressParams>;

export const notifications = { event: EventParams, "$/progress": ProgressParams } as const;
