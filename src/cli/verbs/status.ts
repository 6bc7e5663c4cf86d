/**
 * `status [REF|JOB|NAME]`: what is known of one thing, or of the daemon. Asks no registry.
 *
 * A UUID is a job, then an existing name, then a reference. A reference that is not installed is an answer, not a failure.
 */

import { formatSize } from "../../byte-size.js";
import type { StratadClient } from "../../client/client.js";
import { StrataError } from "../../errors.js";
import type { Job } from "../../messages/job.js";
import type { ImageStatus, ServerStatus } from "../../messages/methods.js";
import type { NameGeneration, Root } from "../../messages/root.js";
import { formatReference, parseReference, withAbsolutePath } from "../../oci/reference.js";
import { printable } from "../../printable.js";
import { withDaemon } from "../connect.js";
import type { Context } from "../context.js";
import { formatAge } from "../duration.js";
import { isJobId } from "../job-id.js";
import { generationTable, jobTable, rootTable } from "../listings.js";
import { plural } from "../text.js";
import { given, type Options, type Verb } from "../verb.js";

/** What "the last jobs" are. */
const LAST_JOBS = 10;

export const status: Verb = {
  name: "status",
  summary: "show a reference, a job, a name, or the daemon",
  define: (command) => {
    command.argument("[subject]", "a reference, a job or a name; without it the daemon");
    command.option("--platform <os/arch>", "of a reference: which of its platforms");
    command.option("--overlap <policy>", "of a reference: under which overlap policy");
  },
  run: (context, [subject], options) =>
    withDaemon(context, async (client) => {
      if (subject === undefined) return tellDaemon(context, client);
      if (isJobId(subject))
        return tellJob(context, await client.request("install/get", { jobId: subject.toLowerCase() }));
      const root = await rootByName(client, subject);
      if (root !== undefined) return tellRoot(context, root, subject);
      return tellImage(context, await imageStatus(context, client, { subject, options }));
    }),
};

async function rootByName(client: StratadClient, name: string): Promise<Root | undefined> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) return undefined;
  try {
    return await client.request("root/get", { name });
  } catch (error) {
    if (error instanceof StrataError && error.code === "UNKNOWN_NAME") return undefined;
    throw error;
  }
}

function imageStatus(
  { host }: Context,
  client: StratadClient,
  asked: { subject: string; options: Options },
): Promise<ImageStatus> {
  const reference = formatReference(withAbsolutePath(parseReference(asked.subject), host.cwd));
  const overlap = asked.options.overlap as "c" | "b" | "a" | undefined;
  return client.request("image/status", {
    reference,
    ...given(asked.options, "platform"),
    ...(overlap === undefined ? {} : { overlap }),
  });
}

async function tellDaemon(context: Context, client: StratadClient): Promise<number> {
  const server = await client.request("server/status", {});
  const { jobs } = await client.request("install/list", { limit: LAST_JOBS });
  if (context.document) context.print({ server, jobs });
  else
    context.result(
      ...serverLines(server, Date.now()),
      ...(jobs.length === 0 ? [] : ["", ...tableOfJobs(context, jobs)]),
    );
  return 0;
}

function serverLines(server: ServerStatus, nowMs: number): string[] {
  const { jobs, workers, store, sessions } = server;
  return [
    `daemon   stratad ${printable(server.version)}, pid ${server.pid}, started ${formatAge(server.startedAt, nowMs)}${server.draining ? ", draining" : ""}`,
    `state    ${printable(server.stateDir, 4096)}`,
    `store    ${plural(store.names, "name")}, ${plural(store.roots, "root")}, ${plural(store.layers, "layer")}, ${formatSize(store.bytes)}`,
    ...usageLines(store),
    `jobs     ${jobs.running} running, ${jobs.queued} queued, ${jobs.ready} ready, ${jobs.failed} failed, ${jobs.cancelled} cancelled`,
    `workers  ${workers.busy} of ${workers.total} busy, ${plural(workers.queuedTasks, "task")} queued`,
    `clients  ${sessions.full} full, ${sessions.read} read-only`,
    ...findingLines(server, nowMs),
  ];
}

function findingLines({ findings }: ServerStatus, nowMs: number): string[] {
  if (findings === undefined) return [];
  return [
    `damage   ${plural(findings.total, "finding")}, ${formatAge(findings.at, nowMs)}: \`stratad verify --deep\` shows them, --repair repairs`,
  ];
}

/** A daemon of an older release does not tell. */
function usageLines({ apparentBytes, uniqueBytes, sharedBytes }: ServerStatus["store"]): string[] {
  if (apparentBytes === undefined || uniqueBytes === undefined || sharedBytes === undefined) return [];
  const sizes = `${formatSize(apparentBytes)} apparent, ${formatSize(uniqueBytes)} unique, ${formatSize(sharedBytes)} shared`;
  return [`bytes    ${sizes}`];
}

function tellJob(context: Context, job: Job): number {
  if (context.document) context.print(job);
  else context.result(...tableOfJobs(context, [job]));
  return 0;
}

/** The root, by all its names, and the history of the one that was asked for. */
function tellRoot(context: Context, root: Root, name: string): number {
  if (context.document) {
    context.print(root);
    return 0;
  }
  context.result(...tableOfRoots(context, [root]));
  const generations = root.names.find((named) => named.name === name)?.generations ?? [];
  if (generations.length > 0) context.result("", ...tableOfGenerations(context, generations));
  return 0;
}

function tellImage(context: Context, image: ImageStatus): number {
  if (context.document) {
    context.print(image);
    return 0;
  }
  if (image.installed) context.result(...tableOfRoots(context, image.roots));
  else context.result(`not installed  ${printable(image.reference, 8192)}`);
  if (image.job !== undefined) context.result(...tableOfJobs(context, [image.job]));
  return 0;
}

const tableOfJobs = ({ globals }: Context, jobs: readonly Job[]) =>
  jobTable(jobs, { nowMs: Date.now(), quiet: globals.quiet });
const tableOfGenerations = ({ globals }: Context, generations: readonly NameGeneration[]) =>
  generationTable(generations, { nowMs: Date.now(), quiet: globals.quiet });
const tableOfRoots = ({ globals }: Context, roots: readonly Root[]) =>
  rootTable(roots, { nowMs: Date.now(), quiet: globals.quiet });
