/**
 * `npm run bench:files -- ONE.tgz TWO.tgz THREE.tgz...`: successive versions of one tool as gzipped tars, each an image of one layer,
 * installed one after another with `store.dedup` off and with files.
 *
 * Interleaved, each round with a new daemon and a new store; medians of five, as a Markdown table: bytes that the layers take on the
 * disk (blocks, each inode once), and processor and wall seconds of the daemon from the first install to the last. By default on tmpfs and on the
 * temporary directory's file system; `BENCH_PLACES` names others, with a colon between them.
 */
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileSystemName } from "../../src/store/probes.js";
import { dedupChoices } from "../../src/tasks.js";
import { serve } from "../support/daemon.js";
import { layerImage, writeLayout } from "../support/images.js";
import { Sandbox, type Scope } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";
import { inPlace, median, processorSeconds } from "./measuring.js";

const ROUNDS = 5;

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
      rounds[dedup].push(await inPlace(place, (stateBelow, scope) => measure(scope, stateBelow, dedup)));
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
