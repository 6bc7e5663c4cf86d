/**
 * `wait JOB`: shows a job until it is over, and ends as it did. Ctrl-C ends the waiting, never the job.
 */
import { StrataError } from "../../errors.js";
import type { Job } from "../../messages/job.js";
import { withDaemon } from "../connect.js";
import { followJob } from "../follow-job.js";
import { listenForInterrupt } from "../interrupt.js";
import { parseJobId } from "../job-id.js";
import { errorOf, pathOf } from "../outcome.js";
import { createProgress } from "../progress.js";
import { wholeJobId } from "../short-ids.js";
import type { Verb } from "../verb.js";

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
        return followJob(client, jobId, show);
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
