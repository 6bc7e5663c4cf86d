/** What daemons before have written about jobs that are over: a history as long as one likes, in segments of the journal. */
import { randomUUID } from "node:crypto";
import { appendFileSync, mkdirSync } from "node:fs";
import { JOURNAL_SEGMENT_BYTES } from "../../src/limits.js";
import type { Job } from "../../src/messages/job.js";
import { type JournalEntry, lineOf } from "../../src/store/journal-entries.js";
import { StoreLayout } from "../../src/store/layout.js";

const LAYERS = 5;
const digest = `sha256:${"a".repeat(64)}`;

/** So many jobs, the oldest first, that ended in this moment. */
export function* pastJobs(count: number): Generator<JournalEntry> {
  const at = new Date().toISOString();
  for (let n = 0; n < count; n += 1) {
    const job = pastJob(randomUUID(), n, at);
    const { jobId, reference } = job;
    yield { kind: "job.accepted", jobId, at, request: { reference } };
    yield { kind: "job.started", jobId, at };
    yield { kind: "job.resolved", jobId, at, manifestDigest: digest, platform: job.platform };
    yield { kind: "job.named", jobId, at, name: `app-${n}`, generation: n, rootId: "root-1" };
    yield { kind: "job.ended", jobId, at, state: "ready", job };
  }
}

/** Into a state directory that no daemon has seen yet. */
export function writePastJobs(state: string, count: number): void {
  const layout = new StoreLayout(state);
  mkdirSync(layout.journal, { recursive: true });
  let [segment, bytes] = [1, 0];
  for (const entry of pastJobs(count)) {
    const line = lineOf(entry);
    appendFileSync(layout.journalSegment(segment), line);
    bytes += line.length;
    if (bytes < JOURNAL_SEGMENT_BYTES) continue;
    segment += 1;
    bytes = 0;
  }
}

function pastJob(jobId: string, n: number, at: string): Job {
  const layer = { digest, diffId: digest, mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", size: 1000 };
  return {
    jobId,
    reference: `docker://registry.example/app-${n}:latest`,
    platform: "linux/amd64",
    overlap: "c",
    link: "hardlink",
    priority: "normal",
    state: "ready",
    manifestDigest: digest,
    root: { rootId: "root-1", path: "/state/roots/root-1/tree" },
    name: { name: `app-${n}`, path: `/state/names/app-${n}`, generation: n },
    progress: {
      bytesDone: LAYERS * 1000,
      bytesTotal: LAYERS * 1000,
      layersDone: LAYERS,
      layersTotal: LAYERS,
      entriesDone: 0,
    },
    layers: Array.from(
      { length: LAYERS },
      () => ({ ...layer, state: "stored", reused: true, bytesDone: 1000 }) as const,
    ),
    durable: true,
    createdAt: at,
    updatedAt: at,
    finishedAt: at,
  };
}
