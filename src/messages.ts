/**
 * Every frame that crosses the socket, as zod schemas: the single source of the wire types and of the validation, both ways.
 *
 * Requests are strict (a typo is an error); results are what clients may rely on, and clients ignore fields they do not
 * know. Knows no WebSocket and no daemon: protocol/ and client/ both stand on it.
 */
import { z } from "zod";
import { errorCodes } from "./errors.js";
import { findingCodes } from "./findings.js";
import {
  DEFAULT_PAGE,
  MAX_GENERATIONS,
  MAX_HOLD_OWNER_BYTES,
  MAX_IMAGES_AT_ONCE,
  MAX_PAGE,
  MAX_WAIT_MS,
} from "./limits.js";

export const PROTOCOL_VERSION = 1;
export const SUBPROTOCOL = "stratad.v1";
export const PROTOCOL_PATH = "/v1";

const text = (max: number) => z.string().min(1).max(max);
const count = z.number().int().nonnegative();
const digest = z.string().max(200);
const time = z.iso.datetime();

export const Overlap = z.enum(["c", "b", "a"]);
export type Overlap = z.infer<typeof Overlap>;
export const LinkMode = z.enum(["hardlink", "reflink", "copy", "symlink"]);
export type LinkMode = z.infer<typeof LinkMode>;
export const Priority = z.enum(["interactive", "normal", "background"]);
export type Priority = z.infer<typeof Priority>;
export const Scope = z.enum(["read", "full"]);
export type Scope = z.infer<typeof Scope>;
export const JobState = z.enum(["queued", "running", "ready", "failed", "cancelled"]);
export type JobState = z.infer<typeof JobState>;
export const Phase = z.enum(["resolve", "fetch", "unpack", "link", "commit"]);
export type Phase = z.infer<typeof Phase>;

export const WireErrorSchema = z.object({
  code: z.enum(errorCodes),
  message: z.string(),
  retryable: z.boolean(),
  retryAfterMs: count.optional(),
  phase: z.string().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
  hint: z.string().optional(),
  exitCode: z.number().int(),
});

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
  overlap: Overlap,
  link: LinkMode,
  priority: Priority,
  state: JobState,
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
  overlap: Overlap,
  link: LinkMode,
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
  createdAt: time,
});
export type Root = z.infer<typeof Root>;

export const Layer = z.object({
  diffId: digest,
  digests: z.array(digest),
  bytes: count,
  /** What linking its files into more than one root saves. */
  sharedBytes: count.optional(),
  entries: count,
  topLevel: z.array(z.string()),
  roots: z.array(z.string()),
  durable: z.boolean(),
  createdAt: time,
  lastUsedAt: time,
});
export type Layer = z.infer<typeof Layer>;

/** Bytes of file content; what each means for a root and for the whole store stands in store/usage.ts and in the README. */
const usage = { apparentBytes: count, uniqueBytes: count, sharedBytes: count };

export const StoreUsage = z.object({
  ...usage,
  roots: z.array(
    z.object({ rootId: z.string(), names: z.array(z.string()), overlap: Overlap, link: LinkMode, ...usage }),
  ),
});
export type StoreUsage = z.infer<typeof StoreUsage>;

const amount = { bytes: count, inodes: count };

/** Something that a collection took or left. */
export const CollectedItem = z.object({
  kind: z.enum(["root", "layer", "blob"]),
  /** A rootId, a diffID, or the digest of a manifest or config. */
  id: z.string(),
  /** What its removal gives back, or would, while everything else stays. */
  ...amount,
  because: z.string(),
});
export type CollectedItem = z.infer<typeof CollectedItem>;

const collectedTotals = z.object({ roots: count, layers: count, blobs: count, ...amount });

/** What a collection removed, or would remove where it is only a plan; and what stays. */
export const Collection = z.object({
  plan: z.boolean(),
  removed: collectedTotals,
  stays: collectedTotals,
  /** The first of each, roots before layers before blobs. */
  gone: z.array(CollectedItem),
  kept: z.array(CollectedItem),
});
export type Collection = z.infer<typeof Collection>;

/** A client's lease of a root: it outlives the connection and the daemon, and dies with the boot. */
export const Hold = z.object({ holdId: z.uuid(), rootId: z.string(), owner: z.string(), at: time });
export type Hold = z.infer<typeof Hold>;

/** A path that the policy lets only one of its sides have, escaped; a side has a path of its own where that is another. */
export const Conflict = z.object({
  path: z.string(),
  sides: z.array(z.object({ layer: count, digest, type: z.string(), path: z.string().optional() })),
});
export type Conflict = z.infer<typeof Conflict>;

/** What an install would do. Where it would fail with conflicts, no root is reckoned. */
export const Plan = z.object({
  reference: z.string(),
  platform: z.string(),
  name: z.string(),
  overlap: Overlap,
  link: LinkMode,
  manifestDigest: digest,
  /** The root stands already: an install would only point the name at it. */
  installed: z.boolean(),
  /** Blobs that the store lacks and that come over the network; what a layout or an archive has is read, not fetched. */
  toFetchBytes: count,
  /** Contents of files that are written: of layers that the store lacks, and of the root's own copies, however little a reflink takes. */
  toWriteBytes: count,
  /** Files, directories and symlinks that are made: of layers that the store lacks, and the root's own. */
  toWriteInodes: count,
  /** Contents of the root's files that stand in the store already, and are linked from there. */
  sharedBytes: count,
  /** What others may write after that; below 0 it does not fit. */
  freeAfterBytes: z.number().int(),
  /** Every layer is stored, so all of this is exact. Else `toWrite…` is estimated, and there may be more conflicts. */
  complete: z.boolean(),
  layers: z.array(z.object({ digest, diffId: digest.optional(), size: count, stored: z.boolean() })),
  /** The first of those that are known, and how many are. */
  conflicts: z.array(Conflict),
  conflictsTotal: count,
  /** Policies that are proven to accept the image where this one does not. */
  hints: z.array(z.string()).optional(),
  /** As a job's. */
  notes: z.array(z.string()).optional(),
});
export type Plan = z.infer<typeof Plan>;

/** Something in the store that is not as it was made. */
export const Finding = z.object({
  code: z.enum(findingCodes),
  layer: digest.optional(),
  root: z.string().optional(),
  /** Below the layer's or the root's tree, or one of its documents; without either, below the state directory. Escaped. */
  path: z.string(),
  detail: z.string(),
  /** The roots that show a damaged file of a layer; `names` are those whose current generation it is. */
  roots: z.array(z.object({ rootId: z.string(), names: z.array(z.string()) })).optional(),
  /** Why it could not be repaired, where that was asked for. */
  unrepaired: z.string().optional(),
});
export type Finding = z.infer<typeof Finding>;

export const Verification = z.object({
  /** What was looked at; bytes are contents that were read. */
  checked: z.object({ layers: count, roots: count, documents: count, entries: count, bytes: count }),
  /** What is left, the first of it, and how much there is. */
  findings: z.array(Finding),
  findingsTotal: count,
  /** What was found and mended; only where that was asked for. */
  repaired: z.array(Finding).optional(),
  repairedTotal: count.optional(),
});
export type Verification = z.infer<typeof Verification>;

const jobId = z.uuid();
const name = text(128);
const page = { limit: z.number().int().min(1).max(MAX_PAGE).default(DEFAULT_PAGE), cursor: text(512).optional() };
const nextCursor = z.string().optional();

const installParams = {
  reference: text(8192),
  name: name.optional(),
  platform: text(128).optional(),
  overlap: Overlap.optional(),
  link: LinkMode.optional(),
};

export const EventFilter = z.strictObject({
  jobIds: z.array(jobId).max(256).optional(),
  names: z.array(name).max(256).optional(),
  types: z.array(text(64)).max(64).optional(),
});
export type EventFilter = z.infer<typeof EventFilter>;

const EventPosition = z.strictObject({ epoch: text(64), seq: count });
export type EventPosition = z.infer<typeof EventPosition>;

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

/** Every method of the protocol: who may call it, what it takes, what it answers. */
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
      scope: Scope,
      capabilities: z.object({
        overlaps: z.array(Overlap),
        links: z.array(LinkMode),
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
      priority: Priority.optional(),
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
    params: z.strictObject({ state: JobState.optional(), ...page }),
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
    /** The root as it was; `stays` says why it is not removed with its name. */
    result: Root.extend({ stays: z.string().optional() }),
  },
  "root/pin": {
    scope: "full",
    params: z.strictObject({ ...nameOrRoot, pinned: z.boolean() }).refine(hasOne, ONE_OF_BOTH),
    result: Root,
  },
  "root/hold": {
    scope: "full",
    params: z.strictObject({ ...nameOrRoot, owner: text(MAX_HOLD_OWNER_BYTES).optional() }).refine(hasOne, ONE_OF_BOTH),
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
      codec: z.enum(["gzip", "none"]).optional(),
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
      snapshot: z.object({ jobs: z.array(Job), roots: z.array(Root) }).optional(),
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
      }),
      counters: z.object({ blobsRead: count, layersUnpacked: count, rootsLinked: count }),
      /** What verifications found that is not mended, as far as this daemon knows; absent: nothing. */
      findings: z.object({ total: count, at: time }).optional(),
    }),
  },
  "server/drain": { scope: "full", params: z.strictObject({}), result: z.object({ draining: z.boolean() }) },
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

const requestId = z.union([z.string().max(256), z.number()]);
export type RequestId = z.infer<typeof requestId>;

/** A request or a notification as it comes in; `params` are checked by their method. */
export const RequestFrame = z.strictObject({
  jsonrpc: z.literal("2.0"),
  id: requestId.optional(),
  method: z.string().max(64),
  params: z.record(z.string(), z.unknown()).optional(),
});
export type RequestFrame = z.infer<typeof RequestFrame>;

export const CancelRequestParams = z.strictObject({ id: requestId });

export const ResponseFrame = z.object({
  jsonrpc: z.literal("2.0"),
  id: requestId.nullable(),
  result: z.unknown().optional(),
  error: z.object({ code: z.number().int(), message: z.string(), data: WireErrorSchema }).optional(),
});
export type ResponseFrame = z.infer<typeof ResponseFrame>;

export const eventTypes = [
  "job.created",
  "job.phase",
  "job.layer",
  "job.ready",
  "job.failed",
  "job.cancelled",
  "job.durable",
  "name.changed",
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

/** What the daemon sends unasked. */
export const notifications = { event: EventParams, "$/progress": ProgressParams } as const;
export type NotificationName = keyof typeof notifications;

/** Something that happened, before a subscription is put on it. `name.changed` has the root's path in its data, and an update's `changes`. */
export interface DaemonEvent {
  readonly type: EventType;
  readonly jobId?: string;
  readonly name?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** daemon.json: where a daemon listens; what `stratad endpoint` prints. */
export const EndpointDocument = z.object({
  schema: z.literal(1),
  pid: count,
  pidStartTime: z.string(),
  bootId: z.string(),
  instanceId: z.string(),
  version: z.string(),
  protocol: z.array(z.number().int()),
  endpoints: z.array(
    z.object({
      kind: z.enum(["unix", "tcp"]),
      path: z.string().optional(),
      url: z.string().optional(),
      scope: Scope,
      tokenFile: z.string().optional(),
    }),
  ),
  stateDir: z.string(),
  /** Started by a command for its own state directory, and ends itself when idle. */
  background: z.boolean().optional(),
  startedAt: time,
});
export type EndpointDocument = z.infer<typeof EndpointDocument>;
