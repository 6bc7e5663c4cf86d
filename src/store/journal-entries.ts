/**
 * What may stand in the journal: one JSON object a line, told apart by its `kind`. Whoever journals something else adds a row to
 * `journalEntry`; nothing else has to know.
 *
 * A line begins with its kind, and with its job's id where it has one, so that who looks for others need not parse it. Lines
 * come from the disk: each is checked when it is read, and what an older or newer release wrote there may be missing.
 */
import { z } from "zod";
import { JobState } from "../messages/job.js";

const at = z.iso.datetime();
const count = z.number().int().nonnegative();
const ofJob = { jobId: z.uuid(), at };

/** A Job of the protocol as its daemon saw it last, checked no further until it is shown: ten thousand are read at each start. */
const jobRecord = z.looseObject({ reference: z.string(), state: JobState });
export type JobRecord = z.output<typeof jobRecord>;

const journalEntry = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("job.accepted"),
    ...ofJob,
    /** As it was asked for, without its key; what another release took may not parse any more. */
    request: z.record(z.string(), z.unknown()),
    requestKey: z.string().optional(),
  }),
  /** A later daemon took it up again. */
  z.object({ kind: z.literal("job.resumed"), ...ofJob }),
  z.object({ kind: z.literal("job.started"), ...ofJob }),
  z.object({ kind: z.literal("job.resolved"), ...ofJob, manifestDigest: z.string(), platform: z.string() }),
  /** Layers that came to their end since the line before. */
  z.object({
    kind: z.literal("job.layers"),
    ...ofJob,
    layers: z.array(
      z.object({
        index: count,
        digest: z.string(),
        /** `stored`: it was in the store; `joined`: another job unpacked it. */
        end: z.enum(["stored", "joined", "unpacked", "failed"]),
        from: z.string().optional(),
      }),
    ),
  }),
  z.object({ kind: z.literal("job.linked"), ...ofJob, rootFiles: count, bytes: count, copied: count }),
  z.object({ kind: z.literal("job.named"), ...ofJob, name: z.string(), generation: count, rootId: z.string() }),
  /** Nobody is interested in it any more: it ends as cancelled, also where the daemon dies before. */
  z.object({ kind: z.literal("job.cancelled"), ...ofJob }),
  /** The daemon stops: neither failed nor cancelled, the next one goes on with it. */
  z.object({ kind: z.literal("job.interrupted"), ...ofJob }),
  z.object({
    kind: z.literal("job.ended"),
    ...ofJob,
    state: JobState,
    /** Absent where it cannot be read: over it is all the same. */
    job: jobRecord.optional().catch(undefined),
  }),
  z.object({
    kind: z.literal("collection"),
    at,
    because: z.string(),
    removed: z.object({ layers: count, roots: count, blobs: count, bytes: count, inodes: count }),
  }),
  z.object({
    kind: z.literal("finding"),
    at,
    code: z.string(),
    layer: z.string().optional(),
    root: z.string().optional(),
    path: z.string().optional(),
    detail: z.string(),
    repaired: z.boolean(),
  }),
]);

export type JournalEntry = z.output<typeof journalEntry>;
export type JournalKind = JournalEntry["kind"];
export type EntryOf<Kind extends JournalKind> = Extract<JournalEntry, { kind: Kind }>;
/** An entry about a job. */
export type JobEntry = Extract<JournalEntry, { jobId: string }>;

export const isJobEntry = (entry: JournalEntry): entry is JobEntry => "jobId" in entry;

/** The entry as a line with its newline. */
export function lineOf(entry: JournalEntry): string {
  const { kind, at: time, ...rest } = entry;
  const ofItsJob = "jobId" in entry ? { jobId: entry.jobId } : {};
  return `${JSON.stringify({ kind, ...ofItsJob, at: time, ...rest })}\n`;
}

/** The entry of a line without its newline; undefined where it is damaged, or of a kind that this release does not know. */
export function parseLine(text: string): JournalEntry | undefined {
  try {
    return journalEntry.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

export interface LineHead {
  readonly kind: string;
  readonly jobId: string | undefined;
}

/** More than the longest head that `lineOf` writes. */
const HEAD_BYTES = 96;

/** What a line is about, without parsing it; undefined where it does not begin as `lineOf` writes. */
export function headOf(line: Buffer): LineHead | undefined {
  const head = /^\{"kind":"([a-z.]+)"(?:,"jobId":"([0-9a-f-]{36})")?/.exec(line.toString("latin1", 0, HEAD_BYTES));
  return head?.[1] === undefined ? undefined : { kind: head[1], jobId: head[2] };
}
