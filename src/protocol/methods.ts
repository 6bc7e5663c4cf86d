/**
 * What each method does, in terms of the daemon's services; params are checked before and results after.
 *
 * What a session holds besides its requests (subscriptions, work, progress tokens) ends with the session; its jobs do
 * not. Knows no frames and no sockets.
 */
import { StrataError } from "../errors.js";
import * as limits from "../limits.js";
import type { Log } from "../log.js";
import type { Job } from "../messages/job.js";
import type { InstallRequest, MethodName, ParsedParams, Result } from "../messages/methods.js";
import type { OpenRpcDocument } from "../messages/openrpc.js";
import { PROTOCOL_VERSION } from "../messages/protocol.js";
import { BytesProgress } from "./bytes-progress.js";
import { type Call, type Handlers, invalidParams, requestCancelled } from "./dispatcher.js";
import type { EventHub, Subscription } from "./events.js";
import { WorkDoneProgress } from "./progress.js";
import type { Services } from "./services.js";
import type { Session } from "./session.js";
import { WorkBudget } from "./work-budget.js";

export interface MethodsOptions {
  readonly services: Services;
  readonly events: EventHub;
  readonly instanceId: string;
  readonly version: string;
  /** What this daemon can do, for `initialize`. */
  readonly capabilities: Result<"initialize">["capabilities"];
  readonly sessions: () => Result<"server/status">["sessions"];
  readonly log: Log;
}

/** The bounds that a client meets, by the names that `initialize` gives them. */
const announcedLimits = {
  maxFrameBytes: limits.MAX_FRAME_BYTES,
  maxRequestsInFlight: limits.MAX_REQUESTS_IN_FLIGHT,
  maxSubscriptions: limits.MAX_SUBSCRIPTIONS,
  maxUnfinishedJobs: limits.MAX_RUNNING_JOBS_PER_SESSION + limits.MAX_QUEUED_JOBS_PER_SESSION,
  workRatePerSecond: limits.WORK_RATE_PER_SECOND,
  workBurst: limits.WORK_BURST,
  maxPage: limits.MAX_PAGE,
  maxWaitMs: limits.MAX_WAIT_MS,
};

/** One table serves all sessions. */
export function createHandlers(options: MethodsOptions): Handlers {
  const { services, events, instanceId, version } = options;
  const { installs, roots } = services;
  const { holdingsOf } = new HoldingsBySession(options);
  let described: OpenRpcDocument | undefined;
  return {
    initialize: ({ protocolVersions }, { session }) => {
      if (!protocolVersions.includes(PROTOCOL_VERSION)) throw unsupportedVersion(protocolVersions);
      return {
        protocolVersion: PROTOCOL_VERSION,
        serverInfo: { name: "stratad", version },
        instanceId,
        epoch: events.epoch,
        scope: session.scope,
        capabilities: options.capabilities,
        limits: announcedLimits,
      };
    },
    "install/start": (params, call) => startInstall(params, call, { options, held: holdingsOf(call.session) }),
    "install/plan": (request, { session, signal }) =>
      unlessCancelled("install/plan", signal, services.images.plan(request, { sessionId: session.id, signal })),
    "install/get": ({ jobId }) => installs.get(jobId),
    "install/wait": async ({ jobId, timeoutMs }, { session, signal }) => {
      // Who may not cancel a job cannot withdraw from it either: that would keep everybody else from cancelling it.
      const sessionId = session.scope === "full" ? session.id : undefined;
      const job = await installs.wait(jobId, { sessionId, timeoutMs, signal });
      if (signal.aborted) throw requestCancelled("install/wait");
      return job;
    },
    "install/list": (query) => {
      const { items, nextCursor } = installs.list(query);
      return { jobs: [...items], nextCursor };
    },
    "install/cancel": ({ jobId }, { session }) => installs.cancel(jobId, session.id),
    "job/log": async ({ jobId }, { signal }) => {
      try {
        return await installs.log(jobId, { signal });
      } catch (thrown) {
        throw signal.aborted ? requestCancelled("job/log") : thrown;
      }
    },
    "image/status": (query) => services.images.status(query),
    "root/list": async (page) => {
      const { items, nextCursor } = await roots.list(page);
      return { roots: [...items], nextCursor };
    },
    "root/get": (selector) => roots.get(selector),
    "root/remove": (selector) => roots.remove(selector),
    "root/rollback": (params) => roots.rollback(params),
    "root/pin": (params) => roots.pin(params),
    "root/hold": (params) => roots.hold(params),
    "root/release": async ({ holdId }) => ({ released: await roots.release(holdId) }),
    "layer/list": async (page) => {
      const { items, nextCursor } = await services.layers.list(page);
      return { layers: [...items], nextCursor };
    },
    "store/export": (params, call) => exportNames(params, call, services),
    "store/import": async (params, { session }) => ({
      jobs: [...(await services.store.import(params, session.id))],
    }),
    "store/usage": () => services.store.usage(),
    "store/verify": (params, { signal }) =>
      unlessCancelled("store/verify", signal, services.store.verify(params, signal)),
    "store/gc": (request, { signal }) => unlessCancelled("store/gc", signal, services.store.collect(request, signal)),
    "events/subscribe": async (params, call) => {
      const { subscriptions } = holdingsOf(call.session);
      if (subscriptions.size >= limits.MAX_SUBSCRIPTIONS) throw tooManySubscriptions();
      const { subscription, replayed, reset } = events.open(call.session, params);
      const { id: subscriptionId, seq } = subscription;
      subscriptions.set(subscriptionId, subscription);
      try {
        // The state of this moment: what happens from here on is an event behind `seq`.
        const snapshot = replayed ? undefined : await snapshotOf(services);
        if (call.signal.aborted) throw requestCancelled("events/subscribe");
        call.afterAnswer(() => subscription.start());
        return {
          subscriptionId,
          epoch: events.epoch,
          seq,
          ...(snapshot === undefined ? {} : { snapshot }),
          ...(reset ? { reset } : {}),
          ...(params.filter === undefined ? {} : { filter: params.filter }),
        };
      } catch (thrown) {
        subscriptions.delete(subscriptionId);
        throw thrown;
      }
    },
    "events/unsubscribe": ({ subscriptionId }, { session }) => {
      const { subscriptions } = holdingsOf(session);
      const subscription = subscriptions.get(subscriptionId);
      if (subscription === undefined)
        throw invalidParams("events/unsubscribe", ["the session has no such subscription"]);
      subscription.stop();
      subscriptions.delete(subscriptionId);
      return {};
    },
    "server/status": () => ({
      ...services.server.status(),
      protocol: [PROTOCOL_VERSION],
      instanceId,
      epoch: events.epoch,
      sessions: options.sessions(),
    }),
    "server/drain": () => {
      services.server.drain();
      return { draining: true };
    },
    "rpc.discover": async () => {
      // Only here: nobody else pays for loading it.
      const { openRpc } = await import("../messages/openrpc.js");
      described ??= openRpc(version);
      return { ...described };
    },
  };
}

async function snapshotOf({ installs, roots }: Services): Promise<Result<"events/subscribe">["snapshot"]> {
  const jobs = [...installs.active()];
  const { items, nextCursor } = await roots.snapshot();
  return { jobs, roots: [...items], nextCursor };
}

/** What ends with its request says so in its own words. */
async function unlessCancelled<Value>(method: MethodName, signal: AbortSignal, answer: Promise<Value>): Promise<Value> {
  try {
    return await answer;
  } catch (thrown) {
    throw signal.aborted ? requestCancelled(method) : thrown;
  }
}

/** What one session holds; created by its first need, and ended with it. */
interface Holdings {
  readonly subscriptions: Map<string, Subscription>;
  readonly work: WorkBudget;
  readonly progress: Map<string | number, () => void>;
}

class HoldingsBySession {
  readonly #bySession = new WeakMap<Session, Holdings>();
  readonly #options: MethodsOptions;

  constructor(options: MethodsOptions) {
    this.#options = options;
  }

  readonly holdingsOf = (session: Session): Holdings => {
    const known = this.#bySession.get(session);
    if (known !== undefined) return known;
    const { installs } = this.#options.services;
    const held: Holdings = {
      subscriptions: new Map(),
      work: new WorkBudget((jobId, listener) => installs.observe(jobId, listener)),
      progress: new Map(),
    };
    this.#bySession.set(session, held);
    session.onDrained(() => {
      for (const subscription of held.subscriptions.values()) subscription.pump();
    });
    session.onClosed(() => {
      for (const subscription of held.subscriptions.values()) subscription.stop();
      for (const stop of held.progress.values()) stop();
      held.work.close();
    });
    return held;
  };
}

async function exportNames(
  { workDoneToken: token, ...request }: ParsedParams<"store/export">,
  { session, signal }: Call,
  { store }: Services,
): Promise<Result<"store/export">> {
  const told = token === undefined ? undefined : new BytesProgress(token, "Export", session);
  let message = "failed";
  try {
    const answer = await store.export(request, { signal, progress: (done, total) => told?.update(done, total) });
    message = "ready";
    return answer;
  } catch (thrown) {
    throw signal.aborted ? requestCancelled("store/export") : thrown;
  } finally {
    told?.end(message);
  }
}

/** The work goes on beside the sync of its acceptance; only the answer waits for that. */
async function startInstall(
  params: InstallRequest,
  call: Call,
  { options, held }: { options: MethodsOptions; held: Holdings },
): Promise<Job> {
  const { workDoneToken: token, ...request } = params;
  if (token !== undefined && held.progress.has(token)) {
    throw invalidParams("install/start", ["workDoneToken: the session uses it for another install"]);
  }
  const { installs } = options.services;
  const isFound = installs.knows(request.requestKey);
  const job = held.work.spend(() => installs.start(request, call.session.id), isFound);
  if (token !== undefined) {
    const follow = () => followJob(job.jobId, token, { options, held, session: call.session });
    held.progress.set(token, () => undefined);
    call.afterAnswer(follow);
  }
  try {
    return await installs.accepted(job.jobId);
  } catch (thrown) {
    if (token !== undefined) held.progress.delete(token);
    throw thrown;
  }
}

function followJob(
  jobId: string,
  token: string | number,
  { options, held, session }: { options: MethodsOptions; held: Holdings; session: Session },
): void {
  const { installs } = options.services;
  const ended = () => held.progress.get(token)?.();
  const progress = new WorkDoneProgress({ token, receiver: session, log: options.log, ended });
  const stopObserving = installs.observe(jobId, (job) => progress.update(job));
  held.progress.set(token, () => {
    held.progress.delete(token);
    stopObserving();
    progress.stop();
  });
  progress.update(installs.get(jobId));
}

function unsupportedVersion(asked: readonly number[]): StrataError {
  const fact = `it speaks version ${PROTOCOL_VERSION}, the client ${asked.join(", ")}`;
  return new StrataError("UNSUPPORTED_VERSION", `Cannot agree on a protocol with the daemon: ${fact}`, {
    details: { supported: [PROTOCOL_VERSION] },
  });
}

function tooManySubscriptions(): StrataError {
  const fact = `the session has ${limits.MAX_SUBSCRIPTIONS} subscriptions`;
  return new StrataError("BUSY", `Cannot subscribe: ${fact}`, { retryAfterMs: 1000 });
}
