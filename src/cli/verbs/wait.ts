/**
 * `wait JOB`: shows a job until it is over, and ends as it did. Ctrl-C ends the waiting, never the job.
 */
import type { StratadClient } from "../../client/client.js";
import { StrataError } from "../../errors.js";
import type { Job } from "../../messages/job.js";
import { withDaemon } from "../connect.js";
import { listenForInterrupt } from "../interrupt.js";
import { parseJobId } from "../job-id.js";
import { errorOf, pathOf } from "../outcome.js";
import { createProgress } from "../progress.js";
import { wholeJobId } from "../short-ids.js";
import { isTerminal } from "../summary.js";
import type { Verb } from "../verb.js";

/** The daemon answers with the job as it stands after this long: what the view has to show. */
const LOOK_MS = 400;

export const wait: Verb = {
  name: "wait",
  summary: "wait for a job, and end as it did",
  define: (command) => {
    command.argument("<job>", "as `stratad ps` lists it, or how its id begins");
  },
  run: async (context, [text = ""]) => {
    let jobId = parseJobId(text);
    const interrupt = listenForInterrupt(context.host);
    const stopped = () =>
      new StrataError("CANCELLED", "Cannot wait for the job: interrupted", {
        hint: "The job goes on.",
        details: { jobId },
      });
    interrupt.happened.then(
      () => context.giveUp(stopped()),
      () => {},
    );
    const view = createProgress(context, [jobId]);
    const show = (job: Job) => {
      view.update(0, job);
      context.event({ job });
    };
    let job: Job;
    try {
      job = await withDaemon(context, async (client) => {
        jobId = await wholeJobId(client, jobId);
        return follow(client, jobId, show);
      });
    } finally {
      interrupt.stop();
      view.finish();
    }
    const error = errorOf(job);
    if (error !== undefined) return context.fail(StrataError.fromWire(error));
    if (context.document) context.print(job);
    else context.result(pathOf(job) ?? "");
    return 0;
  },
};

async function follow(client: StratadClient, jobId: string, show: (job: Job) => void): Promise<Job> {
  for (;;) {
    const job = await client.wait(jobId, { timeoutMs: LOOK_MS });
    show(job);
    if (isTerminal(job)) return job;
  }
}
