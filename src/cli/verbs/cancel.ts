/**
 * `cancel JOB`: withdraws the interest in a job; it goes on where another client wants it too.
 */
import { isOver } from "../../messages/job-over.js";
import { withDaemon } from "../connect.js";
import { parseJobId } from "../job-id.js";
import { wholeJobId } from "../short-ids.js";
import { stateWords } from "../summary.js";
import type { Verb } from "../verb.js";

export const cancel: Verb = {
  name: "cancel",
  summary: "cancel a job that nobody else waits for",
  define: (command) => {
    command.argument("<job>", "as `stratad ps` lists it, or how its id begins");
  },
  run: async (context, [text = ""]) => {
    const id = parseJobId(text);
    const job = await withDaemon(context, async (client) =>
      client.request("install/cancel", { jobId: await wholeJobId(client, id) }),
    );
    if (context.document) context.print(job);
    else context.result(`${job.jobId}  ${stateWords(job)}`);
    if (job.stopping) context.message("It is over as soon as its work has ended.");
    else if (!isOver(job)) context.message("It goes on: another client waits for it.");
    else if (job.state !== "cancelled") context.message("It was over already.");
    return 0;
  },
};
