/**
 * `npm run bench:scale [LAYERS [ROOTS [DIRECTORY...]]]`: a daemon on a store of that many layers and roots, which is written first.
 *
 * How long it takes to start (without memos of an earlier start, after a SIGKILL and after a stop) and to answer, its processor time and memory, as Markdown. By default 100,000
 * layers and 10,000 roots on tmpfs and on the temporary directory's file system: a million inodes each.
 */
import { mkdir } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { SETTLED_MS } from "../../src/limits.js";
import { fileSystemName } from "../../src/store/probes.js";
import { type Daemon, serve } from "../support/daemon.js";
import { writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { Sandbox, type Scope } from "../support/sandbox.js";
import { syntheticName, syntheticReference, writeSyntheticStore } from "../support/synthetic-store.js";
import { file, tar } from "../support/tar-builder.js";
import { Wire } from "../support/wire.js";
import { inPlace, median, megabytes, processorSeconds, timed } from "./measuring.js";

const STARTS = 2;
const ROUNDS = 5;

const [layers = "100000", roots = "10000", ...given] = process.argv.slice(2);
const places = given.length > 0 ? given : ["/dev/shm", tmpdir()];
const size = { layers: Number(layers), roots: Number(roots), names: Number(roots) };

console.log(`${layers} layers, ${roots} roots, ${cpus().length} processors, Node ${process.version}`);
for (const place of places) await inPlace(place, measure);

async function measure(place: string, scope: Scope): Promise<void> {
  await mkdir(join(place, "store"));
  const sandbox = await Sandbox.create(scope, { stateBelow: join(place, "store") });
  writeSyntheticStore(sandbox.stateDir, size);
  // Of what was written a moment ago no start takes the word of a memo.
  await delay(SETTLED_MS);
  console.log(
    `\n${await fileSystemName(place)}, load ${loadavg()[0]?.toFixed(1)}\n\n| | ms | processor ms |\n| --- | --- | --- |`,
  );
  await endedBy("SIGKILL", await started(sandbox, "start that reads everything"));
  for (let start = 0; start < STARTS; start += 1)
    await endedBy("SIGKILL", await started(sandbox, start === 0 ? "start after a SIGKILL" : "again"));
  await endedBy("SIGTERM", await started(sandbox, "again"));
  const daemon = await started(sandbox, "start after a SIGTERM");
  const wire = await Wire.connect(scope, daemon.socket);
  const layout = sandbox.file("layout");
  const image = (round: number) => buildImage([tar(file("shared", "")), tar(file(`own-${round}`, `${round}`))]);
  await writeLayout(
    layout,
    Object.fromEntries(Array.from({ length: ROUNDS }, (_, round) => [`image-${round}`, image(round)])),
  );
  const { nextCursor: cursor } = await wire.request("layer/list", {});
  const ways: Record<string, (round: number) => Promise<unknown>> = {
    "server/status": () => wire.request("server/status"),
    "root/get": (round) => wire.request("root/get", { name: syntheticName(round) }),
    "image/status": (round) => wire.request("image/status", { reference: syntheticReference(round) }),
    "root/list, 100": () => wire.request("root/list"),
    "layer/list, the second 100": () => wire.request("layer/list", { cursor }),
    "store/usage": () => wire.request("store/usage"),
    "install of a small image": (round) => wire.ready(`oci:${layout}:image-${round}`),
    "install again": (round) => wire.ready(`oci:${layout}:image-${round}`),
    "root/remove": (round) => wire.request("root/remove", { name: syntheticName(round) }),
  };
  for (const [what, ask] of Object.entries(ways)) {
    const before = await processorMs(daemon);
    const took: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) took.push(await timed(() => ask(round)));
    row(what, median(took), ((await processorMs(daemon)) - before) / ROUNDS);
  }
  console.log(`\nmemory: ${Math.round(megabytes(daemon.pid))} MB`);
}

/** A daemon that is ready, and the row of how long that took. */
async function started(sandbox: Sandbox, what: string): Promise<Daemon> {
  const start = performance.now();
  const daemon = await serve(sandbox);
  row(what, performance.now() - start, await processorMs(daemon));
  return daemon;
}

async function endedBy(signal: NodeJS.Signals, daemon: Daemon): Promise<void> {
  daemon.kill(signal);
  await daemon.ended;
}

function row(what: string, ms: number, processor: number): void {
  console.log(`| ${what} | ${ms.toFixed(1)} | ${processor.toFixed(0)} |`);
}

async function processorMs({ pid }: Daemon): Promise<number> {
  return (await processorSeconds(pid)) * 1000;
}
