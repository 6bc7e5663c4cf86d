/** Starts processes that contend for a lock, and speaks with them (lock-holder.ts). */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const holderScript = fileURLToPath(new URL("./lock-holder.js", import.meta.url));

export interface Attempt {
  readonly locked: boolean;
  readonly pid: number;
  readonly how?: "flock" | "file";
  readonly code?: string;
  readonly message?: string;
  readonly holder?: number;
}

export interface Contender {
  readonly pid: number;
  attempt(): Promise<Attempt>;
  release(): Promise<void>;
  kill(): Promise<void>;
}

export interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/** Resolves when the process waits for its turn. The test ends it. */
export async function startContender(path: string, flockProgram: string, identity: Identity = {}): Promise<Contender> {
  const child = spawn(process.execPath, [holderScript, path, flockProgram], {
    stdio: ["pipe", "pipe", "inherit"],
    ...identity,
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value ?? '{"ended":true}');
  const { pid } = await next();
  return {
    pid,
    attempt: () => {
      child.stdin.write("\n");
      return next();
    },
    release: () => {
      child.stdin.write("\n");
      return ended(child);
    },
    kill: () => {
      child.kill("SIGKILL");
      return ended(child);
    },
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}
