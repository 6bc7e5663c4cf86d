/**
 * Starts the user's daemon in the background, and says why where it ended again.
 *
 * It is a session of its own (Ctrl-C does not reach it), stands in `/`, ends itself when idle, and writes to `daemon.log` in its
 * state directory, which is bounded. Knows nothing of its protocol.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { namesStateDir, readEndpointDocument } from "../client/endpoint.js";
import { type Config, loadConfig } from "../config.js";
import { ensureDirectories } from "../ensure-directory.js";
import { isErrorCode, StrataError, toStrataError } from "../errors.js";
import { IDLE_EXIT_MS, MAX_DAEMON_LOG_BYTES } from "../limits.js";
import { printable } from "../printable.js";
import type { Host } from "./context.js";

export interface BackgroundDaemon {
  readonly logPath: string;
  /** Resolves only when the daemon ended early: with the last error of its log. */
  readonly ended: Promise<StrataError>;
}

/** The daemon that a command of this user would start, as its configuration says. */
export async function userConfig({ env, uid, home, tmpdir }: Host): Promise<Config> {
  const load = (environment: NodeJS.ProcessEnv): Promise<Config> =>
    loadConfig({ flags: {}, env: environment, uid, system: false, home, tmpdir });
  const config = await load(env);
  const runtimeDir = await placeBeside(config);
  return runtimeDir === undefined ? config : load({ ...env, STRATAD_RUNTIME_DIR: runtimeDir });
}

/**
 * A user may have several homes and one runtime directory. The first daemon that a command starts gets the usual place; that of
 * another state directory a place below it, as GnuPG does it for its homes. Undefined where the usual place is ours, and
 * where somebody started a daemon there by hand: that one is meant to be used.
 */
async function placeBeside({ runtimeDir, stateDir }: Config): Promise<string | undefined> {
  const file = join(runtimeDir, "daemon.json");
  if (await namesStateDir(file, stateDir)) return undefined;
  const occupant = await readEndpointDocument(file).catch(() => undefined);
  if (occupant?.background !== true || occupant.stateDir === stateDir) return undefined;
  return join(runtimeDir, `d.${createHash("sha256").update(stateDir).digest("hex").slice(0, 16)}`);
}

/** CONFIG_INVALID, or a store error where its log cannot be written. */
export async function startInBackground(host: Host, config: Config): Promise<BackgroundDaemon> {
  const logPath = join(config.stateDir, "daemon.log");
  const log = await openLog(config.stateDir, logPath);
  try {
    const from = (await log.stat()).size;
    const child = spawn(process.execPath, [host.script, "serve", "--state", config.stateDir], {
      cwd: "/",
      detached: true,
      env: daemonEnvironment(host, config),
      stdio: ["ignore", log.fd, log.fd],
    });
    child.unref();
    return { logPath, ended: reasonOfEnd(child, logPath, from) };
  } finally {
    await log.close();
  }
}

async function openLog(stateDir: string, logPath: string): Promise<FileHandle> {
  try {
    await ensureDirectories(stateDir);
    const log = await open(logPath, "a+", 0o600);
    if ((await log.stat()).size > MAX_DAEMON_LOG_BYTES) await log.truncate(0);
    return log;
  } catch (error) {
    throw toStrataError(error, `Cannot open the daemon's log ${printable(logPath, 1024)}`);
  }
}

/**
 * Flags of this one call are not the daemon's settings; a daemon that nobody asked for ends by itself. What a service manager told the
 * caller's service is not for the daemon: it would say that service is stopping.
 */
function daemonEnvironment({ env }: Host, config: Config): NodeJS.ProcessEnv {
  const inherited = Object.entries(env).filter(([name]) => !OF_THE_CALL.test(name));
  const { runtimeDir, idleExitMs = IDLE_EXIT_MS } = config;
  return {
    ...Object.fromEntries(inherited),
    STRATAD_RUNTIME_DIR: runtimeDir,
    STRATAD_IDLE_EXIT_MS: String(idleExitMs),
  };
}

const OF_THE_CALL =
  /^(?:STRATAD_(?:QUIET|PROGRESS|COLOR|TIMEOUT)|NOTIFY_SOCKET|WATCHDOG_(?:USEC|PID)|LISTEN_(?:FDS|PID|FDNAMES))$/;

async function reasonOfEnd(child: ChildProcess, logPath: string, from: number): Promise<StrataError> {
  const end = await new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) =>
      resolve(signal === null ? `it ended with exit code ${code}` : `${signal} ended it`),
    );
  });
  const lines = await readFrom(logPath, from).catch(() => []);
  const told = lines.map(parseErrorLine).findLast((error) => error !== undefined);
  if (told !== undefined) return told;
  const last = lines.findLast((line) => /^\S*Error\b/.test(line)) ?? lines.findLast((line) => line.trim() !== "");
  return new StrataError("DAEMON_UNREACHABLE", `Cannot start the daemon: ${printable(end)}`, {
    details: { log: logPath, ...(last === undefined ? {} : { said: printable(last, 512) }) },
  });
}

/** The end of what was written since `from`; a stack trace in front of it may be long. */
const LOG_TAIL_BYTES = 64 * 1024;

async function readFrom(logPath: string, from: number): Promise<string[]> {
  const log = await open(logPath, "r");
  try {
    const { size } = await log.stat();
    const start = Math.max(from, size - LOG_TAIL_BYTES);
    const { buffer, bytesRead } = await log.read(Buffer.alloc(Math.max(0, size - start)), { position: start });
    return buffer.toString("utf8", 0, bytesRead).split("\n");
  } finally {
    await log.close();
  }
}

/** A line of log.ts at level error that has a code of ours, as `serve` writes when it cannot start. */
export function parseErrorLine(line: string): StrataError | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const { level, code, message, details, hint } = JSON.parse(line) as Readonly<Record<string, unknown>>;
    if (level !== "error" || typeof code !== "string" || !isErrorCode(code) || typeof message !== "string")
      return undefined;
    return new StrataError(code, message, {
      ...(typeof details === "object" && details !== null ? { details: { ...details } } : {}),
      ...(typeof hint === "string" ? { hint } : {}),
    });
  } catch {
    return undefined;
  }
}
