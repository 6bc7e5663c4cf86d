/**
 * What one, ten and a hundred times as much costs: time, peak of memory and of descriptors, for entries, bytes, layers, roots and
 * sessions, as rows and as a plot. The layers here are made up: a hundred times a real package is not to be had.
 */
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cached } from "../support/cached.js";
import { type Daemon, serve } from "../support/daemon.js";
import { writeLayout } from "../support/images.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { inScope, Sandbox } from "../support/sandbox.js";
import { file, tar } from "../support/tar-builder.js";
import { Wire } from "../support/wire.js";
import { withDaemon } from "./answers.js";
import { Crowd } from "./crowd.js";
import { descriptors, type Figures, forgetPeak, inPlace, median, peakMegabytes, timed } from "./measuring.js";
import { exponent, type Line, plot } from "./plot.js";
import type { Bench, Row } from "./race.js";

const TIMES = [1, 10, 100] as const;
const SAMPLE_MS = 20;
/** Behind what grows: the row of its exponents. */
export const FITTED = ", fitted";

/** Sessions that install: one alone may not ask for so many at once. */
const INSTALLERS = 50;
/** Half of it does not compress. */
const PIECE = Buffer.concat([randomBytes(32 * 1024), Buffer.alloc(32 * 1024, "text of some kind. ")]);

interface Grown {
  /** Of what there is so much at one time. */
  readonly unit: number;
  readonly image?: (count: number) => TestImage;
  /** Else, what takes so many. */
  readonly act?: (started: { wire: Wire; daemon: Daemon; layout: string }, count: number) => Promise<unknown>;
}

const small = (name: string, count: number) =>
  tar(...Array.from({ length: count }, (_, i) => file(`${name}/${Math.floor(i / 20)}/${i}`, `${i}`)));

export const growths = {
  entries: { unit: 1000, image: (count) => buildImage([small("all", count)]) },
  "bytes, in MB": { unit: 8, image: (count) => buildImage([tar(...pieces(count))]) },
  layers: { unit: 4, image: (count) => buildImage(Array.from({ length: count }, (_, i) => small(`l${i}`, 200))) },
  roots: { unit: 10 },
  sessions: { unit: 50 },
} as const satisfies Record<string, Grown>;
export type Growth = keyof typeof growths;

const pieces = (megabytes: number): Buffer[] =>
  Array.from({ length: megabytes }, (_, i) => file(`piece-${i}`, Buffer.concat(new Array(16).fill(PIECE))));

export const growthName = (what: Growth, times: number): string => `${what} ×${times}`;

export async function growth(bench: Bench, out: string): Promise<Row[]> {
  const runs = Math.min(3, bench.runs);
  const rows: Row[] = [];
  for (const what of Object.keys(growths) as Growth[])
    for (const times of TIMES) {
      const { unit } = growths[what];
      const count = bench.quick ? Math.ceil((unit * times) / 10) : unit * times;
      const samples: Figures[] = [];
      for (let run = 0; run < runs; run += 1)
        samples.push({ "how many": count, ...(await measure(bench, what, count)) });
      rows.push({ place: "tmpfs", contestant: growthName(what, times), samples });
    }
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "growth.svg"), plot(linesOf(rows)));
  return [...rows, ...exponents(rows)];
}

async function measure(bench: Bench, what: Growth, count: number): Promise<Figures> {
  if (what === "sessions")
    return withDaemon(async ({ scope, daemon }) => {
      const crowd = await Crowd.at(scope, daemon.readOnlySocket);
      return watched(daemon, () => crowd.sit(count));
    });
  if (what === "roots") return manyRoots(bench, count);
  const name = `growth-${what.replace(/\W+/g, "-")}-${count}`;
  const { image } = growths[what];
  const layout = await cached(name, (into) => writeLayout(into, { app: image(count) }), bench.cache);
  return withDaemon(({ daemon, wire }) => watched(daemon, () => wire.ready(`oci:${layout}:app`)));
}

/** Of one stored layer, each of another image. */
async function manyRoots(bench: Bench, count: number): Promise<Figures> {
  const write = (into: string) => {
    const of = (i: number) => [`app-${i}`, buildImage([small("all", 20)], { config: { author: `${i}` } })] as const;
    return writeLayout(into, Object.fromEntries(Array.from({ length: count }, (_, i) => of(i))));
  };
  const layout = await cached(`growth-roots-${count}`, write, bench.cache);
  return inPlace("/dev/shm", (stateBelow) =>
    inScope(async (scope) => {
      const sandbox = await Sandbox.create(scope, { stateBelow });
      const daemon = await serve(sandbox);
      const wires = await Promise.all(Array.from({ length: INSTALLERS }, () => Wire.connect(scope, daemon.socket)));
      const install = async (wire: Wire, first: number) => {
        for (let i = first; i < count; i += INSTALLERS)
          await wire.ready(`oci:${layout}:app-${i}`, { name: `app-${i}` });
      };
      return watched(daemon, () => Promise.all(wires.map(install)));
    }),
  );
}

/** With the largest number of descriptors that was seen meanwhile. */
async function watched({ pid }: Daemon, action: () => Promise<unknown>): Promise<Figures> {
  forgetPeak(pid);
  let most = await descriptors(pid);
  const look = async () => {
    most = Math.max(most, await descriptors(pid));
  };
  const timer = setInterval(() => void look(), SAMPLE_MS);
  try {
    const ms = await timed(action);
    await look();
    return { "wall s": ms / 1000, "peak MB": peakMegabytes(pid), "most descriptors": most };
  } finally {
    clearInterval(timer);
  }
}

const kinds = { time: "wall s", memory: "peak MB", descriptors: "most descriptors" } as const;

function linesOf(rows: readonly Row[]): Line[] {
  return Object.entries(kinds).flatMap(([panel, figure]) =>
    (Object.keys(growths) as Growth[]).map((what) => ({
      panel: `${panel}, ${figure.split(" ").at(-1)}`,
      name: what,
      points: TIMES.map((times) => [times, figureOf(rows, growthName(what, times), figure)] as const),
    })),
  );
}

function exponents(rows: readonly Row[]): Row[] {
  return (Object.keys(growths) as Growth[]).map((what) => {
    const of = (figure: string) =>
      exponent(TIMES.map((times) => [times, figureOf(rows, growthName(what, times), figure)] as const));
    const sample = {
      "time exponent": of(kinds.time),
      "memory exponent": of(kinds.memory),
      "descriptors exponent": of(kinds.descriptors),
    };
    return { place: "tmpfs", contestant: `${what}${FITTED}`, samples: [sample] };
  });
}

const figureOf = (rows: readonly Row[], contestant: string, figure: string): number =>
  median(
    rows.find((row) => row.contestant === contestant)?.samples.map((sample) => sample[figure] ?? Number.NaN) ?? [],
  );
