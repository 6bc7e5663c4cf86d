import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type PastJob, PastJobs } from "../../src/install/past-job.js";
import type { Job as JobView } from "../../src/messages/job.js";
import { fakeJob } from "../support/fake-services.js";

const layer = { digest: `sha256:${"a".repeat(64)}`, mediaType: "application/vnd.oci.image.layer.v1.tar", size: 1 };

function viewOf(image: string, layers: number): JobView {
  const state = { state: "stored", reused: false, bytesDone: 1 } as const;
  const ended = { state: "ready" as const, finishedAt: new Date().toISOString(), notes: [image] };
  return fakeJob(
    { reference: `oci:/images:${image}` },
    {
      ...ended,
      layers: Array.from({ length: layers }, (_, index) => ({ ...layer, ...state, servedBy: `${image}-${index}` })),
    },
  );
}

test("a job that is over shows its last view, and what it has learnt since", () => {
  const past = new PastJobs();
  for (const image of ["one", "two", "one"]) {
    const view = viewOf(image, 3);
    const job = past.of(view);
    assert.deepEqual(job.view(), view);
    past.update(job, { ...view, durable: true });
    assert.deepEqual(job.view(), { ...view, durable: true });
  }
});

test("a job that is over takes less than two kilobytes, however many layers its image has", () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const past = new PastJobs();
  const jobs: PastJob[] = [];
  const COUNT = 2000;
  const add = (count: number) => {
    for (let n = 0; n < count; n += 1) jobs.push(past.of({ ...viewOf(`image-${n % 8}`, 100), jobId: randomUUID() }));
  };
  add(100);
  collect();
  const before = process.memoryUsage().heapUsed;
  add(COUNT);
  collect();
  const each = (process.memoryUsage().heapUsed - before) / COUNT;
  assert.ok(each < 2048, `${each} bytes`);
  assert.equal(jobs.at(-1)?.view().layers.length, 100);
});
