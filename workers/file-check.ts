/**
 * One thing of a tree against its entry: permissions, time, size, content, where it leads. What is wrong with a path is one finding, of
 * the gravest code, that names every fact.
 */
import { createHash } from "node:crypto";
import { type BigIntStats, closeSync, fstatSync, readlinkSync, readSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { FindingCode } from "../src/finding-codes.js";
import type { FileEntry } from "../src/overlap/changeset.js";
import { printableName } from "../src/printable.js";
import type { TaskProgress } from "../src/task-progress.js";
import { openToRead } from "./open-to-read.js";
import { unreadable } from "./tree-walk.js";

const PIECE_BYTES = 1024 * 1024;

/** What is wrong with something that is there. */
export interface Fault {
  readonly code: FindingCode;
  readonly detail: string;
}

/** As they are to be on the disk; without a time: any. */
interface Attributes {
  readonly mode: number;
  readonly mtime: number | undefined;
}

/** One that is a directory. */
export const directoryFault = (stat: BigIntStats, attributes: Attributes): Fault | undefined =>
  faultOf("MODE", attributeFacts(stat, attributes));

/** One that is a symlink. */
export function symlinkFault(
  at: string | Buffer,
  stat: BigIntStats,
  { target, mtime }: { readonly target: string; readonly mtime?: number | undefined },
): Fault | undefined {
  const elsewhere = linkFacts(at, target);
  return faultOf(elsewhere.length > 0 ? "LINK_TARGET" : "MODE", [...elsewhere, ...timeFacts(stat, mtime)]);
}

/** One that is a file. Without a reader its content is not looked at, only how much there is. CANCELLED. */
export function fileFault(
  at: string | Buffer,
  stat: BigIntStats,
  { size, sha256, ...attributes }: Attributes & Pick<FileEntry, "size" | "sha256">,
  reader: FileReader | undefined,
): Fault | undefined {
  const content =
    stat.size === BigInt(size) ? (reader?.facts(at, size, sha256) ?? []) : [`it has ${stat.size} bytes, not ${size}`];
  return faultOf(content.length > 0 ? "CONTENT" : "MODE", [...content, ...attributeFacts(stat, attributes)]);
}

/** What everything has. Times count in seconds: what the file system rounds, or cannot hold, is no damage. */
function attributeFacts(stat: BigIntStats, { mode, mtime }: Attributes): string[] {
  const is = Number(stat.mode) & 0o7777;
  return [...(is === mode ? [] : [`its mode is ${octal(is)}, not ${octal(mode)}`]), ...timeFacts(stat, mtime)];
}

function timeFacts(stat: BigIntStats, mtime: number | undefined): string[] {
  const is = Number(stat.mtimeNs) / 1e9;
  return mtime === undefined || Math.abs(is - mtime) < 1 ? [] : [`its time is ${moment(is)}, not ${moment(mtime)}`];
}

/** The gravest first. */
function faultOf(code: FindingCode, facts: readonly string[]): Fault | undefined {
  return facts.length === 0 ? undefined : { code, detail: facts.join("; ") };
}

function linkFacts(at: string | Buffer, target: string): string[] {
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
  facts(at: string | Buffer, size: number, sha256: string): string[] {
    let descriptor: number | undefined;
    try {
      descriptor = openToRead(at);
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
