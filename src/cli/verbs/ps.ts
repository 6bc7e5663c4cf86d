/**
 * `ps`: the jobs that the daemon remembers.
 */
import { withDaemon } from "../connect.js";
import { jobTable } from "../listings.js";
import { allJobs } from "../pages.js";
import type { Verb } from "../verb.js";

export const ps: Verb = {
  name: "ps",
  summary: "list the jobs: running, queued, and finished within a week",
  define: () => {},
  run: async (context) => {
    const jobs = await withDaemon(context, allJobs);
    if (context.document) context.print({ jobs });
    else context.result(...jobTable(jobs, { nowMs: Date.now(), quiet: context.globals.quiet }));
    return 0;
  },
};
