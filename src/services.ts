/**
 * What the protocol asks (protocol/services.ts), answered by the parts that can. Owns which collection and which event follow a request
 * that changes names; everything else is handed on.
 */
import { imageStatus } from "./install/image-status.js";
import type { Parts } from "./parts.js";
import type { Services } from "./protocol/services.js";

/** What a status says of the daemon itself, and what ends it. */
export interface Self {
  readonly version: string;
  readonly stateDir: string;
  readonly startedAt: string;
  readonly isDraining: () => boolean;
  readonly drain: () => void;
}

/** By a daemon whose working parts nobody has asked for yet. */
const NOTHING_READ = { blobsRead: 0, layersUnpacked: 0 };

export function servicesOf(parts: Parts, self: Self): Services {
  const { store, catalog, jobs, collector, works } = parts;
  return {
    installs: jobs,
    images: {
      status: (query) => imageStatus(query, store, catalog, jobs),
      plan: async (request, options) => (await works.get()).planner.plan(request, options),
    },
    roots: rootServices(parts),
    layers: {
      list: async (page) => {
        await store.layers.inOrder;
        return catalog.layers(page);
      },
    },
    store: {
      usage: () => catalog.usage(),
      collect: async (request, signal) => {
        const collect = () => collector.collect(request, signal);
        const made = request.plan === true ? undefined : await works.asked();
        return made === undefined ? collect() : made.spares.whileNoneIsMade(collect);
      },
      export: async (request, watch) => (await works.get()).exporter.export(request, watch),
      import: async (request, sessionId) => (await works.get()).importer.import(request, sessionId),
      verify: async (params, signal) => (await works.get()).verification.verify(params, signal),
    },
    server: { status: () => statusOf(parts, self), drain: self.drain },
  };
}

function rootServices({ store, catalog, collector, emit }: Parts): Services["roots"] {
  return {
    list: async (page) => {
      await store.roots.inOrder;
      return catalog.roots(page);
    },
    get: (selector) => catalog.get(selector),
    snapshot: () => catalog.snapshot(),
    remove: async (selector) => {
      const removed = await catalog.remove(selector);
      // Layers that only this root needed are a cache from here on.
      collector.consider();
      return removed;
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
  };
}

function statusOf(parts: Parts, self: Self): ReturnType<Services["server"]["status"]> {
  const { pool, store, catalog, jobs } = parts;
  const { layers, images, verification } = parts.works.made ?? {};
  const { version, stateDir, startedAt } = self;
  return {
    version,
    pid: process.pid,
    stateDir,
    startedAt,
    draining: self.isDraining(),
    jobs: jobs.count(),
    workers: { total: pool.threads, busy: pool.busy, queuedTasks: pool.queued },
    store: {
      layers: store.layers.size,
      roots: store.roots.size,
      names: store.names.size,
      bytes: store.layers.bytes,
      ...catalog.total(),
      spares: store.spares.total,
    },
    counters: { ...(layers?.counters ?? NOTHING_READ), rootsLinked: images?.rootsLinked ?? 0 },
    ...(verification?.standing === undefined ? {} : { findings: verification.standing }),
  };
}
