/**
 * Runs one of the small programs that do what Node cannot (flock, sync, systemd-notify), and says when there is none.
 *
 * Never throws for what the program does: a missing program and a bad exit are outcomes. The child gets PATH, the C locale
 * and what the caller names, not the daemon's environment.
 */
import { spawn } from "node:child_process";
import { systemErrorCode } from "../errors.js";

export type ProgramOutcome =
  /** It could not be started: `errno` is ENOENT where it is not installed. */
  | { readonly kind: "unavailable"; readonly errno: string }
  /** `exitCode` is -1 where a signal ended it. */
  | { readonly kind: "exited"; readonly exitCode: number; readonly stderr: string };

export interface ProgramOptions {
  /** Becomes the child's descriptor 3; it stays open here. */
  readonly descriptor?: number;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The child is killed after this long. */
  readonly timeoutMs?: number;
}

/** More of a message than this helps nobody. */
const MAX_STDERR_CHARACTERS = 1000;

export function runProgram(program: string, args: readonly string[], options: ProgramOptions = {}) {
  return new Promise<ProgramOutcome>((resolve) => {
    const unavailable = (error: unknown) =>
      resolve({ kind: "unavailable", errno: systemErrorCode(error) ?? String(error) });
    try {
      const child = spawn(program, args, {
        // A working directory that was removed would look like a missing program.
        cwd: "/",
        env: { PATH: process.env.PATH, LC_ALL: "C", ...options.env },
        stdio: ["ignore", "ignore", "pipe", options.descriptor ?? "ignore"],
        timeout: options.timeoutMs,
        killSignal: "SIGKILL",
      });
      let stderr = "";
      child.stderr?.setEncoding("utf8").on("data", (text: string) => {
        stderr = `${stderr}${text}`.slice(0, MAX_STDERR_CHARACTERS);
      });
      child.once("error", unavailable);
      child.once("close", (code) => resolve({ kind: "exited", exitCode: code ?? -1, stderr: stderr.trim() }));
    } catch (error) {
      unavailable(error);
    }
  });
}
