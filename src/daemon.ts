/**
 * The daemon's life from its first step: the lock, the threads, everything that stands on them (composition.ts); and its end.
 */

import { stat } from "node:fs/promises";
import type { Config } from "./config.js";
import { ensureDirectories } from "./ensure-directory.js";
import { toStrataError } from "./errors.js";
import { acquireLock, type Lock } from "./host/lock.js";
import { Life } from "./life.js";
import type { Log } from "./log.js";
import { Pool } from "./pool.js";
import { StoreLayout } from "./store/layout.js";
import { succeeds } from "./succeeds.js";

export interface Daemon {
  /** Resolves when everything is stopped and released. */
  readonly stopped: Promise<void>;
  /** Takes no more installs, lets the running ones finish (at most drainTimeoutMs), then stops. */
  drain(): void;
}

/** Files and directories are made readable for others where they are roots, and never writable. */
const UMASK = 0o022;

/** STORE_LOCKED, STORE_VERSION, STORE_NOT_WRITABLE, STORE_SPLIT_MOUNT, CONFIG_INVALID: with nothing left behind. */
export async function startDaemon(config: Config, log: Log): Promise<Daemon> {
  process.umask(UMASK);
  const life = new Life(log);
  try {
    const lock = await lockState(config, log);
    life.onEnd("lock", () => lock.release());
    // Where all its work is: the workers name what they make from here (workers/disk-path.ts).
    process.chdir(config.stateDir);
    const pool = new Pool({ threads: config.workers, stallTimeoutMs: config.stallTimeoutMs, log });
    life.onEnd("pool", () => pool.close());
    // The first thread starts while all else is loaded, where there is anything for it to read.
    if (await hasStore(config.stateDir)) pool.start();
    const { compose } = await import("./composition.js");
    return await compose({ config, pool, life, log });
  } catch (error) {
    await life.end();
    throw toStrataError(error, `Cannot start the daemon on ${config.stateDir}`);
  }
}

async function lockState(config: Config, log: Log): Promise<Lock> {
  await ensureDirectories(config.stateDir, 0o755);
  return acquireLock(new StoreLayout(config.stateDir).lock, log);
}

const hasStore = (state: string): Promise<boolean> => succeeds(stat(new StoreLayout(state).version));
