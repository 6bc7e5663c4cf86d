/**
 * Faults below a state directory: what fault-shim.c is told and what it tells, through a page of memory that both map. A daemon that
 * runs under it is told call by call, while it runs: which call kills it or fails, and afterwards whether that was reached.
 */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync, readSync, realpathSync, writeFileSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { checkout } from "./daemon.js";
import type { Sandbox } from "./sandbox.js";

export type Errno = "EIO" | "ENOSPC" | "EDQUOT" | "EACCES" | "EMFILE" | "EMLINK" | "EROFS";

/** What happens at the `at`th call that matches `pattern` (of all calls where there is none). */
export interface Fault {
  readonly at: number;
  readonly what: "kill-before" | "kill-after" | Errno;
  /** As fnmatch(3) takes it with FNM_EXTMATCH, of a label: `OPERATION PATH` or `OPERATION FROM TO`, paths from the state directory. */
  readonly pattern?: string;
  /** The errno meets every call from that one on. */
  readonly fromThenOn?: boolean;
}

export interface Told {
  /** Calls that matched since it was armed. */
  readonly calls: number;
  readonly hits: number;
  /** The label of the call that was hit first; empty where none was. */
  readonly hit: string;
}

const ACTION = { count: 0, "kill-before": 1, "kill-after": 2, fail: 3 } as const;
const PAGE_BYTES = 1024;
const AT = { armed: 0, plan: 4, calls: 20, hits: 24, clock: 32, pattern: 64, hit: 512 } as const;

/** The shared library, made in `directory`; `compiler` is the path of a cc. */
export function compileFaultShim(compiler: string, directory: string): string {
  const library = join(directory, "fault-shim.so");
  const source = join(checkout, "test/support/fault-shim.c");
  execFileSync(compiler, ["-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"]);
  return library;
}

export class Faults {
  /** For `serve`. */
  readonly env: NodeJS.ProcessEnv;
  readonly #page: number;
  readonly #traceFile: string;

  /** `trace`: every call that matches is written down; `traced` reads it. The caller closes it. */
  constructor(library: string, sandbox: Sandbox, { trace = false } = {}) {
    const page = sandbox.file("faults");
    this.#traceFile = sandbox.file("faults.trace");
    writeFileSync(page, Buffer.alloc(PAGE_BYTES));
    writeFileSync(this.#traceFile, "");
    this.#page = openSync(page, "r+");
    this.env = {
      LD_PRELOAD: library,
      FAULT_CONTROL: page,
      FAULT_BELOW: join(realpathSync(join(sandbox.stateDir, "..")), "state"),
      ...(trace ? { FAULT_TRACE: this.#traceFile } : {}),
      UV_USE_IO_URING: "0",
    };
  }

  /** From now on calls are counted, and nothing else happens. */
  count(pattern = ""): void {
    this.#write({ action: ACTION.count, at: 0, error: 0, fromThenOn: false, pattern });
  }

  arm({ at, what, pattern = "", fromThenOn = false }: Fault): void {
    const error = constants.errno[what as Errno] ?? 0;
    const action = what === "kill-before" || what === "kill-after" ? ACTION[what] : ACTION.fail;
    this.#write({ action, at, error, fromThenOn, pattern });
  }

  /** From now on nothing is counted and nothing happens. */
  disarm(): Told {
    this.#int(AT.armed, 0);
    return this.told();
  }

  told(): Told {
    const page = Buffer.alloc(PAGE_BYTES);
    readSync(this.#page, page, 0, PAGE_BYTES, 0);
    const hit = page.subarray(AT.hit).toString("latin1").replace(/\0.*$/s, "");
    return { calls: page.readInt32LE(AT.calls), hits: page.readInt32LE(AT.hits), hit };
  }

  /** The daemon's wall clock goes on from there; its monotonic clock does not notice. */
  putClockAhead(seconds: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(seconds));
    writeSync(this.#page, bytes, 0, bytes.length, AT.clock);
  }

  /** Labels of the calls so far, in order. */
  traced(): string[] {
    const lines = readFileSync(this.#traceFile, "latin1").split("\n").slice(0, -1);
    return lines.map((line) => line.slice(line.indexOf(" ") + 1));
  }

  close(): void {
    closeSync(this.#page);
  }

  /** Armed last: until then the daemon does not look at the rest. */
  #write(plan: { action: number; at: number; error: number; fromThenOn: boolean; pattern: string }): void {
    this.#int(AT.armed, 0);
    const words = Buffer.alloc(AT.clock - AT.plan);
    [plan.at, plan.action, plan.error, plan.fromThenOn ? 1 : 0].forEach((word, i) => {
      words.writeInt32LE(word, 4 * i);
    });
    // The trace's descriptor stands behind the counters, and is the daemon's.
    writeSync(this.#page, words, 0, AT.hits + 4 - AT.plan, AT.plan);
    const texts = Buffer.alloc(PAGE_BYTES - AT.pattern);
    texts.write(plan.pattern, 0, AT.hit - AT.pattern - 1, "latin1");
    writeSync(this.#page, texts, 0, texts.length, AT.pattern);
    this.#int(AT.armed, 1);
  }

  #int(at: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    writeSync(this.#page, bytes, 0, 4, at);
  }
}

/** What varies from run to run in a label is left out: random names, numbers, digests. */
export const pointOf = (label: string): string =>
  label
    .replace(/staging\/[0-9a-f-]{36}-\d+-[0-9a-f]+/g, "staging/P")
    .replace(/[0-9a-f]{64}/g, "H")
    .replace(/\.\d+-\d+\.new/g, ".new")
    .replace(/\/\d+(?=[/ ]|$)/g, "/N");
