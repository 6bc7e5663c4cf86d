/**
 * A place where nothing meets what is outside: a HOME, a runtime directory and a state directory of its own, and every process
 * that is started in it.
 *
 * All of them carry the sandbox's name in their environment, daemons that a command started in the background too. At the end
 * of the test, however it ends, those that are left are killed by their pid and the directory is removed.
 */
import { spawn } from "node:child_process";
import { chmodSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "./deadline.js";

/** A test's context, or `fileScope()`. */
export interface Scope {
  after(cleanUp: () => Promise<void>): unknown;
}

/** Cleans up what came last first: a file system is unmounted when nobody works on it any more. */
export function lastFirst(scope: Scope): Scope {
  const cleanUps: (() => Promise<void>)[] = [];
  scope.after(async () => {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  });
  return { after: (cleanUp) => cleanUps.push(cleanUp) };
}

/** For what ends before the test does, or stands in none. */
export async function inScope<Value>(work: (scope: Scope) => Promise<Value>): Promise<Value> {
  const cleanUps: (() => Promise<void>)[] = [];
  try {
    return await work({ after: (cleanUp) => cleanUps.push(cleanUp) });
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

/** For what a whole file shares: to be called at its top level, since a hook that is added within a hook runs too early. */
export const fileScope = (): Scope => lastFirst({ after });

export interface Ended {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly deadlineMs?: number;
}

/** The compiled bin beside these compiled tests. */
export const mainScript = fileURLToPath(new URL("../../src/main.js", import.meta.url));

const MARK = "STRATAD_TEST_SANDBOX";
/** A daemon that outlives even a killed test run goes by itself. */
const LAST_RESORT_IDLE_MS = 120_000;

export class Sandbox {
  readonly directory: string;
  readonly home: string;
  readonly runtimeDir: string;
  readonly stateDir: string;
  readonly env: NodeJS.ProcessEnv;
  /** What runs the command line here; arguments follow. */
  stratad: readonly [string, ...string[]] = [process.execPath, mainScript];

  private constructor(directory: string, stateDir: string) {
    this.directory = directory;
    this.home = join(directory, "home");
    this.runtimeDir = join(directory, "run", "stratad");
    this.stateDir = stateDir;
    this.env = {
      PATH: process.env.PATH,
      HOME: this.home,
      XDG_RUNTIME_DIR: join(directory, "run"),
      TMPDIR: join(directory, "tmp"),
      LANG: "C.UTF-8",
      TZ: "UTC",
      STRATAD_STATE_DIR: this.stateDir,
      STRATAD_IDLE_EXIT_MS: String(LAST_RESORT_IDLE_MS),
      [MARK]: directory,
      ...inherited("STRATAD_STORE_DEDUP"),
    };
  }

  /**
   * A socket's path has 107 bytes: the directory stands in the temporary directory under a short name. `stateBelow` is where the
   * state directory is to be instead; the caller removes that.
   */
  static async create(scope: Scope, { stateBelow }: { readonly stateBelow?: string } = {}): Promise<Sandbox> {
    const directory = await mkdtemp(join(tmpdir(), "sd-"));
    const sandbox = new Sandbox(directory, join(stateBelow ?? directory, "state"));
    scope.after(() => sandbox.end());
    for (const name of ["home", "run", "tmp", "files"]) await mkdir(sandbox.file(name), { mode: 0o700 });
    return sandbox;
  }

  /** A path below the sandbox's directory. */
  file(...parts: readonly string[]): string {
    return join(this.directory, ...parts);
  }

  /** Runs a program to its end. Rejects only where it does not start or does not end. */
  async run(command: readonly [string, ...string[]], options: RunOptions = {}): Promise<Ended> {
    const [program, ...args] = command;
    const child = spawn(program, args, {
      env: { ...this.env, ...options.env },
      cwd: options.cwd ?? this.directory,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
    const { deadlineMs = 60_000 } = options;
    const timer = setTimeout(() => child.kill("SIGKILL"), deadlineMs);
    try {
      const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", (code, by) => resolve([code, by]));
      });
      return { exitCode, signal, stdout: stdout.text, stderr: stderr.text };
    } finally {
      clearTimeout(timer);
    }
  }

  /** As `run`, and throws with all that was said where the exit code is not 0. Returns stdout. */
  async must(command: readonly [string, ...string[]], options: RunOptions = {}): Promise<string> {
    const { exitCode, signal, stdout, stderr } = await this.run(command, options);
    if (exitCode === 0) return stdout;
    throw new Error(`${command.join(" ")} ended with ${signal ?? exitCode}\n${stdout}${stderr}`);
  }

  /** Pids of every process that was started in the sandbox and is not gone. */
  async processes(): Promise<number[]> {
    const found: number[] = [];
    for (const name of await readdir("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      const environment = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "");
      if (environment.split("\0").includes(`${MARK}=${this.directory}`)) found.push(Number(name));
    }
    return found;
  }

  async end(): Promise<void> {
    await until("the sandbox's processes are gone", async () => {
      const left = await this.processes();
      for (const pid of left) kill(pid);
      return left.length === 0;
    });
    await rm(this.directory, { recursive: true, force: true }).catch(async () => {
      // As an ordinary user: directories of a root may lack their write bit.
      await openDirectories(this.directory);
      await rm(this.directory, { recursive: true, force: true });
    });
  }
}

/** What a whole test run may be given, to see that everything holds with it too. */
function inherited(variable: string): NodeJS.ProcessEnv {
  const value = process.env[variable];
  return value === undefined ? {} : { [variable]: value };
}

export function collect(stream: NodeJS.ReadableStream): { text: string } {
  const collected = { text: "" };
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    collected.text += chunk;
  });
  return collected;
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It went by itself.
  }
}

async function openDirectories(directory: string): Promise<void> {
  chmodSync(directory, 0o700);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await openDirectories(join(directory, entry.name));
  }
}
