/**
 * Who a process is, beyond a pid that the kernel gives out again: its start time, the boot and the pid namespace it runs in.
 *
 * A process is called gone only when that is certain; what cannot be seen counts as running. Linux only (proc(5)).
 */
import { readFile, readlink } from "node:fs/promises";
import { systemErrorCode, toStrataError } from "../errors.js";

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot at which it started: field 22 of /proc/PID/stat. */
  readonly startTime: string;
  readonly bootId: string;
  /** Inode number of its pid namespace: a pid of another container means nothing here. */
  readonly pidNamespace: string;
}

/** The identity of this process. Throws STORE_IO where /proc is not mounted. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  try {
    const [stat, boot, namespace] = await Promise.all([
      readFile("/proc/self/stat", "latin1"),
      bootId(),
      readlink("/proc/self/ns/pid"),
    ]);
    const pidNamespace = namespace.replace(/\D/g, "");
    return { pid: process.pid, startTime: parseStat(stat).startTime, bootId: boot, pidNamespace };
  } catch (error) {
    throw toStrataError(error, "Cannot read this process's identity from /proc");
  }
}

/** A random UUID that the kernel draws at each boot; containers see that of their host. */
export async function bootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "latin1")).trim();
}

/** Field 22 of /proc/PID/stat; undefined when there is no such process, or it cannot be seen. */
export async function processStartTime(pid: number): Promise<string | undefined> {
  return (await readStat(pid))?.startTime;
}

/**
 * Whether `suspect` may still run; `own` is the identity of the process that asks. False is certain: another boot, no such
 * pid, the pid given to a later process, or a zombie whose threads are all gone. True where it cannot be told: a process of
 * another pid namespace, or one that /proc hides (hidepid).
 */
export async function isRunning(suspect: ProcessIdentity, own: ProcessIdentity): Promise<boolean> {
  if (suspect.bootId !== own.bootId) return false;
  if (suspect.pidNamespace !== own.pidNamespace) return true;
  if (!pidExists(suspect.pid)) return false;
  const stat = await readStat(suspect.pid);
  if (stat === undefined) return pidExists(suspect.pid);
  return stat.startTime === suspect.startTime && !stat.over;
}

function pidExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) !== "ESRCH";
  }
}

async function readStat(pid: number): Promise<Stat | undefined> {
  try {
    return parseStat(await readFile(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return undefined;
  }
}

interface Stat {
  readonly startTime: string;
  /** A zombie without other threads: it waits for its parent only, and holds nothing. */
  readonly over: boolean;
}

/** The program's name (field 2) may hold blanks and parentheses: count from the last one. */
function parseStat(stat: string): Stat {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state = "", threads = "", startTime = ""] = [fields[3 - 3], fields[20 - 3], fields[22 - 3]];
  return { startTime, over: (state === "Z" || state === "X") && Number(threads) <= 1 };
}
