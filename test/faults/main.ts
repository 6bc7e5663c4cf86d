/**
 * `npm run faults [PART...] [-- --seed N --kills N --minutes N]`: the long forms, with their figures. Parts: errno, changes, arrows, kills,
 * model, soak; all but the soak where none is named. Ends with 1 where anything did not hold.
 */
import { parseArgs } from "node:util";
import { inScope, type Scope } from "../support/sandbox.js";
import { SweptNames } from "./change-sweep.js";
import { codeOf, SweptDaemon, type SweptErrno } from "./errno-sweep.js";
import { type Arrow, arrows, Kills } from "./kills.js";
import { runModel } from "./model-run.js";
import { soak } from "./soak.js";
import { openWorkshop } from "./workshop.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    kills: { type: "string", default: "500" },
    minutes: { type: "string", default: "10" },
    ext4: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed);
const kind = values.ext4 ? "ext4" : "tmpfs";

type Part = (scope: Scope) => Promise<readonly string[]>;

const parts: Readonly<Record<string, Part>> = {
  errno: async (scope) => {
    const { library, place } = await openWorkshop(scope);
    const daemon = await SweptDaemon.start(scope, library, await place(kind));
    const problems: string[] = [];
    for (const errno of Object.keys(codeOf) as SweptErrno[])
      for (const fromThenOn of [false, true]) {
        // What fails for good is the same from many a call on.
        const swept = await daemon.sweep({ errno, fromThenOn, stride: fromThenOn ? 7 : 1 });
        const { faults, failed, ready, points } = swept;
        say(
          `${errno}${fromThenOn ? " from then on" : ""}: ${faults} calls, ${points.size} points, ${failed} failed, ${ready} ready`,
        );
        problems.push(...swept.problems);
      }
    return [...problems, ...(await daemon.judge())];
  },
  changes: async (scope) => {
    const { library, place } = await openWorkshop(scope);
    const names = await SweptNames.start(scope, library, await place(kind));
    const problems: string[] = [];
    for (const change of ["rollback", "remove"] as const)
      for (const errno of Object.keys(codeOf) as SweptErrno[]) {
        const swept = await names.sweep(change, errno);
        say(`${change}, ${errno}: ${swept.faults} calls`);
        problems.push(...swept.problems);
      }
    return problems;
  },
  arrows: async (scope) => {
    const kills = await Kills.prepare(scope, kind);
    const problems: string[] = [];
    for (const arrow of Object.keys(arrows) as Arrow[])
      for (const what of ["kill-before", "kill-after"] as const) {
        const run = await kills.at(arrow, what);
        problems.push(...run.problems.map((problem) => `${what} ${arrow}: ${problem}`));
        if (run.hit === "") problems.push(`${what} ${arrow}: not reached`);
      }
    say(`${2 * Object.keys(arrows).length} kills, before and after each of ${Object.keys(arrows).length} arrows`);
    return problems;
  },
  kills: async (scope) => {
    const kills = await Kills.prepare(scope, kind);
    const points = new Set<string>();
    const problems: string[] = [];
    let recoveries = 0;
    for (let i = 0; i < Number(values.kills); i += 1) {
      const { hit, recoveryHit, ...run } = await kills.seeded(seed + i);
      points.add(hit);
      if (recoveryHit !== "") recoveries += 1;
      problems.push(
        ...run.problems.map((problem) => `seed ${seed + i}, at ${hit}, then at ${recoveryHit}: ${problem}`),
      );
    }
    const { scenario, start } = kills.calls;
    say(
      `${values.kills} kills among ${scenario} calls at ${points.size} points; ${recoveries} more among a start's ${start}`,
    );
    return problems;
  },
  model: async (scope) => {
    const workshop = await openWorkshop(scope);
    const { commands, cut, undone } = await runModel(workshop, { seed, runs: 20, commands: 60 });
    say(`${commands} commands, ${cut} cut short by a kill, of which ${undone} had not happened`);
    return [];
  },
  soak: async (scope) => {
    const { place } = await openWorkshop(scope);
    const tell = (sample: object) => say(Object.entries(sample).flat().join(" "));
    const { acts, kills, problems, thirds, samples } = await soak(scope, {
      minutes: Number(values.minutes),
      seed,
      place: await place(kind),
      tell,
    });
    say(`${samples.length} samples; the medians of the first third and of the last:`);
    for (const [what, [first, last]] of Object.entries(thirds)) say(`  ${what} ${first} -> ${last}`);
    say(`${kills} kills; ${Object.entries(acts).flat().join(" ")}`);
    return problems;
  },
};

const say = (line: string): void => console.log(line);

const wanted = positionals.length > 0 ? positionals : Object.keys(parts).filter((name) => name !== "soak");
say(`seed ${seed}, on ${kind}`);
for (const name of wanted) {
  const part = parts[name];
  if (part === undefined) throw new Error(`no such part: ${name}`);
  const start = performance.now();
  const problems = await inScope(part);
  say(`${name}: ${problems.length} problems, ${Math.round((performance.now() - start) / 1000)} s`);
  for (const problem of problems) say(`  ${problem}`);
  if (problems.length > 0) process.exitCode = 1;
}
