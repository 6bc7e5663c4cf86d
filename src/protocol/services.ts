/**
 * What the protocol asks of the rest of the daemon, in the words of messages/. composition.ts hands it over; install/ and
 * store/ provide it without knowing that there is a protocol.
 */
import type { Collection } from "../messages/collection.js";
import type { Job, JobState } from "../messages/job.js";
import type { Layer } from "../messages/layer.js";
import type { ImageStatus, InstallRequest, JobLog, ParsedParams, Result, ServerStatus } from "../messages/methods.js";
import type { Plan } from "../messages/plan.js";
import type { Hold, Root } from "../messages/root.js";
import type { StoreUsage } from "../messages/usage.js";
import type { Verification } from "../messages/verification.js";

export interface PageParams {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

/** One page of a list; `nextCursor` is absent on the last. */
export interface Paged<Item> {
  readonly items: readonly Item[];
  readonly nextCursor?: string | undefined;
}

export type RootSelector = ParsedParams<"root/get">;

export interface Services {
  readonly installs: {
    /**
     * Makes the job, or finds the one with the same `requestKey`, and takes the session's interest in it. Throws
     * INVALID_REFERENCE, INVALID_NAME, INVALID_PARAMS, NOT_ALLOWED, BUSY, SHUTTING_DOWN. It is promised to nobody before
     * `accepted` resolves.
     */
    start(request: InstallRequest, sessionId: string): Job;
    /** Whether `start` would find a job by this key. */
    knows(requestKey: string | undefined): boolean;
    /** The job, when it survives a crash of the machine. NO_SPACE, STORE_IO, …: it does not, and has failed with that. */
    accepted(jobId: string): Promise<Job>;
    /** UNKNOWN_JOB. */
    get(jobId: string): Job;
    /** Takes the session's interest, if one is named; answers when the job is over, or as it stands after `timeoutMs` or on `signal`. */
    wait(
      jobId: string,
      options: { sessionId: string | undefined; timeoutMs?: number | undefined; signal: AbortSignal },
    ): Promise<Job>;
    list(query: PageParams & { state?: JobState | undefined }): Paged<Job>;
    /** Withdraws the session's and all orphaned interest. A job that is cancelled by that stays so, whatever happens to the daemon. */
    cancel(jobId: string, sessionId: string): Promise<Job>;
    /** What happened to it. UNKNOWN_JOB; CANCELLED on `signal`. */
    log(jobId: string, options: { signal: AbortSignal }): Promise<JobLog>;
    /** The session is closed: what it was interested in goes on, as orphaned interest. */
    orphan(sessionId: string): void;
    /** Calls with every change of the job, progress included (at most every PROGRESS_INTERVAL_MS), until told to stop. */
    observe(jobId: string, listener: (job: Job) => void): () => void;
    /** Jobs that are not over; for snapshots. */
    active(): readonly Job[];
  };
  readonly images: {
    status(query: ParsedParams<"image/status">): ImageStatus;
    /** Changes nothing. What `start` throws for a request, and the codes of resolving and planning; CANCELLED on `signal`. */
    plan(request: ParsedParams<"install/plan">, options: { sessionId: string; signal: AbortSignal }): Promise<Plan>;
  };
  readonly roots: {
    list(page: PageParams): Promise<Paged<Root>>;
    /** UNKNOWN_ROOT, UNKNOWN_NAME. */
    get(selector: RootSelector): Root;
    /** UNKNOWN_ROOT, UNKNOWN_NAME. */
    remove(selector: RootSelector): Promise<Result<"root/remove">>;
    /** UNKNOWN_NAME; UNKNOWN_ROOT where the name has no such generation, or its root is gone. */
    rollback(params: ParsedParams<"root/rollback">): Promise<Result<"root/rollback">>;
    /** UNKNOWN_NAME, UNKNOWN_ROOT, BUSY, STORE_CORRUPT. */
    pin(params: ParsedParams<"root/pin">): Promise<Root>;
    /** UNKNOWN_NAME, UNKNOWN_ROOT, INVALID_PARAMS, BUSY, STORE_CORRUPT. */
    hold(params: ParsedParams<"root/hold">): Promise<Hold>;
    /** False where there is no such hold any more. STORE_CORRUPT. */
    release(holdId: string): Promise<boolean>;
    /** As they stand when it is asked for, the oldest first, and as many as one frame takes: from `nextCursor` on there are more. */
    snapshot(): Promise<Paged<Root>>;
  };
  readonly layers: { list(page: PageParams): Promise<Paged<Layer>> };
  readonly store: {
    usage(): Promise<StoreUsage>;
    /** What is damaged, and with `repair` what of it is left. UNKNOWN_NAME, UNKNOWN_ROOT, UNKNOWN_LAYER; CANCELLED on `signal`. */
    verify(params: ParsedParams<"store/verify">, signal: AbortSignal): Promise<Verification>;
    /** Removes what nothing needs, or only says what that is. CANCELLED on `signal`, with nothing half removed. */
    collect(request: ParsedParams<"store/gc">, signal: AbortSignal): Promise<Collection>;
    /** UNKNOWN_NAME, UNKNOWN_ROOT, IMPORT_DENIED, INVALID_PARAMS, STORE_CORRUPT; ends on `signal`. `progress` comes a few times a second. */
    export(
      request: Omit<ParsedParams<"store/export">, "workDoneToken">,
      watch: { signal: AbortSignal; progress: (done: number, total: number) => void },
    ): Promise<Result<"store/export">>;
    /** Jobs of which the session is interested. IMPORT_DENIED, ARCHIVE_LAYOUT, LAYOUT_INVALID, and what `start` throws. */
    import(request: ParsedParams<"store/import">, sessionId: string): Promise<readonly Job[]>;
  };
  readonly server: {
    /** Everything but what the protocol itself knows. */
    status(): Omit<ServerStatus, "sessions" | "instanceId" | "epoch" | "protocol">;
    /** Takes no more installs, lets the running ones finish, then stops the daemon. */
    drain(): void;
  };
}
