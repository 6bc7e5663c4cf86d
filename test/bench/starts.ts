/** How long a daemon takes until its daemon.json is there: on no store, and on a large one that was written, stopped or killed before. */
import { setTimeout as delay } from "node:timers/promises";
import { SETTLED_MS } from "../../src/limits.js";
import { type Daemon, serve } from "../support/daemon.js";
import { inScope, Sandbox } from "../support/sandbox.js";
import { writeSyntheticStore } from "../support/synthetic-store.js";
import { type Figures, inPlace, megabytes, processorSeconds } from "./measuring.js";
import type { Bench, Row } from "./race.js";

export const EMPTY = "no store";
export const STOPPED = "100,000 layers, after a stop";
export const KILLED = "100,000 layers, after a kill";
const DEADLINE_MS = 300_000;
const SIZE = { layers: 100_000, roots: 10_000, names: 10_000, bare: true };

export async function starts({ runs, quick }: Bench): Promise<Row[]> {
  const samples: Record<string, Figures[]> = { [EMPTY]: [], [STOPPED]: [], [KILLED]: [] };
  for (let run = 0; run < runs; run += 1)
    await onStore(async (sandbox) => void samples[EMPTY]?.push(await startAnd("SIGKILL", sandbox)));
  await onStore(async (sandbox) => {
    writeSyntheticStore(sandbox.stateDir, quick ? { ...SIZE, layers: 100, roots: 10, names: 10 } : SIZE);
    // Of what was written a moment ago no start takes the word of a memo.
    await delay(SETTLED_MS);
    await startAnd("SIGTERM", sandbox);
    for (let run = 0; run < runs; run += 1) {
      samples[STOPPED]?.push(await startAnd("SIGKILL", sandbox));
      samples[KILLED]?.push(await startAnd("SIGTERM", sandbox));
    }
  });
  return Object.entries(samples).map(([contestant, of]) => ({ place: "tmpfs", contestant, samples: of }));
}

const onStore = (action: (sandbox: Sandbox) => Promise<void>): Promise<void> =>
  inPlace("/dev/shm", (stateBelow) => inScope(async (scope) => action(await Sandbox.create(scope, { stateBelow }))));

async function startAnd(end: "SIGTERM" | "SIGKILL", sandbox: Sandbox): Promise<Figures> {
  const start = performance.now();
  const daemon: Daemon = await serve(sandbox, { deadlineMs: DEADLINE_MS });
  const ms = performance.now() - start;
  const figures = { "start ms": ms, "cpu s": await processorSeconds(daemon.pid), "resident MB": megabytes(daemon.pid) };
  daemon.kill(end);
  await daemon.ended;
  return figures;
}
