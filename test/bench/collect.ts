/**
 * `npm run bench:collect [LAYERS...]`: a collection of a store of so many layers, half of them needed by roots of ten, what is told
 * of all its roots, and how long the main thread was kept from everything else meanwhile, as a Markdown table. The store stands on
 * tmpfs.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { createLog } from "../../src/log.js";
import { methods } from "../../src/messages/methods.js";
import { digestHex } from "../../src/oci/digest.js";
import { Pool } from "../../src/pool.js";
import { writeAnswer } from "../../src/protocol/answer.js";
import { inSlices } from "../../src/slices.js";
import { Catalog } from "../../src/store/catalog.js";
import { Collector } from "../../src/store/collector.js";
import { diffIdOf, layerDocument, openStore, rootDocument } from "../store/opened-store.js";
import { inPlace, Turns, timed } from "./measuring.js";

const counts = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [10_000, 100_000];
const log = createLog("error", (line) => process.stderr.write(line));
const never = new AbortController().signal;
const everything = { bytes: Number.MAX_SAFE_INTEGER, inodes: Number.MAX_SAFE_INTEGER };

console.log(`${cpus().length} processors, Node ${process.version}, load ${loadavg()[0]?.toFixed(1)}\n`);
console.log(
  "| layers | what | took | longest turn of the main thread | of its processor time |\n| --- | --- | --- | --- | --- |",
);
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
      log,
    });
    store.holds.isPinned = (rootId) => Number(rootId) % 2 === 0;
    const catalog = new Catalog(store);
    const answer = async (method: "events/subscribe" | "store/usage", result: Promise<unknown>) => {
      const written = await inSlices(writeAnswer(1, methods[method].result, await result));
      if (!written.ok) throw new Error(`${method}: ${written.issues}`);
    };
    const subscribed = async () => {
      const { items } = await catalog.snapshot();
      return { subscriptionId: "", epoch: "", seq: 0, snapshot: { jobs: [], roots: items } };
    };
    await row(count, "`events/subscribe`", () => answer("events/subscribe", subscribed()));
    await row(count, "`store/usage`", () => answer("store/usage", catalog.usage()));
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
  const turns = new Turns();
  const took = await timed(work);
  const { waitMs, processorMs } = turns.end();
  console.log(
    `| ${count} | ${what} | ${took.toFixed(0)} ms | ${waitMs.toFixed(1)} ms | ${processorMs.toFixed(1)} ms |`,
  );
}
