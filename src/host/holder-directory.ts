/**
 * A directory whose one entry names the process that holds a lock; empty or absent, the lock is free.
 *
 * At most one running process holds it, however many try at once, and without any lock of the kernel:
 * - An entry's name *is* the identity, and unique for each claim, so that there is nothing half-written to read.
 * - A claim is one rename(2) of a prepared directory, entry included, onto this one. The kernel replaces a directory only while
 *   it is empty: of several claimants one succeeds, and none over somebody's entry.
 * - A stale entry is unlinked by its unique name. A slow taker removes what it judged, never what another put there since.
 */
import { mkdir, readdir, rename, rm, rmdir, unlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { systemErrorCode } from "../errors.js";
import { isRunning, type ProcessIdentity } from "./identity.js";

export interface Holder extends ProcessIdentity {
  /** Whether it holds the kernel's lock too, or this directory alone. */
  readonly how: "flock" | "file";
  /** What makes two claims of one process differ. */
  readonly nonce: string;
}

/** Who stands in the way: a holder that may still run, or an entry that is none of ours. */
export type Occupant = Holder | { readonly stranger: string };

/**
 * Puts `own` into the directory, over a stale entry if need be; undefined when that succeeded. Every entry is judged stale
 * that had the kernel's lock when `own` has it now: the kernel took it from the first before it gave it to the second.
 */
export async function claimHolder(directory: string, own: Holder): Promise<Occupant | undefined> {
  const prepared = `${directory}.${entryName(own)}`;
  await mkdir(prepared, { mode: 0o700 });
  try {
    await writeFile(join(prepared, entryName(own)), "", { flag: "wx", mode: 0o600 });
    // Each round ends in a claim, in an occupant, or with one stale entry fewer: it goes on only while claimants die.
    while (!(await renamedOntoEmpty(prepared, directory))) {
      const occupant = await findOccupant(directory, own, { removeStale: true });
      if (occupant !== undefined) return occupant;
    }
    await sweepPrepared(directory, own);
    return undefined;
  } finally {
    await rm(prepared, { recursive: true, force: true });
  }
}

/** The occupant that is not known to be gone, if there is one; entries are removed only where `removeStale` is given. */
export async function findOccupant(
  directory: string,
  own: Holder,
  { removeStale = false } = {},
): Promise<Occupant | undefined> {
  for (const name of await readdir(directory).catch(emptyWhenAbsent)) {
    const holder = parseEntryName(name);
    if (holder === undefined) return { stranger: name };
    if (await mayHold(holder, own)) return holder;
    if (removeStale) await unlink(join(directory, name)).catch(fineWhenAbsent);
  }
  return undefined;
}

/** Takes `own` out again; the directory goes too, unless somebody claimed it meanwhile. */
export async function dropHolder(directory: string, own: Holder): Promise<void> {
  await unlink(join(directory, entryName(own))).catch(fineWhenAbsent);
  await rmdir(directory).catch((error: unknown) => {
    if (!["ENOENT", "ENOTEMPTY", "EEXIST"].includes(systemErrorCode(error) ?? "")) throw error;
  });
}

async function renamedOntoEmpty(prepared: string, directory: string): Promise<boolean> {
  try {
    await rename(prepared, directory);
    return true;
  } catch (error) {
    if (["ENOTEMPTY", "EEXIST"].includes(systemErrorCode(error) ?? "")) return false;
    throw error;
  }
}

async function mayHold(holder: Holder, own: Holder): Promise<boolean> {
  if (holder.how === "flock" && own.how === "flock") return false;
  return isRunning(holder, own);
}

/** Removes what claimants that were killed had prepared; their directories carry the identity in their names. */
async function sweepPrepared(directory: string, own: Holder): Promise<void> {
  const prefix = `${basename(directory)}.`;
  for (const name of await readdir(dirname(directory))) {
    const holder = name.startsWith(prefix) ? parseEntryName(name.slice(prefix.length)) : undefined;
    if (holder === undefined || (await isRunning(holder, own))) continue;
    await rm(join(dirname(directory), name), { recursive: true, force: true });
  }
}

function entryName({ pid, startTime, bootId, pidNamespace, how, nonce }: Holder): string {
  return [pid, startTime, bootId, pidNamespace, how, nonce].join(".");
}

function parseEntryName(name: string): Holder | undefined {
  const match = /^([1-9]\d{0,9})\.(\d+)\.([0-9a-f-]+)\.(\d+)\.(flock|file)\.([0-9a-f]+)$/.exec(name);
  if (match === null) return undefined;
  const [, pid, startTime = "", bootId = "", pidNamespace = "", how, nonce = ""] = match;
  return { pid: Number(pid), startTime, bootId, pidNamespace, how: how === "flock" ? how : "file", nonce };
}

function emptyWhenAbsent(error: unknown): string[] {
  fineWhenAbsent(error);
  return [];
}

function fineWhenAbsent(error: unknown): void {
  if (systemErrorCode(error) !== "ENOENT") throw error;
}
