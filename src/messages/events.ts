/** What a subscription tells, and what it is asked for: events, each at a position, and the filter. */
import { z } from "zod";
import { count, jobId, name, text, time } from "./fields.js";

/** Each with what its `data` says. Of a job have `jobId` and `name` beside that, and of a name `name`. */
export const events = {
  "job.created": "`job`",
  "job.phase": "`phase`: it has come to `resolve`, `unpack`, `link`, `commit`",
  "job.layer": "`index`, `layer`: one of its layers has another `state`",
  "job.ready": "`job`",
  "job.failed": "`job`, with its `error`",
  "job.cancelled": "`job`",
  "job.durable": "`job`: what it installed is on the disk",
  "name.changed": "`rootId`, `path`, `generation`, `changes?`: it leads to that root now",
  "name.removed": "`rootId`: what it led to",
  "root.changed": "`rootId`, `pinned`, `heldFor?`",
  "root.removed": "`rootId`",
  "store.collected": "`cause`, `removed`: what a collection removed",
  "store.findings": "`found`, `repaired`, `left`: what a verification found",
  "server.draining": "nothing: no install is taken any more",
  bookmark: "nothing: a place to resume from, though nothing matched the filter",
} as const;
export type EventType = keyof typeof events;
export const eventTypes = Object.keys(events) as [EventType, ...EventType[]];

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
