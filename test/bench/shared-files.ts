/**
 * `npm run bench:files -- ONE.tgz TWO.tgz THREE.tgz...`: successive versions of one tool as gzipped tars, each an image of one layer,
 * installed one after another with `store.dedup` off and with files.
 *
 * Interleaved, each round with a new daemon and a new store; medians of five, as a Markdown table: bytes that the layers take on the
 * disk (blocks, each inode once), and processor and wall seconds of the daemon from the first install to the last. By default on tmpfs and on the
 * temporary directory's file system; `BENCH_PLACES` names others, with a colon between them.
 */
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileSystemName } from "../../src/store/probes.js";
import { dedupChoices } from "../../src/tasks.js";
import { serve } from "../support/daemon.js";
import { layerImage, writeLayout } from "../support/images.js";
import { Sandbox, type Scope } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";

const ROUNDS = 5;
const TICKS_PER_SECOND = 100;

interface Measured {
  readonly bytes: number;
  readonly cpu: number;
  readonly wall: number;
}

const archives = process.argv.slice(2);
const places = process.env.BENCH_PLACES?.split(":") ?? ["/dev/shm", tmpdir()];
const tags = archives.map((_, i) => `version-${i}`);
const images = Object.fromEntries(
  await Promise.all(archives.map(async (path, i) => [tags[i], layerImage(await readFile(path), "gzip")] as const)),
);

console.log(
  `${archives.length} versions, ${cpus().length} processors, Node ${process.version}, load ${loadavg()[0]?.toFixed(1)}; medians of ${ROUNDS}\n`,
);
console.log("| file system | dedup | MB on the disk | processor, s | wall, s |\n| --- | --- | --- | --- | --- |");
for (const place of places) {
  const rounds = { off: [] as Measured[], files: [] as Measured[] };
  for (let round = 0; round < ROUNDS; round += 1)
    for (const dedup of round % 2 === 0 ? dedupChoices : dedupChoices.toReversed())
      rounds[dedup].push(await inPlace(place, (scope, stateBelow) => measure(scope, stateBelow, dedup)));
  for (const dedup of dedupChoices) {
    const of = (which: keyof Measured): number => median(rounds[dedup].map((measured) => measured[which]));
    const figures = [(of("bytes") / 1e6).toFixed(1), of("cpu").toFixed(2), of("wall").toFixed(2)];
    console.log(`| ${[await fileSystemName(place), dedup, ...figures].join(" | ")} |`);
  }
}

async function measure(scope: Scope, stateBelow: string, dedup: string): Promise<Measured> {
  const sandbox = await Sandbox.create(scope, { stateBelow });
  await writeLayout(sandbox.file("layout"), images);
  const { pid, socket } = await serve(sandbox, { env: { STRATAD_STORE_DEDUP: dedup } });
  const wire = await Wire.connect(scope, socket);
  const [before, start] = [await processorSeconds(pid), performance.now()];
  for (const tag of tags) await wire.ready(`oci:${sandbox.file("layout")}:${tag}`, { name: tag });
  const [wall, cpu] = [(performance.now() - start) / 1000, (await processorSeconds(pid)) - before];
  const kept = ["layers", "files"].map((name) => join(sandbox.stateDir, name));
  const du = execFileSync("sh", ["-c", 'du -sc --block-size=1 "$@" 2>/dev/null | tail -n 1', "sh", ...kept]);
  return { bytes: Number.parseInt(du.toString(), 10), cpu, wall };
}

/** Of all its threads, user and system. */
async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function median(of: readonly number[]): number {
  return of.toSorted((x, y) => x - y)[Math.floor(of.length / 2)] ?? Number.NaN;
}

/** In a directory of its own below `below`; whatever comes of it, nothing is left there. */
async function inPlace<Value>(below: string, action: (scope: Scope, place: string) => Promise<Value>): Promise<Value> {
  const place = await mkdtemp(join(below, "bench-"));
  const cleanUps: (() => Promise<void>)[] = [() => rm(place, { recursive: true, force: true })];
  try {
    return await action({ after: (cleanUp) => cleanUps.push(cleanUp) }, place);
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}
