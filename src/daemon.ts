/**
 * The composition root: builds the parts of the daemon in order, hands each what it needs, and stops them in reverse.
 *
 * Owns the daemon's life (ready, draining, idle, stopped) and nothing that it does.
 */
import { randomUUID } from "node:crypto";
import { mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "./config.js";
import { toStrataError } from "./errors.js";
import { Exporter } from "./export/exporter.js";
import { type ActivatedSocket, takeActivatedSockets } from "./host/activation.js";
import { removeEndpointFile, writeEndpointFile } from "./host/endpoint-file.js";
import { ownIdentity, type ProcessIdentity } from "./host/identity.js";
import { acquireLock, type Lock } from "./host/lock.js";
import { prepareRuntimeDir } from "./host/paths.js";
import { createReadiness, type Readiness } from "./host/readiness.js";
import { freeSpace, syncFileSystem } from "./host/space.js";
import { ImageInstaller } from "./install/image-installer.js";
import { imageStatus } from "./install/image-status.js";
import { Importer } from "./install/importer.js";
import { Installer } from "./install/installer.js";
import { JobJournal } from "./install/job-journal.js";
import { Jobs } from "./install/jobs.js";
import { LayerInstaller } from "./install/layer-installer.js";
import { Planner } from "./install/planner.js";
import { Repairer } from "./install/repairer.js";
import { LINK_WEIGHT, RootAssembler } from "./install/root-assembler.js";
import { RootComparer } from "./install/root-comparer.js";
import { Scrubber } from "./install/scrubber.js";
import { reserveOf, SpaceLedger } from "./install/space-ledger.js";
import { journalFindings, StoreVerification } from "./install/store-verification.js";
import { Verifier } from "./install/verifier.js";
import { Life } from "./life.js";
import { STOP_SYNC_TIMEOUT_MS } from "./limits.js";
import type { Log } from "./log.js";
import { type EndpointDocument, LinkMode, PROTOCOL_VERSION } from "./messages.js";
import type { DiffId } from "./oci/digest.js";
import { Pool } from "./pool.js";
import { EventHub } from "./protocol/events.js";
import type { Listener } from "./protocol/listen.js";
import { type ProtocolServer, startServer } from "./protocol/server.js";
import type { Services } from "./protocol/services.js";
import { createToken, type Tokens, writeTokenFile } from "./protocol/tokens.js";
import { userCredentials } from "./sources/registry/credentials.js";
import { FetchGate } from "./sources/registry/fetch-gate.js";
import { Catalog } from "./store/catalog.js";
import type { Amount } from "./store/collection.js";
import { Collector } from "./store/collector.js";
import { Journal } from "./store/journal.js";
import { StoreLayout } from "./store/layout.js";
import { Store } from "./store/store.js";
import { TaskProgress } from "./tasks.js";
import { ownVersion } from "./version.js";

export interface Daemon {
  /** Resolves when everything is stopped and released. */
  readonly stopped: Promise<void>;
  /** Takes no more installs, lets the running ones finish (at most drainTimeoutMs), then stops. */
  drain(): void;
}

/** Files and directories are made readable for others where they are roots, and never writable. */
const UMASK = 0o022;
const IDLE_CHECKS = 4;
const STATE_CHECK_MS = 2000;
/** Behind every unpack, however small. */
const COLLECT_WEIGHT = -1;

/** STORE_LOCKED, STORE_VERSION, STORE_NOT_WRITABLE, STORE_SPLIT_MOUNT, CONFIG_INVALID: with nothing left behind. */
export async function startDaemon(config: Config, log: Log): Promise<Daemon> {
  process.umask(UMASK);
  const life = new Life(log);
  try {
    return await compose(config, log, life);
  } catch (error) {
    await life.end();
    throw toStrataError(error, `Cannot start the daemon on ${config.stateDir}`);
  }
}

async function compose(config: Config, log: Log, life: Life): Promise<Daemon> {
  const sockets = takeActivatedSockets(process.env);
  const readiness = createReadiness({ env: process.env, log });
  const identity = await ownIdentity();
  const version = await ownVersion();
  const startedAt = new Date().toISOString();
  const instanceId = randomUUID();

  const lock = await lockState(config, log);
  life.onEnd("lock", () => lock.release());
  // Where all its work is: the workers name what they make from here (workers/disk-path.ts).
  process.chdir(config.stateDir);
  const pool = new Pool({ threads: config.workers, stallTimeoutMs: config.stallTimeoutMs, log });
  life.onEnd("pool", () => pool.close());
  const store = new Store(config.stateDir, {
    bootId: identity.bootId,
    removeTree: async (path) => void (await pool.run("remove", { path })),
    scanLayers: (task) => pool.run("scan", task),
    readFiles: (task) => pool.run("read", task),
    syncFileSystem: async () => (await syncFileSystem(config.stateDir, log)) === "syncfs",
    dedup: config.dedup,
    sweepFiles: (files) => {
      const progress = new TaskProgress();
      return pool.run("sweepFiles", { files, progress: progress.shared }, { progress });
    },
    checkTree: async (checked) => {
      const progress = new TaskProgress();
      return pool.run("verify", { checked, extent: "contents", progress: progress.shared }, { progress });
    },
    log,
  });
  await store.open();
  life.onEnd("store", () => settleStore(store, log));
  const journal = new Journal(store.layout, { log });
  await journal.open();
  life.onEnd("journal", () => journal.close());

  const events = new EventHub({ epoch: instanceId, log });
  life.onEnd("events", () => events.close());
  const layers = new LayerInstaller({ store, pool, limits: config.limits, decoders: config.decoders });
  const emit = events.publish.bind(events);
  const measure = async () => {
    const free = await freeSpace(config.stateDir);
    return { free, reserve: reserveOf(free.total, config) };
  };
  const collector = new Collector({
    store,
    removeTree: async (path, { urgent, signal }) =>
      void (await pool.run("remove", { path }, { signal, weight: urgent ? LINK_WEIGHT : COLLECT_WEIGHT })),
    keepGenerations: config.keepGenerations,
    cache: { bytes: config.cacheBytes, inodes: config.cacheInodes },
    lacking: async () => {
      const { free, reserve } = await measure();
      const short = (unit: keyof Amount): number => Math.max(0, reserve[unit] - free[unit]);
      return { bytes: short("bytes"), inodes: short("inodes") };
    },
    collected: ({ removed }, cause) => {
      journal.append({ kind: "collection", at: new Date().toISOString(), because: cause, removed });
      emit({ type: "store.collected", data: { cause, removed } });
    },
    rootRemoved: (rootId) => emit({ type: "root.removed", data: { rootId } }),
    log,
  });
  life.onEnd("collector", () => collector.stop());
  const space = new SpaceLedger({
    measure,
    makeRoom: async (wanted, signal) => void (await collector.makeRoom(wanted, signal)),
    stateDir: config.stateDir,
  });
  const assembler = new RootAssembler({ store, pool, limits: config.limits, space });
  const { maxLayers, maxLayerBytes } = config.limits;
  const images = new ImageInstaller({ store, roots: assembler, layers, space, maxLayerBytes });
  const sources = {
    importDirs: config.importDirs ?? ("anywhere" as const),
    registry: {
      insecureHosts: config.insecureRegistries,
      credentials: userCredentials(process.env),
      userAgent: `stratad/${version}`,
      gate: new FetchGate(),
    },
  };
  const comparer = new RootComparer({ store, pool, log });
  const ended = () => collector.consider();
  const installer = new Installer({ store, images, comparer, sources, maxLayers, emit, ended, log });
  const policies = { overlap: config.overlap, allowed: config.allowedOverlaps };
  const jobs = new Jobs({ installer, policies, journal: new JobJournal(journal, log), emit });
  life.onEnd("jobs", () => interruptJobs(jobs));
  await jobs.restore();
  const freeBytes = async () => (await freeSpace(config.stateDir)).bytes;
  const planner = new Planner({ store, roots: assembler, sources, policies, maxLayers, freeBytes });
  const catalog = new Catalog(store);
  const guests = [config.runtimeDir, config.socket, config.readOnlySocket, config.configFile];
  const verifier = new Verifier({ store, pool, guests });
  const repairer = new Repairer({ store, pool, verifier, layers, images, sources, maxLayers, log });
  const verification = new StoreVerification({
    store,
    verifier,
    repairer,
    onFindings: (findings) => journalFindings(journal, findings),
    emit,
    log,
  });
  life.onEnd("verification", () => verification.close());
  const { scrubBytesPerSecond: bytesPerSecond } = config;
  const scrubber =
    bytesPerSecond === undefined
      ? undefined
      : new Scrubber({ store, pool, verifier, verification, bytesPerSecond, log });
  const exporter = new Exporter({ store, catalog, pool, importDirs: sources.importDirs });
  const importer = new Importer({ jobs, policies, sources });

  const drain = (): void =>
    life.drain(async () => {
      await scrubber?.stop();
      await drainJobs(jobs, config.drainTimeoutMs, log);
    });
  const services: Services = {
    installs: jobs,
    images: {
      status: (query) => imageStatus(query, store, catalog, jobs),
      plan: (request, options) => planner.plan(request, options),
    },
    roots: {
      list: (page) => catalog.roots(page),
      get: (selector) => catalog.get(selector),
      all: () => catalog.roots({ limit: Number.POSITIVE_INFINITY }).items,
      remove: async (selector) => {
        const { removed, rootIds, stays } = await catalog.remove(selector);
        for (const rootId of rootIds) emit({ type: "root.removed", data: { rootId } });
        // Layers that only this root needed are a cache from here on.
        collector.consider();
        return stays === undefined ? removed : { ...removed, stays };
      },
      pin: (params) => catalog.pin(params),
      hold: (params) => catalog.hold(params),
      release: (holdId) => store.release(holdId),
      rollback: async ({ name, generation: wanted }) => {
        const { generation, flipped, ...roots } = await catalog.rollback(name, wanted);
        const { rootId } = roots.has;
        if (flipped) emit({ type: "name.changed", name, data: { rootId, path: store.layout.name(name), generation } });
        return roots;
      },
    },
    layers: {
      list: ({ limit, cursor }) => catalog.layers({ limit, cursor: cursor as DiffId | undefined }),
    },
    store: {
      usage: () => catalog.usage(),
      collect: (request, signal) => collector.collect(request, signal),
      export: (request, watch) => exporter.export(request, watch),
      import: (request, sessionId) => importer.import(request, sessionId),
      verify: (params, signal) => verification.verify(params, signal),
    },
    server: {
      status: () => ({
        version,
        pid: process.pid,
        stateDir: config.stateDir,
        startedAt,
        draining: life.draining,
        jobs: jobs.count(),
        workers: { total: pool.threads, busy: pool.busy, queuedTasks: pool.queued },
        store: {
          layers: store.layers.size,
          roots: store.roots.size,
          names: store.names.size,
          bytes: store.layers.bytes,
          ...catalog.total(),
        },
        counters: { ...layers.counters, rootsLinked: images.rootsLinked },
        ...(verification.standing === undefined ? {} : { findings: verification.standing }),
      }),
      drain,
    },
  };

  await prepareRuntimeDir(config.runtimeDir, process.getuid?.() ?? 0);
  await mkdir(dirname(config.socket), { recursive: true, mode: 0o700 });
  const tokens = config.listen === undefined ? undefined : await makeTokens(config.runtimeDir);
  const server = await startServer({
    listeners: listenersOf(config, sockets, tokens?.tokens),
    access: { allowedOrigins: config.allowedOrigins },
    services,
    events,
    instanceId,
    version,
    capabilities: {
      overlaps: [...config.allowedOverlaps],
      links: LinkMode.options.filter((link) => link !== "reflink" || store.canReflink),
      codecs: ["none", "gzip", "zstd", "xz"],
      sources: ["docker", "oci", "oci-archive", "docker-archive"],
    },
    log,
  });
  life.onEnd("server", () => server.close());
  jobs.resume();
  life.beforeEnd(() => emit({ type: "server.draining", data: {} }));

  const endpoints = endpointsOf(config, server, sockets, tokens?.files);
  await announce(config, { identity, instanceId, version, startedAt, endpoints });
  life.onEnd("endpoint file", async () => void (await removeEndpointFile(config.runtimeDir, instanceId)));
  life.onEnd("readiness", async () => void (await readiness.notify("STOPPING=1")));
  life.onEnd(
    "watchdog",
    readiness.startWatchdog(() => true),
  );
  life.onEnd(
    "idle watch",
    watchIdle(config.idleExitMs, () => (jobs.activeCount === 0 ? server.idleMs() : 0), drain),
  );
  const lost = (): void => {
    log.error("state.lost", { stateDir: config.stateDir });
    jobs.cancelAll();
    drain();
  };
  life.onEnd("state watch", await watchState(store.layout.lock, lost));
  scrubber?.start();
  life.onEnd("scrub", () => scrubber?.stop());
  await tellReady(readiness, log, { version, endpoints });
  return { stopped: life.stopped, drain };
}

async function lockState(config: Config, log: Log): Promise<Lock> {
  await mkdir(config.stateDir, { recursive: true, mode: 0o755 });
  return acquireLock(new StoreLayout(config.stateDir).lock, log);
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
  await jobs.drain();
  clearTimeout(timer);
}

/** Before the pool ends under them: the next daemon goes on with what is left. */
async function interruptJobs(jobs: Jobs): Promise<void> {
  jobs.interrupt();
  await jobs.drain();
}

function listenersOf(config: Config, sockets: readonly ActivatedSocket[], tokens: Tokens | undefined): Listener[] {
  const tcp: Listener[] =
    config.listen === undefined || tokens === undefined ? [] : [{ kind: "tcp", ...config.listen, tokens }];
  if (sockets.length > 0) return [...sockets.map(activatedListener), ...tcp];
  const mode = config.system ? 0o660 : 0o600;
  return [
    { kind: "unix", path: config.socket, scope: "full", mode },
    { kind: "unix", path: config.readOnlySocket, scope: "read", mode },
    ...tcp,
  ];
}

/** The socket's name in its unit says what it may do; one without a name that we know gets the lesser scope. */
const activatedListener = ({ fd, name }: ActivatedSocket): Listener => ({
  kind: "fd",
  fd,
  scope: name === "full" ? "full" : "read",
});

async function makeTokens(runtimeDir: string): Promise<{ tokens: Tokens; files: Record<"full" | "read", string> }> {
  const tokens = { full: createToken(), read: createToken() };
  const files = { full: join(runtimeDir, "token"), read: join(runtimeDir, "token-ro") };
  await writeTokenFile(files.full, tokens.full);
  await writeTokenFile(files.read, tokens.read);
  return { tokens, files };
}

/** A socket from systemd has no path that the kernel would tell; the units and the configuration name the same. */
function endpointsOf(
  config: Config,
  server: ProtocolServer,
  sockets: readonly ActivatedSocket[],
  tokenFiles: Record<"full" | "read", string> | undefined,
): EndpointDocument["endpoints"] {
  const activated = sockets.map(({ name }) =>
    name === "full"
      ? ({ kind: "unix", path: config.socket, scope: "full" } as const)
      : ({ kind: "unix", path: config.readOnlySocket, scope: "read" } as const),
  );
  const own = server.endpoints.map((endpoint) =>
    endpoint.kind === "tcp" && tokenFiles !== undefined
      ? { ...endpoint, tokenFile: tokenFiles[endpoint.scope] }
      : endpoint,
  );
  return [...activated, ...own];
}

interface Announcement extends Pick<EndpointDocument, "instanceId" | "version" | "startedAt" | "endpoints"> {
  readonly identity: ProcessIdentity;
}

async function announce(config: Config, { identity, ...document }: Announcement): Promise<void> {
  const { pid, startTime: pidStartTime, bootId } = identity;
  const { stateDir } = config;
  const background = config.idleExitMs !== undefined;
  await writeEndpointFile(config.runtimeDir, {
    schema: 1,
    pid,
    pidStartTime,
    bootId,
    protocol: [PROTOCOL_VERSION],
    stateDir,
    background,
    ...document,
  });
}

async function tellReady(readiness: Readiness, log: Log, fields: Record<string, unknown>): Promise<void> {
  log.info("daemon.ready", { pid: process.pid, ...fields });
  await readiness.notify("READY=1");
}

/** A state directory that was removed or replaced under us is not ours any more: whoever comes next needs a new daemon. */
async function watchState(lockFile: string, lost: () => void): Promise<() => void> {
  const { ino } = await stat(lockFile);
  const timer = setInterval(async () => {
    const now = await stat(lockFile).catch(() => undefined);
    if (now?.ino !== ino) lost();
  }, STATE_CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** Ends a daemon that nobody needs. Returns what stops the watch. */
function watchIdle(idleExitMs: number | undefined, idleMs: () => number, drain: () => void): () => void {
  if (idleExitMs === undefined) return () => undefined;
  const timer = setInterval(
    () => {
      if (idleMs() >= idleExitMs) drain();
    },
    Math.ceil(idleExitMs / IDLE_CHECKS),
  );
  timer.unref();
  return () => clearInterval(timer);
}
