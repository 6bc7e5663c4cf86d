/**
 * The parts that install, collect, verify, export and import: built in order, each handed what it needs. The composition root
 * (composition.ts) gives them what they stand on.
 */
import type { Config } from "./config.js";
import { Exporter } from "./export/exporter.js";
import { freeSpace } from "./host/space.js";
import { ImageInstaller } from "./install/image-installer.js";
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
import type { Life } from "./life.js";
import type { Log } from "./log.js";
import type { DaemonEvent } from "./messages/events.js";
import type { Pool } from "./pool.js";
import { userCredentials } from "./sources/registry/credentials.js";
import { FetchGate } from "./sources/registry/fetch-gate.js";
import { Catalog } from "./store/catalog.js";
import type { Amount } from "./store/collection.js";
import { Collector } from "./store/collector.js";
import type { Journal } from "./store/journal.js";
import type { Store } from "./store/store.js";

/** Behind every unpack, however small. */
const COLLECT_WEIGHT = -1;

/** What the parts stand on. */
export interface Surroundings {
  readonly pool: Pool;
  readonly store: Store;
  readonly journal: Journal;
  readonly version: string;
  readonly emit: (event: DaemonEvent) => void;
  readonly life: Life;
  readonly log: Log;
}

export interface Parts {
  readonly pool: Pool;
  readonly store: Store;
  readonly catalog: Catalog;
  readonly layers: LayerInstaller;
  readonly images: ImageInstaller;
  readonly jobs: Jobs;
  readonly planner: Planner;
  readonly collector: Collector;
  readonly verification: StoreVerification;
  readonly exporter: Exporter;
  readonly importer: Importer;
  /** Where the configuration asks for one; the caller starts and stops it. */
  readonly scrubber: Scrubber | undefined;
  readonly emit: (event: DaemonEvent) => void;
}

/** What needs an end has it in `life` when this answers. Jobs that an earlier daemon left are known, and stand still. */
export async function buildParts(config: Config, around: Surroundings): Promise<Parts> {
  const { pool, store, journal, version, emit, life, log } = around;
  const layers = new LayerInstaller({ store, pool, limits: config.limits, decoders: config.decoders });
  const measure = async () => {
    const free = await freeSpace(config.stateDir);
    return { free, reserve: reserveOf(free.total, config) };
  };
  const collector = collectorOf(config, measure, around);
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
  const installs = { layers, images, jobs, planner, importer, exporter };
  return { pool, store, catalog, ...installs, collector, verification, scrubber, emit };
}

type Measure = () => Promise<{ free: Amount; reserve: Amount }>;

function collectorOf(config: Config, measure: Measure, { pool, store, journal, emit, log }: Surroundings): Collector {
  return new Collector({
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
}

/** Before the pool ends under them: the next daemon goes on with what is left. */
async function interruptJobs(jobs: Jobs): Promise<void> {
  jobs.interrupt();
  await jobs.drain();
}
