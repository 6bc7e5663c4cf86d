/**
 * What the daemon tells the service manager: ready, stopping, still alive (sd_notify(3)).
 *
 * Node has no Unix datagram sockets, so systemd-notify sends the message, as another pid: the unit needs NotifyAccess=all.
 * Without NOTIFY_SOCKET nothing happens. Telling never fails the daemon.
 */
import type { Log } from "../log.js";
import { runProgram } from "./program.js";

export type NotifyState = "READY=1" | "STOPPING=1" | "WATCHDOG=1" | `STATUS=${string}`;

export interface Readiness {
  /** A service manager started this daemon, waits for what it tells, and starts it again. */
  readonly isManaged: boolean;
  /** True when the manager took the message. */
  notify(state: NotifyState): Promise<boolean>;
  /**
   * Says WATCHDOG=1 at half the interval that the manager asked for; a main thread that hangs says nothing and is restarted. Does
   * nothing where no watchdog is asked for. Returns what stops it.
   */
  startWatchdog(): () => void;
}

export interface ReadinessOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  readonly pid?: number;
  /** The systemd-notify program; a path, or a name to look up in PATH. */
  readonly program?: string;
}

/** systemd-notify waits for the manager to read the message; a manager that hangs must not keep us from stopping. */
const NOTIFY_TIMEOUT_MS = 10_000;

export function createReadiness({
  env,
  log,
  pid = process.pid,
  program = "systemd-notify",
}: ReadinessOptions): Readiness {
  const { NOTIFY_SOCKET = "" } = env;
  const isManaged = NOTIFY_SOCKET !== "";
  let toldMissing = false;

  const notify = async (state: NotifyState) => {
    if (!isManaged) return false;
    const outcome = await runProgram(program, [state], { env: { NOTIFY_SOCKET }, timeoutMs: NOTIFY_TIMEOUT_MS });
    if (outcome.kind === "exited" && outcome.exitCode === 0) return true;
    if (outcome.kind === "exited") {
      log.warn("readiness.failed", { ...outcome, state });
    } else if (!toldMissing) {
      toldMissing = true;
      const instead =
        "nothing is told; daemon.json appears once the daemon is ready; use Type=exec without WatchdogSec=";
      log.warn("readiness.unavailable", { ...outcome, program, instead });
    }
    return false;
  };

  const startWatchdog = () => {
    const intervalMs = watchdogIntervalMs(env, pid);
    if (intervalMs === undefined) return () => {};
    const timer = setInterval(() => void notify("WATCHDOG=1"), intervalMs);
    timer.unref();
    return () => clearInterval(timer);
  };

  return { isManaged, notify, startWatchdog };
}

/** Half of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises; undefined where it is absent or meant for another pid. */
export function watchdogIntervalMs(env: NodeJS.ProcessEnv, pid: number = process.pid): number | undefined {
  const { WATCHDOG_USEC, WATCHDOG_PID } = env;
  if (WATCHDOG_USEC === undefined || !/^[1-9]\d{0,14}$/.test(WATCHDOG_USEC)) return undefined;
  if (WATCHDOG_PID !== undefined && WATCHDOG_PID !== String(pid)) return undefined;
  const MAX_TIMER_MS = 2 ** 31 - 1;
  return Math.min(Math.max(1, Math.floor(Number(WATCHDOG_USEC) / 1000 / 2)), MAX_TIMER_MS);
}
