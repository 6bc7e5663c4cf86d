/** What the benches have in common: a place of their own on a file system, a clock and a median. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Scope } from "../support/sandbox.js";

export async function timed(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

export function median(of: readonly number[]): number {
  return of.toSorted((x, y) => x - y)[Math.floor(of.length / 2)] ?? Number.NaN;
}

/** In a directory of its own below `below`; whatever comes of it, nothing is left there. */
export async function inPlace(below: string, action: (place: string, scope: Scope) => Promise<void>): Promise<void> {
  const place = await mkdtemp(join(below, "bench-"));
  const cleanUps: (() => Promise<void>)[] = [() => rm(place, { recursive: true, force: true })];
  try {
    await action(place, { after: (cleanUp) => cleanUps.push(cleanUp) });
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}
