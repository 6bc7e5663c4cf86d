/**
 * `npm run bench -- [--only SCENARIO,...] [--runs N] [--quick] [--profile] [--readme] [--out DIR] [--cache DIR] [--list]`: stratad beside its
 * peers, and every target of design/performance.md as a line, met or not.
 *
 * Inputs are made of real packages once and stay in the cache. It ends with 0 whatever the figures say, since a bench is
 * no test, and with 1 where a scenario could not be measured at all.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { withPart } from "../support/readme-tables.js";
import { Inputs } from "./inputs.js";
import { machineFacts, nodeStartMs, timeTool } from "./measuring.js";
import { Profiles } from "./profiles.js";
import type { Bench } from "./race.js";
import { type Finished, markdown, type Report, readmePart, reportOf, sectionOf, writeReport } from "./report.js";
import { type Scenario, scenarios } from "./scenarios.js";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    runs: { type: "string", default: "5" },
    quick: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    readme: { type: "boolean", default: false },
    out: { type: "string", default: join(tmpdir(), "stratad-bench-results") },
    cache: { type: "string", default: join(tmpdir(), "stratad-bench-cache") },
  },
});

if (values.list) for (const { name, title } of scenarios) console.log(`${name.padEnd(14)} ${title}`);
else if (values.readme && (values.quick || values.only !== undefined))
  refuse("the README shows whole runs: --readme goes with neither --quick nor --only");
else await main(chosen(values.only));

async function main(wanted: readonly Scenario[]): Promise<void> {
  const [out, cache] = [resolve(values.out), resolve(values.cache)];
  await mkdir(cache, { recursive: true });
  const run = { at: new Date().toISOString(), machine: machineFacts(), quick: values.quick, runs: Number(values.runs) };
  if (timeTool.skip !== false) say(`processor seconds of commands are not told: ${timeTool.skip}`);
  const bench: Bench = { runs: run.runs, quick: run.quick, inputs: new Inputs(cache, run.quick), cache, say };
  const profiles = values.profile ? new Profiles(join(out, "profiles")) : undefined;
  const finished: Finished[] = [];
  for (const { name, title, profiled, run: measure } of wanted) {
    const node = await nodeStartMs();
    const start = performance.now();
    say(`${name}: ${title}`);
    const found = await attempted(async () => {
      const rows = await measure(bench, out);
      if (profiles === undefined || profiled === undefined) return { rows };
      return { rows, profile: await profiles.of(name, await bench.inputs.get(profiled)) };
    });
    const done: Finished = {
      scenario: name,
      title,
      ...found,
      nodeStartMs: node,
      seconds: (performance.now() - start) / 1000,
    };
    finished.push(done);
    say(`${sectionOf(done)}\n${done.seconds.toFixed(0)} s\n`);
    // What a long run found so far is there, whatever becomes of the rest.
    await writeReport(out, reportOf(run, await bench.inputs.used(), finished));
  }
  const report = reportOf(run, await bench.inputs.used(), finished);
  console.log(markdown(report));
  if (values.readme) await showInReadme(report);
  say(`written to ${out}`);
}

/** In the README of the directory that the bench is run in. */
async function showInReadme(report: Report): Promise<void> {
  const readme = await readFile("README.md", "utf8");
  await writeFile(
    "README.md",
    withPart(readme, { name: "bench", by: "test/bench/main.ts --readme" }, readmePart(report)),
  );
}

/** A scenario that fails is told in its place; the others are measured all the same. */
async function attempted(measure: () => Promise<Pick<Finished, "rows" | "profile">>) {
  try {
    return await measure();
  } catch (error) {
    process.exitCode = 1;
    return { rows: [], failed: (error as Error).message };
  }
}

function chosen(only: string | undefined): readonly Scenario[] {
  if (only === undefined) return scenarios;
  return only.split(",").map((name) => {
    const found = scenarios.find((scenario) => scenario.name === name);
    if (found === undefined) refuse(`there is no scenario ${name}: ${scenarios.map((each) => each.name).join(", ")}`);
    return found;
  });
}

function refuse(fact: string): never {
  say(`error: ${fact}`);
  process.exit(2);
}

/** Results are on stdout, what happens meanwhile on stderr. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
