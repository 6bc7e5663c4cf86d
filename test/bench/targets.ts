/** The targets of design/performance.md as a table: what was promised, what of the rows it is read from, and what it may be at most. */
import { BUSY, IDLE, NOBODY, subscribedName } from "./answers.js";
import { growthName } from "./growth.js";
import { median } from "./measuring.js";
import { WORKERS } from "./ours.js";
import { DOWNLOAD, OVERLAPPED } from "./overlapped.js";
import type { Row } from "./race.js";
import { SESSION, SPARES, SUBSCRIBED } from "./scenarios.js";
import { EMPTY, KILLED, STOPPED } from "./starts.js";

/** Rows by scenario; of a part of the bench, those of its scenarios. */
export type Results = ReadonlyMap<string, readonly Row[]>;

export interface Target {
  readonly what: string;
  readonly scenario: string;
  readonly limit: number;
  /** The limit is the least, not the most. */
  readonly atLeast?: boolean;
  /** NaN where it was not measured. */
  figure(results: Results): number;
}

export interface Judged {
  readonly target: string;
  readonly limit: string;
  /** Absent: not measured. */
  readonly figure?: number;
  readonly verdict: "met" | "NOT MET" | "not measured";
}

interface Where {
  readonly contestant: string;
  readonly figure?: string;
  readonly place?: string;
}

const medianOf = (
  results: Results,
  scenario: string,
  { contestant, figure = "wall s", place = "tmpfs" }: Where,
): number => {
  const row = results.get(scenario)?.find((each) => each.contestant === contestant && each.place === place);
  return median(row?.samples.map((sample) => sample[figure] ?? Number.NaN) ?? []);
};

const value = (what: string, scenario: string, limit: number, where: Where): Target => ({
  what,
  scenario,
  limit,
  figure: (results) => medianOf(results, scenario, where),
});

const ratio = (what: string, scenario: string, limit: number, [one, other]: readonly [Where, Where]): Target => ({
  what,
  scenario,
  limit,
  figure: (results) => medianOf(results, scenario, one) / medianOf(results, scenario, other),
});

const OURS: Where = { contestant: "stratad" };
/** Cold installs against each peer: `limits` by the peer's name. */
const against = (what: string, scenario: string, limits: Readonly<Record<string, number>>): Target[] =>
  Object.entries(limits).map(([contestant, limit]) =>
    ratio(`${what}: against ${contestant}`, scenario, limit, [OURS, { contestant }]),
  );

const timesTen = (what: "entries" | "bytes, in MB" | "layers") =>
  ratio(`ten times the ${what.split(",")[0]}: times the time`, "growth", 10.5, [
    { contestant: growthName(what, 100) },
    { contestant: growthName(what, 10) },
  ]);

const onDisk = (place: string): Target[] =>
  (
    [
      ["stratad, stored", ""],
      [SPARES, ", spares made"],
    ] as const
  ).map(([contestant, how]) =>
    ratio(`warm install against cp -al, ${place}${how}`, "disks", 0.8, [
      { contestant, place },
      { contestant: "cp -al", place },
    ]),
  );

/** Of all cold installs of this run by as many workers as the targets are for. */
const peakMemory: Target = {
  what: `peak memory of the daemon, any layer, ${WORKERS} workers, MB`,
  scenario: "many",
  limit: 250,
  figure: (results) => {
    const peaks = ["many", "few", "tiny", "six", "zstd", "none"].flatMap((name) =>
      (results.get(name) ?? []).filter(({ contestant }) => contestant === "stratad"),
    );
    return Math.max(...peaks.flatMap(({ samples }) => samples.map((sample) => sample["peak MB"] ?? Number.NaN)));
  },
};

const MANY = "cold install, many small files";
const status = { contestant: BUSY, figure: "p99 ms" };

export const targets: readonly Target[] = [
  ...against(MANY, "many", { "umoci unpack": 0.35, "containerd, native": 0.24, "GNU tar": 0.58, "igzip | tar": 1.05 }),
  ...against("cold install, 50,000 tiny files", "tiny", {
    "umoci unpack": 0.25,
    "containerd, native": 0.24,
    "GNU tar": 0.95,
  }),
  ...against("cold install, six layers", "six", {
    "umoci unpack": 0.25,
    "containerd, native": 0.2,
    "GNU tar, two at a time": 0.8,
  }),
  ...against("few large files", "few", { "GNU tar": 0.5, bsdtar: 0.95, "igzip | tar": 1.3 }),
  ratio("warm install against cp -al, tmpfs", "warm", 0.65, [OURS, { contestant: "cp -al" }]),
  ratio("warm install over an open session against cp -al, tmpfs", "warm", 0.65, [
    { contestant: SESSION },
    { contestant: "cp -al" },
  ]),
  ratio("warm install against cp -al, tmpfs, spares made", "warm", 0.65, [
    { contestant: SPARES },
    { contestant: "cp -al" },
  ]),
  ...["disk", "ext4", "xfs", "btrfs"].flatMap(onDisk),
  ratio("update of one small layer of six against cold", "update", 0.15, [
    { contestant: "stratad, the update" },
    { contestant: "stratad, cold" },
  ]),
  ratio("update of one small layer of six against cold, spares made", "update", 0.15, [
    { contestant: "stratad, the update, spares made" },
    { contestant: "stratad, cold" },
  ]),
  {
    ...value("repeated installs a second", "repeat", 2000, { contestant: "32 in flight", figure: "installs /s" }),
    atLeast: true,
  },
  {
    ...value("symlink mode, s", "links", 0.02, { contestant: "symlink", figure: "job s" }),
  },
  {
    what: "download overlapped with unpack: against the longer alone",
    scenario: "overlapped",
    limit: 1.15,
    figure: (results) => {
      const of = (contestant: string) => medianOf(results, "overlapped", { contestant });
      return of(OVERLAPPED) / Math.max(of(DOWNLOAD), of("stratad, from the layout"));
    },
  },
  ratio("status p99, every worker busy: against an idle daemon", "status", 3, [
    status,
    { contestant: IDLE, figure: "p99 ms" },
  ]),
  value("the longest answer while every worker is busy, ms", "status", 50, { contestant: BUSY, figure: "longest ms" }),
  ratio("5,000 subscribed sessions: the install against none", "subscribed", 1.1, [
    { contestant: subscribedName(SUBSCRIBED) },
    { contestant: NOBODY },
  ]),
  peakMemory,
  timesTen("entries"),
  timesTen("bytes, in MB"),
  timesTen("layers"),
  value("daemon start, empty store, ms", "start", 150, { contestant: EMPTY, figure: "start ms" }),
  value("daemon start, 100,000 layers, after a stop, ms", "start", 2000, { contestant: STOPPED, figure: "start ms" }),
  value("daemon start, 100,000 layers, after a kill, ms", "start", 2000, { contestant: KILLED, figure: "start ms" }),
];

/** Every target, those that were not measured too. */
export function judge(results: Results): Judged[] {
  return targets.map((target) => {
    const { what, limit, atLeast = false } = target;
    const figure = target.figure(results);
    const shown = { target: what, limit: `${atLeast ? "≥" : "≤"} ${limit}` };
    if (!Number.isFinite(figure)) return { ...shown, verdict: "not measured" };
    const holds = atLeast ? figure >= limit : figure <= limit;
    return { ...shown, figure, verdict: holds ? "met" : "NOT MET" };
  });
}
