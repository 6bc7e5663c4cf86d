/**
 * One daemon on a state directory: the lock that ends with its process.
 *
 * Two locks, taken in this order. The kernel's, through flock(1) on an inherited descriptor, stays with the open file until
 * this process dies: nothing stale to judge. The holder directory `<path>.pid/` is claimed in any case: it tells the second
 * daemon the first's pid, and it is what a daemon that has no flock(1) and one that has it exclude each other by.
 */
import { randomBytes } from "node:crypto";
import { close, constants, open } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { StrataError, toStrataError } from "../errors.js";
import type { Log } from "../log.js";
import { printable } from "../printable.js";
import { claimHolder, dropHolder, findOccupant, type Holder, type Occupant } from "./holder-directory.js";
import { ownIdentity } from "./identity.js";
import { runProgram } from "./program.js";

export interface Lock {
  /** `file` where flock(1) is missing or the file system has no such locks. */
  readonly how: "flock" | "file";
  /** Gives the lock up; the lock file stays, for a removed one could be locked twice. More calls do nothing. */
  release(): Promise<void>;
}

export interface LockOptions {
  /** The flock program; a path, or a name to look up in PATH. */
  readonly flockProgram?: string;
}

/** A winner names itself within a breath of taking the kernel's lock; a loser waits this long to learn who it was. */
const HOLDER_WAIT_MS = 1000;
const HOLDER_POLL_MS = 5;

/**
 * Takes the lock, whose directory must exist. Throws STORE_LOCKED at once when another daemon has it (`details.pid` where it is
 * known), STORE_NOT_WRITABLE or STORE_IO when the lock file cannot be opened. It is not reentrant in one process.
 */
export async function acquireLock(path: string, log: Log, options: LockOptions = {}): Promise<Lock> {
  const nonce = randomBytes(8).toString("hex");
  const descriptor = await openLockFile(path);
  try {
    const how = await takeKernelLock(descriptor, log, options.flockProgram ?? "flock");
    const own: Holder = { ...(await ownIdentity()), how: how === "flock" ? "flock" : "file", nonce };
    if (how === "taken") throw locked(path, await awaitOccupant(`${path}.pid`, own));
    const occupant = await claimHolder(`${path}.pid`, own);
    if (occupant !== undefined) throw locked(path, occupant);
    return { how, release: releaseOnce(path, descriptor, own) };
  } catch (error) {
    await promisify(close)(descriptor);
    throw toStrataError(error, `Cannot lock ${printable(path)}`);
  }
}

/** A bare descriptor, since Node closes a forgotten FileHandle, and the lock with it. 0600: whoever can open it can lock it. */
async function openLockFile(path: string): Promise<number> {
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    return await promisify(open)(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  } catch (error) {
    throw toStrataError(error, `Cannot open the lock file ${printable(path)}`);
  }
}

async function takeKernelLock(descriptor: number, log: Log, program: string): Promise<"flock" | "taken" | "file"> {
  const outcome = await runProgram(program, ["-n", "-x", "3"], { descriptor });
  if (outcome.kind === "exited" && outcome.exitCode === 0) return "flock";
  if (outcome.kind === "exited" && outcome.exitCode === 1) return "taken";
  const instead = "a directory names the holder by pid, start time and boot id";
  log.warn("lock.flock.unavailable", { ...outcome, program, instead });
  return "file";
}

async function awaitOccupant(directory: string, own: Holder): Promise<Occupant | undefined> {
  const deadline = performance.now() + HOLDER_WAIT_MS;
  while (performance.now() < deadline) {
    const occupant = await findOccupant(directory, own);
    if (occupant !== undefined) return occupant;
    await delay(HOLDER_POLL_MS);
  }
  return undefined;
}

function locked(path: string, occupant: Occupant | undefined): StrataError {
  const shown = printable(path);
  if (occupant === undefined) return new StrataError("STORE_LOCKED", `Cannot lock ${shown}: another process holds it`);
  if ("stranger" in occupant) {
    const fact = `${shown}.pid/${printable(occupant.stranger)} was not put there by a daemon`;
    const hint = "Remove it when no daemon serves this state directory.";
    return new StrataError("STORE_LOCKED", `Cannot lock ${shown}: ${fact}`, { hint });
  }
  const { pid, how, startTime, bootId } = occupant;
  const details = { pid, how, startTime, bootId };
  return new StrataError("STORE_LOCKED", `Cannot lock ${shown}: process ${pid} holds it`, { details });
}

/** The entry goes first: while the kernel's lock is held nobody else with flock(1) comes between. */
function releaseOnce(path: string, descriptor: number, own: Holder): () => Promise<void> {
  let released: Promise<void> | undefined;
  return () => {
    released ??= dropHolder(`${path}.pid`, own).finally(() => promisify(close)(descriptor));
    return released;
  };
}
