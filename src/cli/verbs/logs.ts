/**
 * `logs JOB`: what happened to a job, as the daemon's journal has it.
 */
import { withDaemon } from "../connect.js";
import { parseJobId } from "../job-id.js";
import { jobLogTable } from "../listings.js";
import { wholeJobId } from "../short-ids.js";
import { plural } from "../text.js";
import type { Verb } from "../verb.js";

export const logs: Verb = {
  name: "logs",
  summary: "show what happened to a job, and when",
  define: (command) => {
    command.argument("<job>", "as `stratad ps` lists it, or how its id begins");
  },
  run: async (context, [text = ""]) => {
    const id = parseJobId(text);
    const log = await withDaemon(context, async (client) =>
      client.request("job/log", { jobId: await wholeJobId(client, id) }),
    );
    if (context.document) {
      context.print(log);
      return 0;
    }
    if (log.omitted > 0) context.message(`${plural(log.omitted, "earlier line")} left out`);
    context.result(...jobLogTable(log));
    return 0;
  },
};
