/**
 * The file system below a directory: what is free on it, and bringing it to the disk.
 *
 * Knows nothing of plans and reserves: it measures, others judge.
 */
import { statfs } from "node:fs/promises";
import { StrataError, toStrataError } from "../errors.js";
import type { Log } from "../log.js";
import { printable } from "../printable.js";
import { runProgram } from "./program.js";

export interface FreeSpace {
  /** What a user who is not root may still write. */
  readonly bytes: number;
  /** Number.MAX_SAFE_INTEGER on file systems that do not count inodes (btrfs). */
  readonly inodes: number;
  /** Of the whole file system; of one that does not count its inodes there are none. */
  readonly total: { readonly bytes: number; readonly inodes: number };
}

export async function freeSpace(directory: string): Promise<FreeSpace> {
  try {
    const { bavail, blocks, bsize, files, ffree } = await statfs(directory, { bigint: true });
    const inodes = files === 0n ? Number.MAX_SAFE_INTEGER : safeNumber(ffree);
    const total = { bytes: safeNumber(blocks * bsize), inodes: safeNumber(files) };
    return { bytes: safeNumber(bavail * bsize), inodes, total };
  } catch (error) {
    throw toStrataError(error, `Cannot measure the free space of ${printable(directory)}`);
  }
}

const told = new WeakSet<Log>();

/**
 * Writes everything of the directory's file system to the disk, by `sync -f` (syncfs(2), which Node lacks).
 *
 * `unavailable` where there is no such program, or one without -f: nothing was synced, and the caller fsyncs nothing more
 * instead. What it installed stays `durable: false` and is verified after an unclean boot. That is logged once. STORE_IO when
 * the disk refused: then nothing may be called durable either.
 */
export async function syncFileSystem(
  directory: string,
  log: Log,
  { program = "sync" } = {},
): Promise<"syncfs" | "unavailable"> {
  const outcome = await runProgram(program, ["-f", directory]);
  if (outcome.kind === "exited" && outcome.exitCode === 0) return "syncfs";
  if (outcome.kind === "exited" && !/option|usage/i.test(outcome.stderr)) {
    const fact = printable(outcome.stderr) || `sync ended with ${outcome.exitCode}`;
    throw new StrataError("STORE_IO", `Cannot sync the file system of ${printable(directory)}: ${fact}`);
  }
  if (!told.has(log)) {
    told.add(log);
    log.warn("sync.unavailable", { ...outcome, program, instead: "layers and roots stay durable:false" });
  }
  return "unavailable";
}

function safeNumber(value: bigint): number {
  return Number(value > BigInt(Number.MAX_SAFE_INTEGER) ? BigInt(Number.MAX_SAFE_INTEGER) : value);
}
