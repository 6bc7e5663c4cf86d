/**
 * The parts that a daemon answers with, built in order, each handed what it needs; those that work (works.ts) are loaded and built when
 * they are first wanted. The composition root (composition.ts) gives them what they stand on.
 */
import type { Config } from "./config.js";
import { freeSpace } from "./host/space.js";
import type { Job } from "./install/job.js";
import { JobJournal } from "./install/job-journal.js";
import { Jobs } from "./install/jobs.js";
import { reserveOf } from "./install/space-ledger.js";
import type { Life } from "./life.js";
import type { Log } from "./log.js";
import type { DaemonEvent } from "./messages/events.js";
import { Once } from "./once.js";
import type { Pool } from "./pool.js";
import { Catalog } from "./store/catalog.js";
import type { Amount } from "./store/collection.js";
import { Collector } from "./store/collector.js";
import type { Journal } from "./store/journal.js";
import type { Store } from "./store/store.js";
import { LINK_WEIGHT, UPKEEP_WEIGHT } from "./weights.js";
import type { Works } from "./works.js";

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
  readonly jobs: Jobs;
  readonly collector: Collector;
  readonly works: Once<Works>;
  readonly emit: (event: DaemonEvent) => void;
}

/** What needs an end has it in `life` when this answers. Jobs that an earlier daemon left are known, and stand still. */
export async function buildParts(config: Config, around: Surroundings): Promise<Parts> {
  const { pool, store, journal, emit, life, log } = around;
  const measure = async () => {
    const free = await freeSpace(config.stateDir);
    return { free, reserve: reserveOf(free.total, config) };
  };
  const collector = collectorOf(config, measure, around);
  life.onEnd("collector", () => collector.stop());
  const catalog = new Catalog(store);
  tellOf(store, emit);
  const policies = { overlap: config.overlap, allowed: config.allowedOverlaps };
  const works: Once<Works> = new Once(async () => {
    const { buildWorks } = await import("./works.js");
    return buildWorks(config, around, { catalog, jobs, policies, collector, measure });
  });
  const installer = {
    run: async (job: Job) => (await works.get()).installer.run(job),
    runStanding: async (job: Job) => (await works.get()).installer.runStanding(job),
  };
  const jobs = new Jobs({ installer, policies, journal: new JobJournal(journal, log), emit });
  life.onEnd("jobs", () => interruptJobs(jobs));
  await jobs.restore();
  life.onEnd("verification", async () => (await works.asked())?.verification.close());
  return { pool, store, catalog, jobs, collector, works, emit };
}

/** In the moment in which it is so: whoever has a snapshot and every event behind it knows what stands. */
function tellOf({ names, roots, holds }: Store, emit: Surroundings["emit"]): void {
  names.onRemoved((name, rootId) => emit({ type: "name.removed", name, data: { rootId } }));
  roots.onRemoved((rootId) => emit({ type: "root.removed", data: { rootId } }));
  holds.onChanged((rootId) => emit({ type: "root.changed", data: { rootId, ...holds.now()(rootId) } }));
}

type Measure = () => Promise<{ free: Amount; reserve: Amount }>;

async function lack(measure: Measure): Promise<Amount> {
  const { free, reserve } = await measure();
  const short = (unit: keyof Amount): number => Math.max(0, reserve[unit] - free[unit]);
  return { bytes: short("bytes"), inodes: short("inodes") };
}

function collectorOf(config: Config, measure: Measure, { pool, store, journal, emit, log }: Surroundings): Collector {
  return new Collector({
    store,
    removeTree: async (path, { urgent, signal }) =>
      void (await pool.run("remove", { path }, { signal, weight: urgent ? LINK_WEIGHT : UPKEEP_WEIGHT })),
    keepGenerations: config.keepGenerations,
    cache: { bytes: config.cacheBytes, inodes: config.cacheInodes },
    lacking: async () => {
      const lacks = await lack(measure);
      if (lacks.bytes === 0 && lacks.inodes === 0) return lacks;
      // Spares first: a layer that goes has to be fetched again.
      await store.spares.shrink(0);
      return lack(measure);
    },
    collected: ({ removed }, cause) => {
      journal.append({ kind: "collection", at: new Date().toISOString(), because: cause, removed });
      emit({ type: "store.collected", data: { cause, removed } });
    },
    log,
  });
}

/** Before the pool ends under them: the next daemon goes on with what is left. */
async function interruptJobs(jobs: Jobs): Promise<void> {
  jobs.interrupt();
  await jobs.drain();
}
