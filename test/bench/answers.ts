/** How the daemon answers: while it works, while many sit there, and to an install of what is installed. */
import { setTimeout as delay } from "node:timers/promises";
import { type Daemon, serve } from "../support/daemon.js";
import { inScope, Sandbox, type Scope } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";
import { type Answer, Crowd } from "./crowd.js";
import { descriptors, type Figures, inPlace, megabytes, percentile, processorSeconds, timed } from "./measuring.js";
import { WORKERS } from "./ours.js";
import type { Bench, Row } from "./race.js";

const TMPFS = "/dev/shm";
export const IDLE = "an idle daemon";
export const BUSY = "every worker busy";
export const NOBODY = "no session beside";
/** Watched for this long. */
const IDLE_MS = 2000;
const REPEATS = 3000;
const IN_FLIGHT = 32;

interface Started {
  readonly scope: Scope;
  readonly daemon: Daemon;
  readonly wire: Wire;
}

/** A daemon of two workers on tmpfs, for as long as the action takes. */
export function withDaemon<Value>(action: (started: Started) => Promise<Value>): Promise<Value> {
  return inPlace(TMPFS, (stateBelow) =>
    inScope(async (scope) => {
      const sandbox = await Sandbox.create(scope, { stateBelow });
      const daemon = await serve(sandbox, { env: { STRATAD_WORKERS: String(WORKERS) } });
      const wire = await Wire.connect(scope, daemon.socket);
      // A session that never says anything is dropped, and this one may have to wait for others.
      await wire.request("server/status");
      return action({ scope, daemon, wire });
    }),
  );
}

/** `runs` times all of `ways`, one after another. */
export async function eachWay(runs: number, ways: Readonly<Record<string, () => Promise<Figures>>>): Promise<Row[]> {
  const rows = Object.keys(ways).map((contestant) => ({ place: "tmpfs", contestant, samples: [] as Figures[] }));
  for (let run = 0; run < runs; run += 1)
    for (const { contestant, samples } of rows) samples.push((await ways[contestant]?.()) ?? {});
  return rows;
}

/** A second process asks every two milliseconds, while nothing happens and while images are unpacked; only answers that say so count. */
export async function statusUnderLoad({ inputs, quick, runs }: Bench): Promise<Row[]> {
  const layouts = await Promise.all(
    (["many", "tiny", "six"] as const).map(async (name) => (await inputs.get(name)).layout),
  );
  const rows: Row[] = [];
  for (let run = 0; run < runs; run += 1)
    await withDaemon(async ({ scope, daemon, wire }) => {
      const crowd = await Crowd.at(scope, daemon.readOnlySocket);
      await crowd.ask();
      await delay(quick ? 200 : IDLE_MS);
      const idle = await crowd.stop();
      await crowd.ask();
      await Promise.all(layouts.map((layout) => wire.ready(`oci:${layout}:gzip`)));
      const busy = (await crowd.stop()).filter((answer) => answer.busy);
      rows.push(
        { place: "tmpfs", contestant: IDLE, samples: [latencies(idle)] },
        { place: "tmpfs", contestant: BUSY, samples: [latencies(busy)] },
      );
    });
  return [IDLE, BUSY].map((contestant) => ({
    place: "tmpfs",
    contestant,
    samples: rows.filter((row) => row.contestant === contestant).flatMap(({ samples }) => samples),
  }));
}

function latencies(answers: readonly Answer[]): Figures {
  const ms = answers.map((answer) => answer.ms);
  return {
    "p50 ms": percentile(ms, 0.5),
    "p99 ms": percentile(ms, 0.99),
    "longest ms": percentile(ms, 1),
    "how many answers": ms.length,
  };
}

export const sittingName = (count: number): string => `${count.toLocaleString("en")} idle sessions`;

export function idleSessions({ runs, quick }: Bench, count: number): Promise<Row[]> {
  const beside = (sessions: number) => () =>
    withDaemon(async ({ scope, daemon }) => {
      const crowd = await Crowd.at(scope, daemon.readOnlySocket);
      const connected = sessions === 0 ? 0 : await timed(() => crowd.sit(sessions));
      const before = await processorSeconds(daemon.pid);
      await delay(quick ? 200 : IDLE_MS);
      const cpu = (await processorSeconds(daemon.pid)) - before;
      const asker = await Crowd.at(scope, daemon.readOnlySocket);
      await asker.ask();
      await delay(quick ? 200 : IDLE_MS);
      const { "p50 ms": p50 = Number.NaN, "p99 ms": p99 = Number.NaN } = latencies(await asker.stop());
      const held = { "resident MB": megabytes(daemon.pid), "how many descriptors": await descriptors(daemon.pid) };
      return { "connected ms": connected, ...held, "idle cpu s": cpu, "p50 ms": p50, "p99 ms": p99 };
    });
  return eachWay(Math.min(3, runs), { [NOBODY]: beside(0), [sittingName(count)]: beside(count) });
}

export const subscribedName = (count: number): string => `${count.toLocaleString("en")} subscribed sessions`;

/** A cold install over a session, with and without many that are told of it; they read what they are told. */
export async function subscribedSessions({ runs, inputs }: Bench, count: number): Promise<Row[]> {
  const { layout } = await inputs.get("many");
  const beside = (sessions: number) => () =>
    withDaemon(async ({ scope, daemon, wire }) => {
      const crowd = await Crowd.at(scope, daemon.readOnlySocket);
      await crowd.sit(sessions, { subscribed: true });
      const before = await processorSeconds(daemon.pid);
      const wall = (await timed(() => wire.ready(`oci:${layout}:gzip`))) / 1000;
      const cpu = (await processorSeconds(daemon.pid)) - before;
      return { "wall s": wall, "cpu s": cpu, "resident MB": megabytes(daemon.pid) };
    });
  return eachWay(runs, { [NOBODY]: beside(0), [subscribedName(count)]: beside(count) });
}

/** Installs of what is installed, over one session: one after another, and many in flight. */
export async function repeats({ runs, inputs, quick }: Bench): Promise<Row[]> {
  const { layout } = await inputs.get("six");
  const reference = `oci:${layout}:gzip`;
  const count = quick ? 200 : REPEATS;
  return withDaemon(async ({ wire, daemon }) => {
    await wire.ready(reference);
    const again = async (times: number) => {
      for (let time = 0; time < times; time += 1) await wire.ready(reference);
    };
    const at = (inFlight: number) => async () => {
      const before = await processorSeconds(daemon.pid);
      const ms = await timed(() => Promise.all(Array.from({ length: inFlight }, () => again(count / inFlight))));
      const cpu = (await processorSeconds(daemon.pid)) - before;
      return { "installs /s": (count / ms) * 1000, "one ms": ms / count, "cpu s": cpu };
    };
    return eachWay(runs, { "one after another": at(1), [`${IN_FLIGHT} in flight`]: at(IN_FLIGHT) });
  });
}
