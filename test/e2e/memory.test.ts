/**
 * What a small blob may cost: names, directories and windows are bounded by what they take in memory, whatever the blob's size. Each
 * input to a daemon of its own with two workers, whose peak is the kernel's to tell.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { frame } from "../hostile/zstd-frames.js";
import { serve } from "../support/daemon.js";
import { placeOn } from "../support/file-systems.js";
import { layerImage, writeLayout } from "../support/images.js";
import { lastFirst, Sandbox } from "../support/sandbox.js";
import { END, file, pax, tar } from "../support/tar-builder.js";
import { Wire } from "../support/wire.js";

const MB = 1e6;
/** Of an idle daemon with two workers, on Node 20 and 24. */
const IDLE = 160 * MB;
/** What each of the two may take: both unpack, or link. */
const WORKER = 200 * MB;

const gzip = (bytes: Buffer): Buffer => gzipSync(bytes, { level: 1 });
const many = (count: number, entry: (index: number) => Buffer): Buffer =>
  Buffer.concat([...Array.from({ length: count }, (_, index) => entry(index)), END]);

const rows: readonly {
  readonly title: string;
  readonly codec: "gzip" | "zstd";
  readonly blob: () => Buffer;
  readonly answer: string;
  readonly most: number;
}[] = [
  {
    title: "60,000 names of control characters",
    codec: "gzip",
    blob: () => gzip(many(60_000, (i) => Buffer.concat([pax({ path: `${"\x01".repeat(240)}${i}` }), file("x")]))),
    answer: "LIMIT_BYTES",
    most: IDLE + 2 * WORKER,
  },
  {
    title: "directories 128 deep, over and over",
    codec: "gzip",
    blob: () => gzip(many(150, (i) => Buffer.concat([pax({ path: `${i}/${"d/".repeat(126)}f` }), file("x")]))),
    answer: "ready",
    most: IDLE + 2 * WORKER,
  },
  {
    title: "60,000 empty files at the root",
    codec: "gzip",
    blob: () => gzip(many(60_000, (i) => file(`f${i}`))),
    answer: "ready",
    most: IDLE + 2 * WORKER,
  },
  {
    title: "a window of 128 MiB",
    codec: "zstd",
    blob: () => frame(tar(file("a", Buffer.alloc(1 << 20))), { window: 0x88 }),
    answer: "DIFF_ID_MISMATCH",
    most: IDLE + 2 * WORKER + 128 * MB,
  },
];

for (const { title, codec, blob, answer, most } of rows) {
  test(`${title}: ${answer}, within ${most / MB} MB`, { timeout: 120_000 }, async (t) => {
    const scope = lastFirst(t);
    // A hundred thousand files are made and removed: what a journal of the disk's makes of them is nobody's question here.
    const { directory } = await placeOn(scope, "tmpfs");
    const sandbox = await Sandbox.create(scope, directory === undefined ? {} : { stateBelow: directory });
    await writeLayout(sandbox.file("layout"), { app: layerImage(blob(), codec) });
    const daemon = await serve(sandbox, { env: { STRATAD_WORKERS: "2" } });
    const wire = await Wire.connect(scope, daemon.socket);
    const job = await wire.install(`oci:${sandbox.file("layout")}:app`);
    const peak = peakBytes(daemon.pid);
    assert.equal(job.error?.code ?? job.state, answer);
    assert.ok(peak <= most, `the peak was ${Math.round(peak / MB)} MB`);
    t.diagnostic(`peak ${Math.round(peak / MB)} MB, ${JSON.stringify(job.timings)}`);
  });
}

const peakBytes = (pid: number): number =>
  Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
