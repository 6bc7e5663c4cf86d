/** What a subscription tells, and what it is asked for: events, each at a position, and the filter. */
import { z } from "zod";
import { count, jobId, name, text, time } from "./fields.js";

export const eventTypes = [
  "job.created",
  "job.phase",
  "job.layer",
  "job.ready",
  "job.failed",
  "job.cancelled",
  "job.durable",
  "name.changed",
  "name.removed",
  "root.changed",
  "root.removed",
  "store.collected",
  "store.findings",
  "server.draining",
  "bookmark",
] as const;
export type EventType = (typeof eventTypes)[number];

export const EventParams = z.object({
  subscriptionId: z.string(),
  epoch: z.string(),
  seq: count,
  ts: time,
  type: z.enum(eventTypes),
  jobId: z.string().optional(),
  name: z.string().optional(),
  data: z.record(z.string(), z.unknown()),
});
export type EventParams = z.infer<typeof EventParams>;

/** Something that happened, before a subscription is put on it. `name.changed` has the name's path in its data, and an update's `changes`. */
export interface DaemonEvent {
  readonly type: EventType;
  readonly jobId?: string;
  readonly name?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export const EventFilter = z.strictObject({
  jobIds: z.array(jobId).max(256).optional(),
  names: z.array(name).max(256).optional(),
  types: z.array(z.enum(eventTypes)).max(64).optional(),
});
export type EventFilter = z.infer<typeof EventFilter>;

export const EventPosition = z.strictObject({ epoch: text(64), seq: count });
export type EventPosition = z.infer<typeof EventPosition>;
