/**
 * What a daemon asks the kernel, as strace(1) writes it down: each call with the moments at which it began and ended, in the one order
 * that strace saw.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Sandbox } from "./sandbox.js";
import { type Tool, toolOrSkip } from "./tools.js";

export interface SystemCall {
  readonly name: string;
  /** Arguments and result, descriptors with their paths. */
  readonly text: string;
  /** Lines of the trace: of two calls, one came before the other where it had ended when that began. */
  readonly began: number;
  readonly ended: number;
}

/** A container may forbid tracing; no package changes that, so it is a reason to skip under CI=true too. */
export function tracer(): Tool {
  const strace = toolOrSkip("strace");
  if (strace.path === undefined) return strace;
  try {
    execFileSync(strace.path, ["-f", "-o", "/dev/null", "true"], { stdio: "ignore", timeout: 10_000 });
    return strace;
  } catch {
    return { skip: "nothing may be traced here" };
  }
}

/** From now on the sandbox's commands are traced, and their children; the tracer is no parent of theirs. */
export function trace(sandbox: Sandbox, strace: string, names: readonly string[]): void {
  const options = ["-D", "-f", "-y", "-s", "4096", "-e", `trace=${names.join()}`, "-o", sandbox.file("trace")];
  sandbox.stratad = [strace, ...options, ...sandbox.stratad];
}

/** All that have ended so far. */
export function systemCalls(sandbox: Sandbox): SystemCall[] {
  const calls: SystemCall[] = [];
  const begun = new Map<string, { readonly name: string; readonly text: string; readonly began: number }>();
  for (const [at, line] of readFileSync(sandbox.file("trace"), "latin1").split("\n").entries()) {
    const [, pid = "", rest = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const [, name = "", resumed] = /^(?:<\.\.\. )?(\w+)(?: resumed>(.*)|\()/.exec(rest) ?? [];
    if (rest.endsWith("<unfinished ...>")) {
      begun.set(pid, { name, text: rest.slice(0, -"<unfinished ...>".length), began: at });
    } else if (resumed !== undefined) {
      const call = begun.get(pid);
      if (call !== undefined) calls.push({ name, text: call.text + resumed, began: call.began, ended: at });
    } else if (name !== "") calls.push({ name, text: rest, began: at, ended: at });
  }
  return calls;
}
