/**
 * One thing of a tree against its entry: permissions, time, size, content, where it leads. What is wrong with a path is one finding, of
 * the gravest code, that names every fact.
 */
import { createHash } from "node:crypto";
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { FindingCode } from "../src/finding-codes.js";
import { printableName } from "../src/printable.js";
import type { TaskProgress } from "../src/tasks.js";
import { unreadable } from "./tree-walk.js";

const PIECE_BYTES = 1024 * 1024;
/** A FIFO that took the file's place since it was looked at blocks nobody. */
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** What is wrong with something that is there. */
export interface Fault {
  readonly code: FindingCode;
  readonly detail: string;
}

/** What everything has. Times count in seconds: what the file system rounds, or cannot hold, is no damage. */
export function attributeFaults(stat: BigIntStats, mode: number, mtime: number | undefined): string[] {
  const is = Number(stat.mode) & 0o7777;
  return [...(is === mode ? [] : [`its mode is ${octal(is)}, not ${octal(mode)}`]), ...timeFault(stat, mtime)];
}

export function timeFault(stat: BigIntStats, mtime: number | undefined): string[] {
  const is = Number(stat.mtimeNs) / 1e9;
  return mtime === undefined || Math.abs(is - mtime) < 1 ? [] : [`its time is ${moment(is)}, not ${moment(mtime)}`];
}

/** The gravest first. */
export function faultOf(code: FindingCode, facts: readonly string[]): Fault | undefined {
  return facts.length === 0 ? undefined : { code, detail: facts.join("; ") };
}

export function linkFault(at: string | Buffer, target: string): string[] {
  try {
    const is = readlinkSync(at, { encoding: "latin1" as BufferEncoding });
    return is === target ? [] : [`it leads to ${printableName(is)}, not to ${printableName(target)}`];
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === undefined) throw error;
    return [unreadable(errno)];
  }
}

export class FileReader {
  readonly #buffer = Buffer.allocUnsafe(PIECE_BYTES);
  readonly #progress: TaskProgress;
  bytes = 0;

  constructor(progress: TaskProgress) {
    this.#progress = progress;
  }

  /** What is wrong with the content of a file that has the right size. CANCELLED. */
  fault(at: string | Buffer, size: number, sha256: string): string[] {
    let descriptor: number | undefined;
    try {
      descriptor = openSync(at, READ);
      if (!fstatSync(descriptor).isFile()) return ["it was replaced while it was read"];
      const is = this.#sha256(descriptor, size);
      return is === sha256 ? [] : [`the SHA-256 of its content is ${is}, not ${sha256}`];
    } catch (error) {
      const errno = systemErrorCode(error);
      if (errno === undefined) throw error;
      return [unreadable(errno)];
    } finally {
      if (descriptor !== undefined) closeSync(descriptor);
    }
  }

  /** One that grows meanwhile is not followed: what it gains is one byte too much already. */
  #sha256(descriptor: number, size: number): string {
    const sum = createHash("sha256");
    for (let left = size + 1; left > 0; ) {
      this.#progress.throwIfCancelled();
      const bytes = readSync(descriptor, this.#buffer, 0, Math.min(left, this.#buffer.length), null);
      if (bytes === 0) break;
      sum.update(this.#buffer.subarray(0, bytes));
      left -= bytes;
      this.bytes += bytes;
      this.#progress.bytesRead += bytes;
    }
    return sum.digest("hex");
  }
}

const octal = (mode: number): string => mode.toString(8).padStart(4, "0");

function moment(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds} s` : date.toISOString();
}
