/** The one way of measuring of all benches: a place of their own on a file system, clocks of wall and processor, peaks of memory, medians. */
import { execFile, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import type { Scope } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";

/** What was measured at once, by name; the unit is the name's last word. */
export type Figures = Readonly<Record<string, number>>;

const TICKS_PER_SECOND = 100;

export async function timed(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

export function median(of: readonly number[]): number {
  return of.toSorted((x, y) => x - y)[Math.floor(of.length / 2)] ?? Number.NaN;
}

const STARTS = 9;

/** How quick this machine is just now, by the start of Node alone: a run takes long, and others on the same host come and go. */
export async function nodeStartMs(): Promise<number> {
  const starts: number[] = [];
  for (let n = 0; n < STARTS; n += 1)
    starts.push(await timed(() => promisify(execFile)(process.execPath, ["--eval", "0"])));
  return median(starts);
}

/** The smallest that `share` of all are not above. */
export function percentile(of: readonly number[], share: number): number {
  return of.toSorted((x, y) => x - y)[Math.max(0, Math.ceil(share * of.length) - 1)] ?? Number.NaN;
}

/** In a directory of its own below `below`; whatever comes of it, nothing is left there. */
export async function inPlace<Value>(
  below: string,
  action: (place: string, scope: Scope) => Promise<Value>,
): Promise<Value> {
  const place = await mkdtemp(join(below, "bench-"));
  const cleanUps: (() => Promise<void>)[] = [() => removeTree(place)];
  try {
    return await action(place, { after: (cleanUp) => cleanUps.push(cleanUp) });
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

/** Directories of a root may lack their write bit. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true }).catch(async () => {
    await promisify(execFile)("chmod", ["-R", "u+rwX", path]);
    await rm(path, { recursive: true, force: true });
  });
}

/** Waits until what was written to that file system is on its disk: nobody waits there for what another wrote. */
export async function writtenBack(path: string): Promise<void> {
  await promisify(execFile)("sync", ["--file-system", path]);
}

/** Of all threads of a process so far, user and system. */
export async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

const IDLE_MS = 200;

/** Resolves when a process has taken no time for a while: a daemon is measured as it stands about, and its start is measured by itself. */
export async function idle(pid: number): Promise<void> {
  for (let before = -1, now = await processorSeconds(pid); now !== before; now = await processorSeconds(pid)) {
    before = now;
    await delay(IDLE_MS);
  }
}

/** The largest resident set of a process since its start or since `forgetPeak`, in MB; and the present one. */
export const peakMegabytes = (pid: number): number => statusMegabytes(pid, "VmHWM");
export const megabytes = (pid: number): number => statusMegabytes(pid, "VmRSS");
export const forgetPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, "5");

function statusMegabytes(pid: number, field: string): number {
  const kib = new RegExp(`^${field}:\\s*(\\d+) kB$`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return (Number(kib) * 1024) / 1e6;
}

export const descriptors = async (pid: number): Promise<number> => (await readdir(`/proc/${pid}/fd`)).length;

/** It ran, and did not end with 0, or not at all. */
export class CommandFailed extends Error {}

/** What a command that is run by GNU time took, its children with it. Throws CommandFailed with what it said where it fails. */
export interface Taken extends Figures {
  readonly "wall s": number;
  readonly "cpu s": number;
  /** Of its largest process. */
  readonly "peak MB": number;
}

const { PATH, HOME, TMPDIR } = process.env;
/** What every peer gets, as our commands get a sandbox's: with NODE_EXTRA_CA_CERTS, say, Node 20 takes 50 ms longer to start. */
export const plainEnvironment: NodeJS.ProcessEnv = { PATH, HOME, TMPDIR, LANG: "C.UTF-8" };

/** Says why not where commands cannot be measured. */
export const timeTool = toolOrSkip("time", plainEnvironment);

/** The slowest takes one: a command that hangs, as tar-fs did once in dozens of runs, is not to end the bench. */
const LIMIT_MS = 5 * 60_000;

export async function measured(
  command: readonly string[],
  {
    cwd,
    env = plainEnvironment,
    limitMs = LIMIT_MS,
  }: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly limitMs?: number },
): Promise<{ readonly taken: Taken; readonly stdout: string }> {
  const report = join(cwd, "taken");
  const [program, ...before] = timeTool.path === undefined ? [] : [timeTool.path, "-f", "%U %S %M", "-o", report, "--"];
  const args = program === undefined ? command : [...before, ...command];
  const start = performance.now();
  const child = spawn(program ?? (args[0] as string), program === undefined ? args.slice(1) : args, {
    cwd,
    env,
    stdio: ["ignore", "pipe", "pipe"],
    // A group of its own: what it started ends with it.
    detached: true,
  });
  let isLate = false;
  const late = setTimeout(() => {
    isLate = true;
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  }, limitMs);
  const said = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said.stderr = (said.stderr + text).slice(-4000)));
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  }).finally(() => clearTimeout(late));
  const wall = (performance.now() - start) / 1000;
  const shown = command.join(" ").slice(0, 400);
  if (isLate) throw new CommandFailed(`${shown}:\nno end within ${limitMs / 1000} s`);
  if (exitCode !== 0) throw new CommandFailed(`${shown} ended with ${exitCode}\n${said.stderr}`);
  const [user, system, kib] =
    program === undefined ? [] : (await readFile(report, "utf8")).trim().split(" ").map(Number);
  const [cpu, peak] = [(user ?? Number.NaN) + (system ?? Number.NaN), ((kib ?? Number.NaN) * 1024) / 1e6];
  return { taken: { "wall s": wall, "cpu s": cpu, "peak MB": peak }, stdout: said.stdout };
}

export interface MachineFacts {
  readonly processors: number;
  readonly model: string;
  readonly memoryGB: number;
  readonly kernel: string;
  readonly node: string;
  /** Of the last minute, when it was asked. */
  readonly load: number;
}

export const machineFacts = (): MachineFacts => ({
  processors: cpus().length,
  model: cpus()[0]?.model ?? "unknown",
  memoryGB: Math.round(totalmem() / 1e9),
  kernel: release(),
  node: process.version,
  load: Number(loadavg()[0]?.toFixed(1)),
});

/** The longest turn of the loop: by the clock, and what the main thread had of a processor in it, which others' load does not change. */
export class Turns {
  readonly #statistics = openSync(`/proc/self/task/${process.pid}/schedstat`, "r");
  readonly #text = Buffer.alloc(64);
  #next: NodeJS.Immediate;
  #waitMs = 0;
  #processorMs = 0;

  constructor() {
    this.#next = setImmediate(() => this.#turn(performance.now(), this.#processorTime()));
  }

  end(): { readonly waitMs: number; readonly processorMs: number } {
    clearImmediate(this.#next);
    closeSync(this.#statistics);
    return { waitMs: this.#waitMs, processorMs: this.#processorMs };
  }

  #turn(beforeMs: number, processorBeforeMs: number): void {
    this.#next = setImmediate(() => {
      const [nowMs, processorMs] = [performance.now(), this.#processorTime()];
      this.#waitMs = Math.max(this.#waitMs, nowMs - beforeMs);
      this.#processorMs = Math.max(this.#processorMs, processorMs - processorBeforeMs);
      this.#turn(nowMs, processorMs);
    });
  }

  #processorTime(): number {
    const length = readSync(this.#statistics, this.#text, 0, this.#text.length, 0);
    return Number.parseInt(this.#text.toString("latin1", 0, length), 10) / 1e6;
  }
}
