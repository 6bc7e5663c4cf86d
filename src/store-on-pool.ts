/**
 * A store whose heavy work is done by a pool's threads: the daemon's, and the one that a repack has for itself.
 */
import { syncFileSystem } from "./host/space.js";
import type { Log } from "./log.js";
import type { Pool } from "./pool.js";
import { Store, type StoreOptions } from "./store/store.js";
import type { ScanWorkers } from "./store/store-scan.js";
import { TaskProgress } from "./task-progress.js";
import { LINK_WEIGHT, UPKEEP_WEIGHT } from "./weights.js";

/** Nothing else is to do yet. */
const START_WEIGHT = 0;

export interface StoreOnPoolOptions extends Pick<StoreOptions, "bootId" | "dedup"> {
  readonly pool: Pool;
  readonly log: Log;
}

/** Not open yet. */
export function storeOnPool(state: string, { pool, log, ...options }: StoreOnPoolOptions): Store {
  const tracked = <Task extends object>(task: Task) => {
    const progress = new TaskProgress();
    return [{ ...task, progress: progress.shared }, { progress }] as const;
  };
  return new Store(state, {
    ...options,
    removeTree: async (path) => void (await pool.run("remove", { path }, { weight: LINK_WEIGHT })),
    removeBehind: async (path) => void (await pool.run("remove", { path }, { weight: UPKEEP_WEIGHT })),
    ...scanWorkers(pool, START_WEIGHT),
    syncFileSystem: async () => (await syncFileSystem(state, log)) === "syncfs",
    sweepFiles: (files) => pool.run("sweepFiles", ...tracked({ files })),
    checkTree: (checked) => pool.run("verify", ...tracked({ checked, extent: "contents" as const })),
    log,
  });
}

export const scanWorkers = (pool: Pool, weight: number): ScanWorkers => ({
  list: (task) => pool.run("list", task, { weight }),
  strays: (task) => pool.run("strays", task, { weight }),
  scan: (task) => pool.run("scan", task, { weight }),
});
