/** A job that somebody watches until it is over. */
import type { StratadClient } from "../client/client.js";
import type { Job } from "../messages/job.js";
import { isOver } from "../messages/job-over.js";

/** The daemon answers with the job as it stands after this long: what the view has to show. */
const LOOK_MS = 400;

export async function followJob(client: StratadClient, jobId: string, show: (job: Job) => void): Promise<Job> {
  for (;;) {
    const job = await client.wait(jobId, { timeoutMs: LOOK_MS });
    show(job);
    if (isOver(job)) return job;
  }
}
