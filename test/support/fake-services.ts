/**
 * The daemon behind the protocol, in memory: jobs that change when a test says so, and counts of what was asked.
 */
import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { StrataError } from "../../src/errors.js";
import type { Job, JobLogLine } from "../../src/messages/job.js";
import type { Layer } from "../../src/messages/layer.js";
import type { InstallRequest, ParsedParams } from "../../src/messages/methods.js";
import type { Plan } from "../../src/messages/plan.js";
import type { Root } from "../../src/messages/root.js";
import type { Services } from "../../src/protocol/services.js";

const time = "2026-01-02T03:04:05.000Z";
const digest = `sha256:${"a".repeat(64)}`;
const holdId = "7b0cbb2c-54a5-4a4b-9d62-1b4d6c0f2e11";
const noneCollected = { roots: 0, layers: 0, blobs: 0, bytes: 0, inodes: 0 };

export const fakeRoot: Root = {
  rootId: "root-1",
  path: "/state/roots/root-1",
  manifestDigest: digest,
  overlap: "c",
  link: "hardlink",
  names: [{ name: "app", path: "/state/names/app", generation: 1 }],
  layers: [digest],
  bytes: 10,
  entries: 2,
  pinned: false,
  createdAt: time,
};

export const fakeLayer: Layer = {
  diffId: digest,
  digests: [digest],
  bytes: 10,
  entries: 2,
  topLevel: ["usr"],
  roots: ["root-1"],
  durable: false,
  createdAt: time,
  lastUsedAt: time,
};

export function fakeJob(request: Partial<InstallRequest> = {}, changes: Partial<Job> = {}): Job {
  return {
    jobId: randomUUID(),
    reference: request.reference ?? "oci:/images:app",
    platform: request.platform ?? "linux/amd64",
    overlap: request.overlap ?? "c",
    link: request.link ?? "hardlink",
    priority: request.priority ?? "normal",
    state: "queued",
    progress: { bytesDone: 0, bytesTotal: 0, layersDone: 0, layersTotal: 0, entriesDone: 0 },
    layers: [],
    durable: false,
    createdAt: time,
    updatedAt: time,
    ...changes,
  };
}

export const fakeLogLine: JobLogLine = { at: time, event: "accepted", message: "accepted: oci:/images:app", data: {} };

export function fakePlan(request: ParsedParams<"install/plan">): Plan {
  return {
    reference: request.reference,
    platform: request.platform ?? "linux/amd64",
    name: request.name ?? "app",
    overlap: request.overlap ?? "c",
    link: request.link ?? "hardlink",
    manifestDigest: digest,
    installed: false,
    toFetchBytes: 10,
    toWriteBytes: 30,
    toWriteInodes: 1,
    sharedBytes: 0,
    freeAfterBytes: -20,
    complete: false,
    layers: [{ digest, diffId: digest, size: 10, stored: false }],
    conflicts: [],
    conflictsTotal: 0,
  };
}

export class FakeServices implements Services {
  /** Emits `start`, `wait`, `orphan` and `observe` as they are asked. */
  readonly asked = new EventEmitter();
  readonly jobs = new Map<string, Job>();
  readonly requests: InstallRequest[] = [];
  readonly orphaned: string[] = [];
  readonly plans: ParsedParams<"install/plan">[] = [];
  /** What a plan waits for, and may fail with. */
  beforePlan: ((signal: AbortSignal) => Promise<void>) | undefined;
  drained = 0;
  /** What the next start is refused with. */
  refuseStart: StrataError | undefined;
  /** Replaces the job that the next start makes. */
  nextJob: Partial<Job> = {};
  readonly #byKey = new Map<string, string>();
  readonly #observers = new Map<string, Set<(job: Job) => void>>();

  /** Changes the job and tells those who observe it. */
  change(jobId: string, changes: Partial<Job>): Job {
    const job = { ...this.installs.get(jobId), ...changes };
    this.jobs.set(jobId, job);
    for (const tell of [...(this.#observers.get(jobId) ?? [])]) tell(job);
    return job;
  }

  finish(jobId: string, state: "ready" | "failed" | "cancelled" = "ready"): Job {
    return this.change(jobId, { state, finishedAt: time, linked: { files: 1, bytes: 1, copied: { count: 0 } } });
  }

  observers(jobId: string): number {
    return this.#observers.get(jobId)?.size ?? 0;
  }

  /** Waits until `what` was asked `count` times more. */
  async until(what: "start" | "wait" | "orphan" | "observe", count = 1): Promise<void> {
    for (let n = 0; n < count; n += 1) await once(this.asked, what);
  }

  readonly installs: Services["installs"] = {
    start: (request) => {
      this.requests.push(request);
      queueMicrotask(() => this.asked.emit("start"));
      const refusal = this.refuseStart;
      this.refuseStart = undefined;
      if (refusal !== undefined) throw refusal;
      const known = request.requestKey === undefined ? undefined : this.#byKey.get(request.requestKey);
      if (known !== undefined) return this.installs.get(known);
      const job = fakeJob(request, this.nextJob);
      this.jobs.set(job.jobId, job);
      if (request.requestKey !== undefined) this.#byKey.set(request.requestKey, job.jobId);
      return job;
    },
    knows: (requestKey) => requestKey !== undefined && this.#byKey.has(requestKey),
    get: (jobId) => {
      const job = this.jobs.get(jobId);
      if (job === undefined) throw new StrataError("UNKNOWN_JOB", `Cannot find job ${jobId}: there is none`);
      return job;
    },
    wait: (jobId, { signal }) => {
      const job = this.installs.get(jobId);
      queueMicrotask(() => this.asked.emit("wait"));
      if (job.state === "ready") return Promise.resolve(job);
      return new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve(this.installs.get(jobId)));
        this.installs.observe(jobId, (now) => now.state === "ready" && resolve(now));
      });
    },
    list: () => ({ items: [...this.jobs.values()], nextCursor: "more" }),
    accepted: async (jobId) => this.installs.get(jobId),
    cancel: async (jobId) => this.finish(jobId, "cancelled"),
    log: async (jobId) => ({ jobId: this.installs.get(jobId).jobId, lines: [fakeLogLine], omitted: 0 }),
    orphan: (sessionId) => {
      this.orphaned.push(sessionId);
      this.asked.emit("orphan");
    },
    observe: (jobId, listener) => {
      const observers = this.#observers.get(jobId) ?? new Set();
      this.#observers.set(jobId, observers.add(listener));
      queueMicrotask(() => this.asked.emit("observe"));
      return () => observers.delete(listener);
    },
    active: () => [...this.jobs.values()].filter(({ state }) => state === "queued" || state === "running"),
  };

  readonly images: Services["images"] = {
    status: ({ reference }) => ({ reference, installed: true, manifestDigest: digest, roots: [fakeRoot] }),
    plan: async (request, options) => {
      this.plans.push(request);
      await this.beforePlan?.(options.signal);
      return fakePlan(request);
    },
  };

  readonly roots: { -readonly [Asked in keyof Services["roots"]]: Services["roots"][Asked] } = {
    list: async () => ({ items: [fakeRoot] }),
    get: (selector) => {
      if (selector.name !== "app") throw new StrataError("UNKNOWN_NAME", "Cannot find the name: there is none");
      return fakeRoot;
    },
    remove: async () => fakeRoot,
    rollback: async () => ({ had: fakeRoot, has: fakeRoot }),
    pin: async ({ pinned }) => ({ ...fakeRoot, pinned }),
    hold: async ({ owner = "a client" }) => ({ holdId, rootId: fakeRoot.rootId, owner, at: time }),
    release: async (released) => released === holdId,
    snapshot: async () => ({ items: [fakeRoot] }),
  };

  readonly layers: Services["layers"] = { list: async () => ({ items: [fakeLayer] }) };

  readonly store: Services["store"] = {
    usage: async () => ({ apparentBytes: 10, uniqueBytes: 10, sharedBytes: 0, roots: [] }),
    verify: async () => ({
      checked: { layers: 1, roots: 1, documents: 0, entries: 0, bytes: 0 },
      findings: [],
      findingsTotal: 0,
    }),
    export: async ({ path }, { progress }) => {
      progress(5, 10);
      return { path, bytes: 10, images: [] };
    },
    import: async () => [],
    collect: async ({ plan = false }) => ({ plan, removed: noneCollected, stays: noneCollected, gone: [], kept: [] }),
  };

  readonly server: Services["server"] = {
    status: () => ({
      version: "0.0.0",
      pid: 1,
      stateDir: "/state",
      startedAt: time,
      draining: false,
      jobs: { queued: 0, running: 0, ready: 0, failed: 0, cancelled: 0 },
      workers: { total: 2, busy: 0, queuedTasks: 0 },
      store: { layers: 1, roots: 1, names: 1, bytes: 10 },
      counters: { blobsRead: 0, layersUnpacked: 0, rootsLinked: 0 },
    }),
    drain: () => {
      this.drained += 1;
    },
  };
}
