/** What a run found, as Markdown for people and as JSON with every sample. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { table } from "../support/readme-tables.js";
import { FITTED } from "./growth.js";
import type { Input } from "./inputs.js";
import { type MachineFacts, median } from "./measuring.js";
import type { Row } from "./race.js";
import { type Judged, judge } from "./targets.js";

export interface Finished {
  readonly scenario: string;
  readonly title: string;
  readonly rows: readonly Row[];
  readonly seconds: number;
  /** Just before it: what the machine was like then. */
  readonly nodeStartMs: number;
  /** Why there are no rows: it did not come to its end. */
  readonly failed?: string;
  /** Where its profiles are. */
  readonly profile?: string;
}

export interface Report {
  readonly at: string;
  readonly machine: MachineFacts;
  readonly quick: boolean;
  readonly runs: number;
  readonly inputs: readonly ({ readonly name: string } & Input["about"])[];
  readonly scenarios: readonly Finished[];
  readonly targets: readonly Judged[];
}

export function reportOf(
  run: Pick<Report, "at" | "machine" | "quick" | "runs">,
  inputs: readonly Input[],
  scenarios: readonly Finished[],
): Report {
  const results = new Map(scenarios.map(({ scenario, rows }) => [scenario, rows]));
  return { ...run, inputs: inputs.map(({ name, about }) => ({ name, ...about })), scenarios, targets: judge(results) };
}

/** `bench.md` and `bench.json`. */
export async function writeReport(out: string, report: Report): Promise<void> {
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "bench.json"), `${JSON.stringify(report, undefined, 1)}\n`);
  await writeFile(join(out, "bench.md"), markdown(report));
}

export function markdown(report: Report): string {
  const { quick, inputs, scenarios } = report;
  const small = quick ? " Small inputs (--quick): these figures mean nothing." : "";
  return [
    "# stratad beside its peers\n",
    `${circumstances(report)}${small}\n`,
    "## Targets\n",
    targetTable(report),
    "## Inputs\n",
    table(
      ["input", "entries", "MB as tar", "as gzip", "as zstd"],
      inputs.map(({ name, entries, bytes, packed }) => [
        name,
        String(entries),
        ...[bytes, packed.gzip, packed.zstd].map((n) => (n / 1e6).toFixed(1)),
      ]),
    ),
    ...scenarios.map(sectionOf),
  ].join("\n");
}

/** What the README shows: the races against others, each contestant's seconds side by side, and every target. */
export function readmePart(report: Report): string {
  const races = report.scenarios.filter(({ scenario }) => IN_README.includes(scenario));
  const contestants = [...new Set(races.flatMap(({ rows }) => rows.map(({ contestant }) => contestant)))];
  const seconds = (contestant: string, { rows }: Finished): string => {
    const row = rows.find((each) => each.contestant === contestant);
    return row === undefined || row.missing !== undefined ? "" : shown(medianOf(row, "wall s"));
  };
  return [
    `${circumstances(report)}\n`,
    table(
      ["seconds", ...races.map(({ title }) => title.toLowerCase())],
      contestants.map((contestant) => [contestant, ...races.map((one) => seconds(contestant, one))]),
    ),
    targetTable(report),
    exponentTable(report),
  ].join("\n");
}

/** With what power of how many there are it grows, fitted over a hundredfold. */
function exponentTable({ scenarios }: Report): string {
  const fitted = scenarios.flatMap(({ rows }) => rows.filter(({ contestant }) => contestant.endsWith(FITTED)));
  const figures = [...new Set(fitted.flatMap(({ samples }) => samples.flatMap(Object.keys)))];
  return table(
    ["exponent, by how many", ...figures.map((figure) => figure.replace(" exponent", ""))],
    fitted.map((row) => [
      row.contestant.slice(0, -FITTED.length),
      ...figures.map((figure) => shown(medianOf(row, figure))),
    ]),
  );
}

const IN_README: readonly string[] = ["many", "tiny", "few", "six", "warm"];

function circumstances({ at, machine, runs, scenarios }: Report): string {
  const { processors, model, memoryGB, kernel, node, load } = machine;
  const on = `${processors} processors (${model}), ${memoryGB} GB, Linux ${kernel}, Node ${node}`;
  const starts = scenarios.map(({ nodeStartMs }) => Math.round(nodeStartMs));
  const steady = `Node alone started in ${Math.min(...starts)} to ${Math.max(...starts)} ms before the scenarios.`;
  return `${at.slice(0, 10)}, ${on}, load ${load} at the start; medians of ${runs}, interleaved. ${steady}`;
}

const targetTable = ({ targets }: Report): string =>
  table(
    ["target", "limit", "figure", ""],
    targets.map(({ target, limit, figure, verdict }) => [
      target,
      limit,
      figure === undefined ? "" : shown(figure),
      verdict,
    ]),
  );

export function sectionOf({ scenario, title, rows, failed, profile }: Finished): string {
  if (failed !== undefined) return `## ${title} (\`${scenario}\`)\n\nFailed: ${failed}\n`;
  const present = rows.filter(({ missing }) => missing === undefined);
  const figures = [...new Set(present.flatMap(({ samples }) => samples.flatMap(Object.keys)))];
  const places = new Set(rows.map(({ place }) => place));
  const [first] = present;
  const isRace = figures.includes("wall s") && first?.contestant.startsWith("stratad") === true;
  const lines = rows.map((row) => {
    const head = [...(places.size > 1 ? [row.place] : []), row.contestant];
    if (row.missing !== undefined) return [...head, "missing", row.missing];
    const runs = row.samples.length;
    const of = (figure: string) => medianOf(row, figure);
    const leader = present.find(({ place }) => place === row.place);
    const ratios = isRace && leader !== undefined ? [shown(medianOf(leader, "wall s") / of("wall s"))] : [];
    return [...head, String(runs), ...figures.map((figure) => shown(of(figure))), ...ratios];
  });
  const head = [...(places.size > 1 ? ["on"] : []), "", "runs", ...figures, ...(isRace ? ["stratad to it"] : [])];
  const where = places.size === 1 ? `, ${[...places][0]}` : "";
  return `## ${title} (\`${scenario}\`${where})\n\n${table(head, lines)}${profile === undefined ? "" : `\nProfiles: ${profile}\n`}`;
}

const medianOf = ({ samples }: Row, figure: string): number =>
  median(samples.map((sample) => sample[figure] ?? Number.NaN));

/** Three digits; nothing where it was not measured. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return "";
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}
