/**
 * The real thing: the compiled command line as a child process, and the daemon that it serves, in a sandbox.
 *
 * Nothing of src/ is imported but the schemas: what is tested is what ships.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EndpointDocument } from "../../src/messages/endpoint.js";
import { until, within } from "./deadline.js";
import { collect, type Ended, type RunOptions, type Sandbox } from "./sandbox.js";

export const checkout = findCheckout(dirname(fileURLToPath(import.meta.url)));
export const fixtureImages = join(checkout, "test/fixtures/images");

export interface Daemon {
  readonly pid: number;
  readonly document: EndpointDocument;
  /** The socket of full scope, and that of read scope. */
  readonly socket: string;
  readonly readOnlySocket: string;
  /** Everything it has logged so far: one JSON object a line. */
  log(): string;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<Ended>;
}

export interface ServeOptions {
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** For daemon.json: a store may be large. */
  readonly deadlineMs?: number;
}

/** Starts `stratad serve` in the foreground and answers when its daemon.json is there. It ends with the sandbox. */
export async function serve(sandbox: Sandbox, { args = [], env, deadlineMs }: ServeOptions = {}): Promise<Daemon> {
  const [program, ...before] = sandbox.stratad;
  const child = spawn(program, [...before, "serve", ...args], {
    env: { ...sandbox.env, ...env },
    cwd: sandbox.directory,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return adopt(child, sandbox, deadlineMs);
}

/** A daemon that somebody else starts as `child`, e.g. systemd-socket-activate. */
export async function adopt(child: ChildProcess, sandbox: Sandbox, deadlineMs?: number): Promise<Daemon> {
  if (child.stdout === null || child.stderr === null) throw new Error("the child's output is not piped");
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const ended = new Promise<Ended>((resolve) => {
    child.once("close", (exitCode, signal) => resolve({ exitCode, signal, stdout: stdout.text, stderr: stderr.text }));
  });
  let over = false;
  void ended.then(() => {
    over = true;
  });
  const written = async () => {
    if (over) throw new Error(`the daemon ended early:\n${stderr.text}`);
    const found = await readEndpoint(sandbox);
    return found?.pid === child.pid ? found : undefined;
  };
  const document = await until("the daemon writes daemon.json", written, deadlineMs);
  const pathOf = (scope: "full" | "read") =>
    document.endpoints.find((endpoint) => endpoint.scope === scope && endpoint.kind === "unix")?.path ?? "";
  return {
    pid: document.pid,
    document,
    socket: pathOf("full"),
    readOnlySocket: pathOf("read"),
    log: () => stderr.text,
    kill: (signal) => process.kill(document.pid, signal),
    get ended() {
      return within("the daemon ends", ended, 120_000);
    },
  };
}

/** daemon.json of the sandbox; undefined while there is none. */
export async function readEndpoint(
  sandbox: Sandbox,
  runtimeDir = sandbox.runtimeDir,
): Promise<EndpointDocument | undefined> {
  const text = await readFile(join(runtimeDir, "daemon.json"), "utf8").catch(() => undefined);
  return text === undefined ? undefined : EndpointDocument.parse(JSON.parse(text));
}

/** Runs one command of the command line to its end. */
export function cli(sandbox: Sandbox, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return sandbox.run([...sandbox.stratad, ...args], options);
}

/** The document that a command prints with --json; fails where it ends with another code than `exitCode`. */
export async function cliJson(
  sandbox: Sandbox,
  args: readonly string[],
  { exitCode = 0, ...options }: RunOptions & { readonly exitCode?: number } = {},
): Promise<unknown> {
  const ended = await cli(sandbox, [...args, "--json"], options);
  if (ended.exitCode !== exitCode) {
    const how = `ended with ${ended.signal ?? ended.exitCode}, not ${exitCode}`;
    throw new Error(`stratad ${args.join(" ")} ${how}\n${ended.stdout}${ended.stderr}`);
  }
  return JSON.parse(ended.stdout);
}

function findCheckout(from: string): string {
  for (let directory = from; directory !== "/"; directory = dirname(directory)) {
    if (existsSync(join(directory, "package.json")) && existsSync(join(directory, "test/fixtures"))) return directory;
  }
  throw new Error(`no checkout above ${from}`);
}
