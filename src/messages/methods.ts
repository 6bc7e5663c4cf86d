/**
 * Every method of the protocol, as one table of zod schemas: the single source of the wire types and of the validation, both
 * ways. What the results are made of has a file of its own beside this one.
 *
 * Requests are strict (a typo is an error); results are what clients may rely on, and clients ignore fields they do not
 * know. Knows no WebSocket and no daemon: protocol/ and client/ both stand on it.
 */
import { z } from "zod";
import {
  DEFAULT_PAGE,
  MAX_GENERATIONS,
  MAX_HOLD_OWNER_BYTES,
  MAX_IMAGES_AT_ONCE,
  MAX_PAGE,
  MAX_WAIT_MS,
} from "../limits.js";
import { packCodecs } from "../oci/media-types.js";
import { Collection } from "./collection.js";
import { EventFilter, EventPosition } from "./events.js";
import { count, digest, jobId, linkMode, name, overlap, priority, scope, text, time } from "./fields.js";
import { Job, JobLogLine, JobState } from "./job.js";
import { Layer } from "./layer.js";
import { Plan } from "./plan.js";
import type { Scope } from "./protocol.js";
import { Hold, Root } from "./root.js";
import { StoreUsage, usage } from "./usage.js";
import { Verification } from "./verification.js";

const limit = z.number().int().min(1).max(MAX_PAGE).default(DEFAULT_PAGE);
const page = { limit, cursor: text(512).optional() };
const nextCursor = z.string().optional();

const installParams = {
  reference: text(8192),
  name: name.optional(),
  platform: text(128).optional(),
  overlap: overlap.optional(),
  link: linkMode.optional(),
};

const nameOrRoot = { name: name.optional(), rootId: text(128).optional() };
const hasOne = (params: { name?: unknown; rootId?: unknown }): boolean =>
  (params.name === undefined) !== (params.rootId === undefined);
const ONE_OF_BOTH = "give either name or rootId";
const byNameOrRoot = z.strictObject(nameOrRoot).refine(hasOne, ONE_OF_BOTH);

interface Method {
  readonly scope: Scope;
  readonly params: z.ZodType;
  readonly result: z.ZodType;
}

/** Who may call it, what it takes, what it answers. */
export const methods = {
  initialize: {
    scope: "read",
    params: z.strictObject({
      clientInfo: z.object({ name: text(256), version: text(64) }),
      protocolVersions: z.array(z.number().int()).min(1).max(16),
    }),
    result: z.object({
      protocolVersion: z.number().int(),
      serverInfo: z.object({ name: z.string(), version: z.string() }),
      instanceId: z.string(),
      epoch: z.string(),
      scope,
      capabilities: z.object({
        overlaps: z.array(overlap),
        links: z.array(linkMode),
        codecs: z.array(z.string()),
        sources: z.array(z.string()),
      }),
      limits: z.record(z.string(), z.number()),
    }),
  },
  "install/start": {
    scope: "full",
    params: z.strictObject({
      ...installParams,
      priority: priority.optional(),
      durable: z.boolean().optional(),
      detach: z.boolean().optional(),
      requestKey: text(256).optional(),
      workDoneToken: z.union([text(256), z.number().int()]).optional(),
    }),
    result: Job,
  },
  "install/plan": { scope: "read", params: z.strictObject(installParams), result: Plan },
  "install/get": { scope: "read", params: z.strictObject({ jobId }), result: Job },
  "install/wait": {
    scope: "read",
    params: z.strictObject({ jobId, timeoutMs: count.max(MAX_WAIT_MS).optional() }),
    result: Job,
  },
  "install/list": {
    scope: "read",
    /** Newest first; everything else that is listed comes oldest first. */
    params: z.strictObject({ state: JobState.optional(), limit, cursor: jobId.optional() }),
    result: z.object({ jobs: z.array(Job), nextCursor }),
  },
  "install/cancel": { scope: "full", params: z.strictObject({ jobId }), result: Job },
  "job/log": {
    scope: "read",
    params: z.strictObject({ jobId }),
    /** Oldest first; of more than a job ever has, the last. */
    result: z.object({ jobId: z.uuid(), lines: z.array(JobLogLine), omitted: count }),
  },
  "image/status": {
    scope: "read",
    params: z.strictObject({
      reference: installParams.reference,
      platform: installParams.platform,
      overlap: installParams.overlap,
    }),
    result: z.object({
      reference: z.string(),
      installed: z.boolean(),
      manifestDigest: digest.optional(),
      roots: z.array(Root),
      job: Job.optional(),
      resolvedAt: time.optional(),
    }),
  },
  "root/list": { scope: "read", params: z.strictObject(page), result: z.object({ roots: z.array(Root), nextCursor }) },
  "root/get": { scope: "read", params: byNameOrRoot, result: Root },
  "root/remove": {
    scope: "full",
    params: byNameOrRoot,
    /** The root as it was; `stays` says why it is not removed, and is absent where it is. */
    result: Root.extend({ stays: z.string().optional() }),
  },
  "root/pin": {
    scope: "full",
    params: z.strictObject({ ...nameOrRoot, pinned: z.boolean() }).refine(hasOne, ONE_OF_BOTH),
    result: Root,
  },
  "root/hold": {
    scope: "full",
    /** A `holdId` that the client chose, a UUID, finds the same hold again. */
    params: z
      .strictObject({ ...nameOrRoot, owner: text(MAX_HOLD_OWNER_BYTES).optional(), holdId: z.uuid().optional() })
      .refine(hasOne, ONE_OF_BOTH),
    result: Hold,
  },
  /** `released` is false where there is no such hold any more. */
  "root/release": {
    scope: "full",
    params: z.strictObject({ holdId: z.uuid() }),
    result: z.object({ released: z.boolean() }),
  },
  "root/rollback": {
    scope: "full",
    params: z.strictObject({ name, generation: z.number().int().positive().optional() }),
    /** The root that the name had, as it was, unless it is gone; and the one that it has now. */
    result: z.object({ had: Root.optional(), has: Root }),
  },
  "layer/list": {
    scope: "read",
    params: z.strictObject(page),
    result: z.object({ layers: z.array(Layer), nextCursor }),
  },
  "store/export": {
    scope: "full",
    params: z.strictObject({
      names: z.array(name).min(1).max(MAX_IMAGES_AT_ONCE),
      /** Absolute, of the oci-archive; `force` replaces what is there. */
      path: text(4096),
      codec: z.enum(packCodecs).optional(),
      force: z.boolean().optional(),
      workDoneToken: z.union([text(256), z.number().int()]).optional(),
    }),
    result: z.object({
      path: z.string(),
      bytes: count,
      images: z.array(
        z.object({
          name: z.string(),
          manifestDigest: digest,
          layers: z.array(z.object({ digest, diffId: digest, size: count })),
        }),
      ),
    }),
  },
  "store/import": {
    scope: "full",
    params: z.strictObject({ path: text(4096) }),
    /** One for each image, in the archive's order. */
    result: z.object({ jobs: z.array(Job) }),
  },
  "store/usage": { scope: "read", params: z.strictObject({}), result: StoreUsage },
  "store/verify": {
    scope: "full",
    params: z
      .strictObject({
        deep: z.boolean().optional(),
        repair: z.boolean().optional(),
        name: name.optional(),
        digest: text(200).optional(),
      })
      .refine((params) => params.name === undefined || params.digest === undefined, "give either name or digest"),
    result: Verification,
  },
  "store/gc": {
    scope: "full",
    params: z.strictObject({
      plan: z.boolean().optional(),
      /** Of layers that no root needs, the most recently used that fit; 0 where it is left out. */
      keepBytes: count.optional(),
      /** Generations of each name, the newest; the setting `keep_generations` where it is left out. */
      keepLast: z.number().int().min(1).max(MAX_GENERATIONS).optional(),
    }),
    result: Collection,
  },
  "events/subscribe": {
    scope: "read",
    params: z.strictObject({ since: EventPosition.optional(), filter: EventFilter.optional() }),
    result: z.object({
      subscriptionId: z.string(),
      epoch: z.string(),
      seq: count,
      /** As of `seq`. `nextCursor` where the store has more roots than one frame takes: for `root/list`, which gives the rest. */
      snapshot: z.object({ jobs: z.array(Job), roots: z.array(Root), nextCursor }).optional(),
      reset: z.boolean().optional(),
      filter: EventFilter.optional(),
    }),
  },
  "events/unsubscribe": {
    scope: "read",
    params: z.strictObject({ subscriptionId: text(64) }),
    result: z.object({}),
  },
  "server/status": {
    scope: "read",
    params: z.strictObject({}),
    result: z.object({
      version: z.string(),
      protocol: z.array(z.number().int()),
      instanceId: z.string(),
      epoch: z.string(),
      pid: count,
      stateDir: z.string(),
      startedAt: time,
      draining: z.boolean(),
      sessions: z.object({ full: count, read: count }),
      jobs: z.object({ queued: count, running: count, ready: count, failed: count, cancelled: count }),
      workers: z.object({ total: count, busy: count, queuedTasks: count }),
      store: z.object({
        layers: count,
        roots: count,
        names: count,
        /** In layers. */
        bytes: count,
        /** In total, as in `store/usage`. */
        ...z.object(usage).partial().shape,
        /** Layers whose next root is linked already. */
        spares: z.object({ layers: count, entries: count }).optional(),
      }),
      counters: z.object({ blobsRead: count, layersUnpacked: count, rootsLinked: count }),
      /** What verifications found that is not mended, as far as this daemon knows; absent: nothing. */
      findings: z.object({ total: count, at: time, deep: z.boolean().optional() }).optional(),
    }),
  },
  "server/drain": { scope: "full", params: z.strictObject({}), result: z.object({ draining: z.boolean() }) },
  /** An OpenRPC document (openrpc.ts). */
  "rpc.discover": {
    scope: "read",
    params: z.strictObject({}),
    result: z.looseObject({ openrpc: z.string(), methods: z.array(z.unknown()) }),
  },
} as const satisfies Record<string, Method>;

export type MethodName = keyof typeof methods;
export const isMethodName = (text: string): text is MethodName => Object.hasOwn(methods, text);
/** What a caller sends; fields with a default may be left out. */
export type Params<M extends MethodName> = z.input<(typeof methods)[M]["params"]>;
/** What a handler gets, after validation. */
export type ParsedParams<M extends MethodName> = z.output<(typeof methods)[M]["params"]>;
export type Result<M extends MethodName> = z.output<(typeof methods)[M]["result"]>;

export type InstallRequest = ParsedParams<"install/start">;
export type JobLog = Result<"job/log">;
export type ImageStatus = Result<"image/status">;
export type ServerStatus = Result<"server/status">;
