/**
 * `import FILE`: installs every image of an oci-archive under its name, and prints where each stands. Ctrl-C cancels those that are not
 * done. One failure stops no other, and the first gives the exit code.
 */
import { resolve } from "node:path";
import { StrataError } from "../../errors.js";
import type { Job } from "../../messages/job.js";
import { withDaemon } from "../connect.js";
import type { Context } from "../context.js";
import { followJob } from "../follow-job.js";
import { listenForInterrupt } from "../interrupt.js";
import { errorOf, pathOf } from "../outcome.js";
import { createProgress } from "../progress.js";
import type { Verb } from "../verb.js";

export const importArchive: Verb = {
  name: "import",
  summary: "install every image of an oci-archive, and print where each stands",
  define: (command) => {
    command.argument("<file>", "what `stratad export` wrote, or another oci-archive");
  },
  run: async (context, [file = ""]) => {
    const jobs = await follow(context, resolve(context.host.cwd, file));
    const failures = jobs.flatMap((job) => {
      const error = errorOf(job);
      return error === undefined ? [] : [{ error, about: job.reference }];
    });
    for (const { error, about } of failures) context.error(error, about);
    const [failure] = failures;
    if (context.document) context.print({ ...(failure === undefined ? {} : { error: failure.error }), jobs });
    else context.result(...jobs.flatMap((job) => (errorOf(job) === undefined ? [pathOf(job) ?? ""] : [])));
    return failure?.error.exitCode ?? 0;
  },
};

async function follow(context: Context, path: string): Promise<Job[]> {
  const interrupt = listenForInterrupt(context.host);
  try {
    return await withDaemon(context, async (client) => {
      const { jobs } = await client.request("store/import", { path });
      const view = createProgress(
        context,
        jobs.map(({ reference }) => reference),
      );
      const show = (index: number) => (job: Job) => {
        view.update(index, job);
        context.event({ job });
      };
      try {
        const all = Promise.all(jobs.map((job, index) => followJob(client, job.jobId, show(index))));
        const first = await Promise.race([all, interrupt.happened]);
        if (first !== "interrupted") return first;
        await Promise.allSettled(jobs.map(({ jobId }) => client.request("install/cancel", { jobId })));
        throw new StrataError("CANCELLED", "Cannot finish the import: interrupted", {
          details: { jobIds: jobs.map(({ jobId }) => jobId) },
        });
      } finally {
        view.finish();
      }
    });
  } finally {
    interrupt.stop();
  }
}
