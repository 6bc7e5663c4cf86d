/**
 * The typed client of a stratad daemon, published as `stratad/client`.
 *
 * Every error is a StrataError; nothing here raises an unhandled rejection. Knows the protocol by messages/ only, and
 * nothing of the daemon's inside.
 *
 *     const client = await StratadClient.connect();
 *     for await (const job of client.install({ reference: "oci:/images:app" })) console.log(job.state, job.progress);
 *     await client.close();
 */
import { randomUUID } from "node:crypto";
import type { Job } from "../messages/job.js";
import type { ImageStatus, MethodName, Params, Result } from "../messages/methods.js";
import type { ProgressParams } from "../messages/notifications.js";
import type { RequestOptions } from "./connection.js";
import { Install, type InstallParams } from "./install.js";
import { type ConnectOptions, ReconnectingConnection, type ServerInfo } from "./reconnecting.js";
import { type SubscribeOptions, Subscription } from "./subscription.js";

export type { LinkMode, Overlap, Priority } from "../choices.js";
export { type ErrorCode, StrataError, type WireError } from "../errors.js";
export type { EndpointDocument } from "../messages/endpoint.js";
export type { DaemonEvent, EventFilter, EventParams, EventPosition, EventType } from "../messages/events.js";
export type { Changes, Job, JobLayer, JobLogLine, JobState, Phase, Progress } from "../messages/job.js";
export type { Layer } from "../messages/layer.js";
export type { ImageStatus, JobLog, MethodName, Params, Result, ServerStatus } from "../messages/methods.js";
export type { Plan } from "../messages/plan.js";
export type { Scope } from "../messages/protocol.js";
export type { NameGeneration, Root } from "../messages/root.js";
export type { StoreUsage } from "../messages/usage.js";
export { type Endpoint, type FindOptions, findEndpoints } from "./endpoint.js";
export type { Install, InstallParams } from "./install.js";
export type { ConnectOptions, ServerInfo } from "./reconnecting.js";
export type { StateItem, SubscribeOptions, Subscription, SubscriptionItem } from "./subscription.js";

export type StatusOptions = Omit<Params<"image/status">, "reference"> & { readonly signal?: AbortSignal | undefined };

export class StratadClient {
  readonly #connections: ReconnectingConnection;

  /**
   * Finds a daemon (option, STRATAD_ENDPOINT, the user's daemon.json, the system's), connects and agrees on the version.
   * Throws DAEMON_UNREACHABLE when nobody answers, NOT_ALLOWED, BUSY, UNSUPPORTED_VERSION, CONFIG_INVALID.
   */
  static async connect(options: ConnectOptions = {}): Promise<StratadClient> {
    const connections = new ReconnectingConnection(options);
    await connections.open();
    return new StratadClient(connections);
  }

  private constructor(connections: ReconnectingConnection) {
    this.#connections = connections;
  }

  /** What the daemon said of itself when it was last connected. */
  get server(): ServerInfo {
    return this.#connections.server;
  }

  /**
   * One request, which waits for a lost connection to come back. Lost under way it is asked again where that does no more than asking
   * once; else DAEMON_UNREACHABLE: the daemon may have done it, or not.
   */
  request<M extends MethodName>(
    method: M,
    params: Params<M>,
    options: Pick<RequestOptions<M>, "signal"> = {},
  ): Promise<Result<M>> {
    const mayRepeat = async (times: number) => times < MAX_REPEATS && (await isRepeatable(method, params));
    return this.#connections.repeat(method, params, { ...options, mayRepeat });
  }

  /** One request that tells how far it is until it is answered. */
  async follow<M extends "store/export">(
    method: M,
    params: Params<M>,
    show: (value: ProgressParams["value"]) => void,
    options: Pick<RequestOptions<M>, "signal"> = {},
  ): Promise<Result<M>> {
    const connection = await this.#connections.connection();
    const token = randomUUID();
    const stop = connection.onProgress(token, show);
    try {
      return await connection.request(method, { ...params, workDoneToken: token }, options);
    } finally {
      stop();
    }
  }

  /** The job when it is over, or as it stands after `timeoutMs`; over lost connections and restarts of the daemon too. UNKNOWN_JOB. */
  wait(
    jobId: string,
    { signal, timeoutMs }: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
  ): Promise<Job> {
    return this.#connections.repeat("install/wait", { jobId, timeoutMs }, { signal });
  }

  /** Starts an install and follows it, over lost connections too. */
  install(params: InstallParams, { signal }: { signal?: AbortSignal } = {}): Install {
    return new Install(this.#connections, params, signal);
  }

  status(reference: string, { signal, ...query }: StatusOptions = {}): Promise<ImageStatus> {
    return this.request("image/status", { reference, ...query }, { signal });
  }

  /** One reader for each subscription; leaving its loop closes it. */
  subscribe(options: SubscribeOptions = {}): Subscription {
    return new Subscription(this.#connections, options);
  }

  /** Ends the connection and all that waits for it; jobs go on. Answers when the socket is gone. */
  close(): Promise<void> {
    return this.#connections.close();
  }
}

/** A request that takes the daemon down each time is not asked for ever. */
const MAX_REPEATS = 3;

/** What belongs to one connection, though it only reads. */
const OF_A_CONNECTION: ReadonlySet<MethodName> = new Set(["initialize", "events/subscribe", "events/unsubscribe"]);

/**
 * A start finds its job again by its key, and a hold by its id; a cancelled job and a pin are what they are. A removal may meet what others
 * did in between.
 */
async function isRepeatable(method: MethodName, params: object): Promise<boolean> {
  const reads = await import("./checks.js").then(
    ({ onlyReads }) => onlyReads(method),
    () => false,
  );
  if (reads) return !OF_A_CONNECTION.has(method);
  if (method === "install/start") return "requestKey" in params && params.requestKey !== undefined;
  if (method === "root/hold") return "holdId" in params && params.holdId !== undefined;
  return method === "install/cancel" || method === "root/pin";
}
