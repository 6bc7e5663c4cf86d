/**
 * `npm run bench:collect [LAYERS...]`: a collection of a store of so many layers, half of them needed by roots of ten, and how long
 * the main thread was kept from everything else meanwhile, as a Markdown table. The store stands on tmpfs.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createLog } from "../../src/log.js";
import { digestHex } from "../../src/oci/digest.js";
import { Pool } from "../../src/pool.js";
import { Collector } from "../../src/store/collector.js";
import { diffIdOf, layerDocument, openStore, rootDocument } from "../store/opened-store.js";
import { inPlace, timed } from "./measuring.js";

const counts = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [10_000, 100_000];
const log = createLog("error", (line) => process.stderr.write(line));
const never = new AbortController().signal;
const everything = { bytes: Number.MAX_SAFE_INTEGER, inodes: Number.MAX_SAFE_INTEGER };

console.log(`${cpus().length} processors, Node ${process.version}, load ${loadavg()[0]?.toFixed(1)}\n`);
console.log("| layers | what | took | longest wait of the main thread |\n| --- | --- | --- | --- |");
for (const count of counts) await inPlace("/dev/shm", (state) => measure(state, count));

async function measure(state: string, count: number): Promise<void> {
  const pool = new Pool({ threads: 2, stallTimeoutMs: 60_000, log });
  try {
    fill(state, count);
    const { store } = await openStore(state);
    const collector = new Collector({
      store,
      removeTree: async (path, { signal }) => void (await pool.run("remove", { path }, { signal, weight: -1 })),
      keepGenerations: 10,
      cache: everything,
      collected: () => undefined,
      rootRemoved: () => undefined,
      log,
    });
    store.holds.isPinned = (rootId) => Number(rootId) % 2 === 0;
    await row(count, "nothing is due", () => collector.makeRoom({ bytes: 0, inodes: 0 }, never));
    await row(count, "`gc --plan`", () => collector.collect({ plan: true }, never));
    await row(count, "`gc`", () => collector.collect({}, never));
    if (store.layers.size !== count / 2) throw new Error(`${store.layers.size} of ${count} layers are left`);
  } finally {
    await pool.close();
  }
}

function fill(state: string, count: number): void {
  for (let n = 0; n < count; n += 1) {
    const document = layerDocument(`l${n}`, 100);
    const path = join(state, "layers/sha256", digestHex(document.diffId));
    mkdirSync(join(path, "tree"), { recursive: true });
    writeFileSync(join(path, "layer.json"), JSON.stringify(document));
  }
  for (let n = 0; n < count / 10; n += 1) {
    const layers = Array.from({ length: 10 }, (_, index) => diffIdOf(`l${n * 10 + index}`));
    mkdirSync(join(state, "roots", String(n), "tree"), { recursive: true });
    writeFileSync(join(state, "roots", String(n), "root.json"), JSON.stringify(rootDocument(String(n), { layers })));
  }
}

async function row(count: number, what: string, work: () => Promise<unknown>): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const took = await timed(work);
  delay.disable();
  console.log(`| ${count} | ${what} | ${took.toFixed(0)} ms | ${(delay.max / 1e6).toFixed(1)} ms |`);
}
