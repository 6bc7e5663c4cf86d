/** Where a test file gives workers their tasks: a directory of its own, and a process that stays awake while they run. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

/** Gone when the tests that are being declared are over; until then the process stays awake. */
export function workDirectory(name: string): string {
  const path = mkdtempSync(join(tmpdir(), `${name}-`));
  const rest = stayAwake();
  after(() => {
    rest();
    rmSync(path, { recursive: true });
  });
  return path;
}

/** Shared memory wakes nobody in a process that has nothing else to wait for. Returns what lets it end. */
export function stayAwake(): () => void {
  const alive = setInterval(() => undefined, 1000);
  return () => clearInterval(alive);
}
