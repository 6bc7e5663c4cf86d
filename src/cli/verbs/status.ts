/**
 * `status [REF|JOB|NAME]`: what is known of one thing, or of the daemon. Asks no registry.
 *
 * A UUID is a job, then an existing name, then the beginning of a job, then a reference. A reference that is not installed is an answer,
 * not a failure.
 */

import { Option } from "commander";
import { formatSize } from "../../byte-size.js";
import { type Overlap, overlaps } from "../../choices.js";
import type { StratadClient } from "../../client/client.js";
import type { Job } from "../../messages/job.js";
import type { ImageStatus, ServerStatus } from "../../messages/methods.js";
import type { NameGeneration, Root } from "../../messages/root.js";
import { formatReference, mayBeName, parseReference, withAbsolutePath } from "../../oci/reference.js";
import { printable } from "../../printable.js";
import { withDaemon } from "../connect.js";
import type { Context } from "../context.js";
import { formatAge } from "../duration.js";
import { isJobId, mayBeginJobId } from "../job-id.js";
import { generationTable, jobTable, rootTable } from "../listings.js";
import { unless, wholeJobId } from "../short-ids.js";
import { plural } from "../text.js";
import { given, type Options, type Verb } from "../verb.js";

/** What "the last jobs" are. */
const LAST_JOBS = 10;

export const status: Verb = {
  name: "status",
  summary: "show a reference, a job, a name, or the daemon",
  define: (command) => {
    command.argument("[subject]", "a reference, a job (or how its id begins) or a name; without it the daemon");
    command.option("--platform <os/arch>", "of a reference: which of its platforms");
    command.addOption(new Option("--overlap <policy>", "of a reference: under which overlap policy").choices(overlaps));
  },
  run: (context, [subject], options) =>
    withDaemon(context, async (client) => {
      if (subject === undefined) return tellDaemon(context, client);
      if (isJobId(subject))
        return tellJob(context, await client.request("install/get", { jobId: subject.toLowerCase() }));
      const isWord = mayBeName(subject);
      const root = isWord ? await unless("UNKNOWN_NAME", client.request("root/get", { name: subject })) : undefined;
      if (root !== undefined) return tellRoot(context, root, subject);
      if (mayBeginJobId(subject)) {
        const jobId = await unless("UNKNOWN_JOB", wholeJobId(client, subject.toLowerCase()));
        if (jobId !== undefined) return tellJob(context, await client.request("install/get", { jobId }));
      }
      const image = await imageStatus(context, client, { subject, options });
      return tellImage(context, image, isWord ? `${printable(subject, 128)}: no name, and no root of ` : "");
    }),
};

function imageStatus(
  { host }: Context,
  client: StratadClient,
  asked: { subject: string; options: Options },
): Promise<ImageStatus> {
  const reference = formatReference(withAbsolutePath(parseReference(asked.subject), host.cwd));
  const overlap = asked.options.overlap as Overlap | undefined;
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
  if (!context.document && jobs.length === LAST_JOBS)
    context.message(`These are the last ${LAST_JOBS}; \`stratad ps\` lists all.`);
  return 0;
}

function serverLines(server: ServerStatus, nowMs: number): string[] {
  const { jobs, workers, store, sessions } = server;
  return [
    `daemon   stratad ${printable(server.version)}, pid ${server.pid}, started ${formatAge(server.startedAt, nowMs)}${server.draining ? ", draining" : ""}`,
    `state    ${printable(server.stateDir, 4096)}`,
    `store    ${plural(store.names, "name")}, ${plural(store.roots, "root")}, ${plural(store.layers, "layer")}, ${formatSize(store.bytes)}`,
    ...usageLines(store),
    ...spareLines(store),
    `jobs     ${jobs.running} running, ${jobs.queued} queued, ${jobs.ready} ready, ${jobs.failed} failed, ${jobs.cancelled} cancelled`,
    `workers  ${workers.busy} of ${workers.total} busy, ${plural(workers.queuedTasks, "task")} queued`,
    `clients  ${sessions.full} full, ${sessions.read} read-only`,
    ...findingLines(server, nowMs),
  ];
}

function findingLines({ findings }: ServerStatus, nowMs: number): string[] {
  if (findings === undefined) return [];
  const { total, at, deep = true } = findings;
  const again = `stratad verify${deep ? " --deep" : ""}`;
  return [`damage   ${plural(total, "finding")}, ${formatAge(at, nowMs)}: \`${again}\` shows them, --repair repairs`];
}

/** A daemon of an older release does not tell. */
function usageLines({ apparentBytes, uniqueBytes, sharedBytes }: ServerStatus["store"]): string[] {
  if (apparentBytes === undefined || uniqueBytes === undefined || sharedBytes === undefined) return [];
  const sizes = `${formatSize(apparentBytes)} apparent, ${formatSize(uniqueBytes)} unique, ${formatSize(sharedBytes)} shared`;
  return [`bytes    ${sizes}`];
}

/** As above; and most small stores have none. */
function spareLines({ spares }: ServerStatus["store"]): string[] {
  if (spares === undefined || spares.layers === 0) return [];
  return [`spares   ${plural(spares.layers, "layer")}, ${spares.entries} entries`];
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

/** `about` stands before the reference where it is not installed. */
function tellImage(context: Context, image: ImageStatus, about: string): number {
  if (context.document) {
    context.print(image);
    return 0;
  }
  if (image.installed) context.result(...tableOfRoots(context, image.roots));
  else context.result(`not installed  ${about}${printable(image.reference, 8192)}`);
  if (image.job !== undefined)
    context.result(...(context.globals.quiet ? [] : [""]), ...tableOfJobs(context, [image.job]));
  return 0;
}

const tableOfJobs = ({ globals }: Context, jobs: readonly Job[]) =>
  jobTable(jobs, { nowMs: Date.now(), quiet: globals.quiet });
const tableOfGenerations = ({ globals }: Context, generations: readonly NameGeneration[]) =>
  generationTable(generations, { nowMs: Date.now(), quiet: globals.quiet });
const tableOfRoots = ({ globals }: Context, roots: readonly Root[]) =>
  rootTable(roots, { nowMs: Date.now(), quiet: globals.quiet });
