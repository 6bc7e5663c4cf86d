/** The bench's own code works: what a short run leaves. Of no figure is said how large it may be. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../support/deadline.js";
import { Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { FITTED } from "./growth.js";
import { CommandFailed, type Figures, measured, median, percentile } from "./measuring.js";
import { exponent, plot } from "./plot.js";
import { type Bench, type Contestant, Missing, type Row, race } from "./race.js";
import { type Report, readmePart, reportOf } from "./report.js";
import { scenarios } from "./scenarios.js";
import { judge, targets } from "./targets.js";

const main = fileURLToPath(new URL("main.js", import.meta.url));
const { skip } = toolOrSkip("zstd");
const INSTALLED = ["stratad, cold", "stratad, the update", "stratad, the update, spares made"];

suite("bench", () => {
  test("a quick run of one scenario leaves its rows and a line for every target, as JSON and Markdown", {
    skip,
  }, async (t) => {
    const sandbox = await Sandbox.create(t);
    const [out, cache] = [sandbox.file("out"), sandbox.file("cache")];
    const options = ["--quick", "--only", "update", "--runs", "1", "--out", out, "--cache", cache];
    const printed = await sandbox.must([process.execPath, main, ...options]);

    const report = JSON.parse(await readFile(`${out}/bench.json`, "utf8")) as Report;
    assert.deepEqual(
      report.scenarios.map(({ scenario, rows }) => [scenario, rows.map(({ contestant }) => contestant)]),
      [["update", INSTALLED]],
    );
    for (const { samples } of report.scenarios[0]?.rows ?? []) {
      assert.equal(samples.length, 1);
      for (const figure of ["wall s", "cpu s", "peak MB", "job s"]) assert.ok(figure in (samples[0] ?? {}), figure);
    }
    assert.deepEqual(
      report.targets.map(({ target }) => target),
      targets.map(({ what }) => what),
    );
    const measured = report.targets.filter(({ verdict }) => verdict !== "not measured");
    assert.deepEqual(
      measured.map(({ target }) => target),
      targets.filter(({ scenario }) => scenario === "update").map(({ what }) => what),
    );
    assert.deepEqual(
      report.inputs.map(({ name, entries }) => [name, entries > 0]),
      [["six", true]],
    );
    const markdown = await readFile(`${out}/bench.md`, "utf8");
    assert.equal(printed.trim(), markdown.trim());
    for (const { what } of targets) assert.ok(markdown.includes(`| ${what.replaceAll("|", "\\|")} |`), what);
  });

  test("a contestant that cannot go on is a row that says why; the others run their rounds", async () => {
    const contestant = (name: string, run: (round: number) => Promise<Figures>): Contestant => ({
      name,
      open:
        async () =>
        ({ round }) =>
          run(round),
    });
    const bench = { inputs: { get: async () => undefined } } as unknown as Bench;
    const rows = await race(bench, {
      name: "two",
      input: "tiny",
      places: ["disk"],
      runs: 2,
      contestants: [
        contestant("sound", async (round) => ({ round })),
        contestant("lame", () => Promise.reject(new Missing("it limps"))),
      ],
    });
    assert.deepEqual(rows, [
      { place: "disk", contestant: "sound", samples: [{ round: 0 }, { round: 1 }] },
      { place: "disk", contestant: "lame", samples: [], missing: "it limps" },
    ]);
  });

  test("a command that hangs is ended with all it started, and is none that was measured", async (t) => {
    const { home } = await Sandbox.create(t);
    const hanging = measured(["sh", "-c", "sleep 1000 & echo $! >pid; wait"], { cwd: home, limitMs: 2000 });
    await assert.rejects(hanging, (error) => error instanceof CommandFailed && /no end within 2 s/.test(error.message));
    const pid = Number(await readFile(`${home}/pid`, "utf8"));
    // Whoever takes its exit code may be late.
    await until(
      "it is gone",
      () => !existsSync(`/proc/${pid}`) || / Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8")),
    );
  });

  test("the README shows the races side by side, every target, and the exponents", () => {
    const row = (contestant: string, sample: Figures) => ({ place: "tmpfs", contestant, samples: [sample] });
    const scenario = (name: string, rows: readonly Row[]) => ({
      scenario: name,
      title: `Of ${name}`,
      rows,
      nodeStartMs: name === "few" ? 30.4 : 21,
      seconds: 1,
    });
    const machine = { processors: 2, model: "fast", memoryGB: 8, kernel: "6", node: "v20", load: 0 };
    const scenarios = [
      scenario("many", [row("stratad", { "wall s": 2 }), row("tar", { "wall s": 4 })]),
      scenario("few", [row("stratad", { "wall s": 1 }), { ...row("tar", {}), samples: [], missing: "it limps" }]),
      scenario("growth", [row(`entries${FITTED}`, { "time exponent": 0.9 })]),
    ];
    const part = readmePart(reportOf({ at: "2026-11-26", machine, quick: false, runs: 5 }, [], scenarios));
    assert.match(part, /Node alone started in 21 to 30 ms/);
    assert.match(part, /^\| seconds \| of many \| of few \|$/m);
    assert.match(part, /^\| stratad \| 2 \| 1 \|\n\| tar \| 4 \| {2}\|$/m);
    assert.match(part, /^\| entries \| 0\.9 \|$/m);
    for (const { what } of targets) assert.ok(part.includes(`| ${what.replaceAll("|", "\\|")} |`), what);
  });

  test("a scenario that is not there is refused by name", async (t) => {
    const sandbox = await Sandbox.create(t);
    const { exitCode, stderr } = await sandbox.run([process.execPath, main, "--only", "nothing"]);
    assert.notEqual(exitCode, 0);
    assert.match(stderr, /there is no scenario nothing/);
  });

  test("every target is read from a scenario that is there", () => {
    const names = scenarios.map(({ name }) => name);
    assert.deepEqual(
      targets.filter(({ scenario }) => !names.includes(scenario)),
      [],
    );
    assert.equal(new Set(names).size, names.length);
    assert.equal(new Set(targets.map(({ what }) => what)).size, targets.length);
  });

  test("a target is met up to its limit, and not measured without its rows", () => {
    const at = (wall: number) => [
      { place: "tmpfs", contestant: "stratad, cold", samples: [{ "wall s": 10 }] },
      { place: "tmpfs", contestant: "stratad, the update", samples: [wall, 99, 0].map((s) => ({ "wall s": s })) },
    ];
    const verdict = (rows: ReturnType<typeof at>) =>
      judge(new Map([["update", rows]])).find(({ target }) => target.startsWith("update"))?.verdict;
    assert.equal(verdict(at(1.5)), "met");
    assert.equal(verdict(at(1.6)), "NOT MET");
    assert.equal(verdict([]), "not measured");
  });

  test("the middle, a share and the exponent of what was measured", () => {
    assert.equal(median([5, 1, 3]), 3);
    assert.equal(percentile([4, 1, 3, 2], 0.5), 2);
    assert.equal(percentile([4, 1, 3, 2], 0.99), 4);
    const powers = (of: number) => [1, 10, 100].map((times) => [times, 7 * times ** of] as const);
    for (const power of [0, 1, 2]) assert.ok(Math.abs(exponent(powers(power)) - power) < 1e-9);
    const drawn = plot([{ panel: "time, s", name: "a < b", points: powers(1) }]);
    assert.match(drawn, /^<svg .*<polyline points="[\d., ]+".*a &lt; b.*<\/svg>\n$/s);
  });
});
