/**
 * The composition root: builds the parts of the daemon in order, hands each what it needs, and stops them in reverse.
 *
 * Owns what the daemon does at the turns of its life (ready, draining, idle) and nothing else. What installs, collects and verifies is
 * built by parts.ts.
 */

import { randomUUID } from "node:crypto";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { linkModes } from "./choices.js";
import type { Config } from "./config.js";
import type { Daemon } from "./daemon.js";
import { announce, endpointsOf, listenersOf, makeTokens } from "./endpoints.js";
import { ensureDirectories } from "./ensure-directory.js";
import { type ActivatedSocket, takeActivatedSockets } from "./host/activation.js";
import { refuseAnnounced, removeEndpointFile } from "./host/endpoint-file.js";
import { ownIdentity } from "./host/identity.js";
import { prepareRuntimeDir } from "./host/paths.js";
import { createReadiness, type Readiness } from "./host/readiness.js";
import type { Jobs } from "./install/jobs.js";
import type { Life } from "./life.js";
import { STOP_SYNC_TIMEOUT_MS } from "./limits.js";
import type { Log } from "./log.js";
import type { EndpointDocument } from "./messages/endpoint.js";
import { codecs } from "./oci/media-types.js";
import type { Once } from "./once.js";
import { buildParts, type Surroundings } from "./parts.js";
import type { Pool } from "./pool.js";
import { EventHub } from "./protocol/events.js";
import { type ProtocolServer, type StartServerOptions, startServer } from "./protocol/server.js";
import { servicesOf } from "./services.js";
import { Journal } from "./store/journal.js";
import { MemoUpkeep } from "./store/memo-upkeep.js";
import type { Store } from "./store/store.js";
import { scanWorkers, storeOnPool } from "./store-on-pool.js";
import { ownVersion } from "./version.js";
import { watchIdle, watchState } from "./watches.js";
import { UPKEEP_WEIGHT } from "./weights.js";
import type { Works } from "./works.js";

/** What there is before anything stands on it. */
export interface Ground {
  readonly config: Config;
  /** In the state directory, which is locked. */
  readonly pool: Pool;
  readonly life: Life;
  readonly log: Log;
}

/** What needs an end has it in `life`, also where this throws. */
export async function compose(ground: Ground): Promise<Daemon> {
  const { config, pool, life, log } = ground;
  const sockets = takeActivatedSockets(process.env);
  const readiness = createReadiness({ env: process.env, log });
  const instance = {
    identity: await ownIdentity(),
    version: await ownVersion(),
    startedAt: new Date().toISOString(),
    instanceId: randomUUID(),
  };
  const { instanceId, version, startedAt } = instance;
  await prepareRuntimeDir(config.runtimeDir, process.getuid?.() ?? 0);
  await refuseAnnounced(config.runtimeDir, instance.identity);
  const state = await openState(ground, instance.identity.bootId);
  const events = new EventHub({ epoch: instanceId, log });
  life.onEnd("events", () => events.close());
  const emit = events.publish.bind(events);
  const parts = await buildParts(config, { ...state, pool, version, emit, life, log });
  const { store, jobs, works } = parts;

  const drain = (): void =>
    life.drain(async () => {
      await stopUpkeep(works);
      await drainJobs(jobs, config.drainTimeoutMs, log);
    });
  const { stateDir } = config;
  const services = servicesOf(parts, { version, stateDir, startedAt, isDraining: () => life.draining, drain });
  const { server, endpoints } = await serve(config, sockets, {
    services,
    events,
    instanceId,
    version,
    capabilities: {
      overlaps: [...config.allowedOverlaps],
      links: linkModes.filter((link) => link !== "reflink" || store.canReflink),
      codecs: [...codecs],
      sources: ["docker", "oci", "oci-archive", "docker-archive"],
    },
    log,
  });
  life.onEnd("server", () => server.close());
  jobs.resume();
  life.beforeEnd(() => emit({ type: "server.draining", data: {} }));

  const background = config.idleExitMs !== undefined && !readiness.isManaged;
  await announce(config, { ...instance, endpoints, background });
  life.onEnd("endpoint file", () => removeEndpointFile(config.runtimeDir, instanceId));
  life.onEnd("readiness", async () => void (await readiness.notify("STOPPING=1")));
  life.onEnd("watchdog", readiness.startWatchdog());
  life.onEnd(
    "idle watch",
    watchIdle(config.idleExitMs, { idleMs: () => server.idleMs(), isBusy: () => jobs.activeCount > 0 }, drain),
  );
  const lost = (): void => {
    log.error("state.lost", { stateDir });
    jobs.cancelAll();
    drain();
  };
  life.onEnd("state watch", await watchState(store.layout.lock, lost));
  life.onEnd("upkeep", () => stopUpkeep(works));
  await tellReady(readiness, log, { version, endpoints });
  // What the first install needs, and no answer before it.
  const threads = Array.from({ length: Math.min(WARM_THREADS, pool.threads) }, () => pool.run("warm", {}));
  const warm = Promise.all(threads).catch((error: unknown) => log.warn("pool.cold", { error }));
  life.onEnd("warming", async () => void (await warm));
  // Behind the threads, which start by themselves: to load all of it holds the main thread (40 ms of Node 24), and somebody may be asking.
  warm
    .then(() => works.get())
    .then(({ scrubber }) => (life.draining ? undefined : scrubber?.start()))
    .catch((error: unknown) => log.warn("works.missing", { error }));
  const loading = setTimeout(() => {
    loadTransports().catch((error: unknown) => log.warn("transports.missing", { error }));
  }, LOAD_TRANSPORTS_AFTER_MS);
  life.onEnd("loading", () => clearTimeout(loading));
  return { stopped: life.stopped, drain };
}

async function loadTransports(): Promise<void> {
  await (await import("./sources/open.js")).loadTransports();
}

/** One unpacks a layer, two link a root. */
const WARM_THREADS = 2;

/** The first requests come before it. */
const LOAD_TRANSPORTS_AFTER_MS = 2000;

/** What stands in the state directory. */
async function openState(
  { config, pool, life, log }: Ground,
  bootId: string,
): Promise<Pick<Surroundings, "store" | "journal">> {
  const store = storeOnPool(config.stateDir, { bootId, dedup: config.dedup, pool, log });
  await store.open();
  life.onEnd("store", () => settleStore(store, log));
  life.onEnd("spares", () => store.spares.settled());
  const upkeep = new MemoUpkeep({ store, workers: scanWorkers(pool, UPKEEP_WEIGHT), log });
  upkeep.start();
  life.onEnd("memos", () => upkeep.stop());
  const journal = new Journal(store.layout, { log });
  await journal.open();
  life.onEnd("journal", () => journal.close());
  return { store, journal };
}

/** Listens where the configuration and systemd say, and knows how others reach it there. */
async function serve(
  config: Config,
  sockets: readonly ActivatedSocket[],
  options: Omit<StartServerOptions, "listeners" | "access">,
): Promise<{ server: ProtocolServer; endpoints: EndpointDocument["endpoints"] }> {
  await ensureDirectories(dirname(config.socket), 0o700);
  const { tokens, files: tokenFiles } = await makeTokens(config);
  const listeners = listenersOf(config, sockets, tokens);
  const access = { allowedOrigins: config.allowedOrigins };
  const server = await startServer({ ...options, listeners, access });
  return { server, endpoints: endpointsOf(config, { sockets, endpoints: server.endpoints, tokenFiles }) };
}

/** As much as a stop has time for: what is not on the disk by then is only compared once more than needed, after a power cut. */
async function settleStore(store: Store, log: Log): Promise<void> {
  const synced = store.makeDurable().catch((error: unknown) => log.warn("sync.failed", { error }));
  await Promise.race([synced, delay(STOP_SYNC_TIMEOUT_MS, undefined, { ref: false })]);
  await store.layers.flush();
}

async function drainJobs(jobs: Jobs, timeoutMs: number, log: Log): Promise<void> {
  const timer = setTimeout(() => {
    log.warn("daemon.drain.timeout", { timeoutMs, jobs: jobs.activeCount });
    jobs.interrupt();
  }, timeoutMs);
  await jobs.drain().finally(() => clearTimeout(timer));
}

async function stopUpkeep(works: Once<Works>): Promise<void> {
  const made = await works.asked();
  await made?.scrubber?.stop();
  await made?.spares.stop();
}

async function tellReady(readiness: Readiness, log: Log, fields: Record<string, unknown>): Promise<void> {
  log.info("daemon.ready", { pid: process.pid, ...fields });
  await readiness.notify("READY=1");
}
