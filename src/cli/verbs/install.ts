/**
 * `install REF...`: asks the daemon for all of them at once, shows how they come along, prints the stable path of each.
 *
 * Ctrl-C cancels the jobs that this call started; `--timeout` only ends the waiting. One failure stops no other install, and the
 * first of the command line gives the exit code.
 */

import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Option } from "commander";
import { type Priority, priorities } from "../../choices.js";
import type { Install, StratadClient } from "../../client/client.js";
import { StrataError, toStrataError, type WireError } from "../../errors.js";
import type { Job } from "../../messages/job.js";
import type { Params } from "../../messages/methods.js";
import { withDaemon } from "../connect.js";
import type { Context } from "../context.js";
import { addRootOptions, imageRequest, REFERENCE_FORMS } from "../image-request.js";
import { listenForInterrupt } from "../interrupt.js";
import { errorOf, pathOf } from "../outcome.js";
import { checkLinkPlace, placeLink } from "../place-link.js";
import { createProgress } from "../progress.js";
import type { Options, Verb } from "../verb.js";

/** How long the answer to a cancellation is waited for; the daemon goes on with it anyway. */
const CANCEL_GRACE_MS = 3000;
const LEFT_HINT = "The next daemon goes on with the job; `stratad ps` lists it, and starts one.";

export const install: Verb = {
  name: "install",
  summary: "install images, and print where each stands",
  define: (command) => {
    command.argument("<references...>", REFERENCE_FORMS);
    addRootOptions(command);
    command
      .addOption(new Option("--priority <class>", "which jobs go first").choices(priorities))
      .option("--durable", "be done only when everything is on the disk")
      .option("--detach", "print the job and leave it to the daemon")
      .option("--to <path>", "place a symlink to the named root there");
  },
  run: async (context, references, options) => {
    const linkPath = await linkPathOf(context, references, options);
    const requests = await Promise.all(references.map((text) => requestFor(text, options, context.host.cwd)));
    const outcomes =
      options.detach === true
        ? await withDaemon(context, (client) => Promise.all(requests.map((request) => startDetached(client, request))))
        : await follow(context, references, requests);
    if (linkPath !== undefined) await place(linkPath, outcomes[0]);
    return report(context, references, { outcomes, detached: options.detach === true });
  },
};

type Request = Params<"install/start">;

/** One of the references, when its job is over or it never got one. */
interface Outcome {
  readonly job?: Job | undefined;
  readonly error?: WireError | undefined;
}

async function linkPathOf(
  context: Context,
  references: readonly string[],
  options: Options,
): Promise<string | undefined> {
  const single = ["name", "to"].find((flag) => options[flag] !== undefined);
  if (single !== undefined && references.length > 1) {
    throw new StrataError(
      "USAGE",
      `Cannot use --${single}: ${references.length} references are given, and it is for one`,
    );
  }
  const { to } = options;
  if (typeof to !== "string") return undefined;
  if (options.detach === true) throw new StrataError("USAGE", "Cannot use --to with --detach: there is no root yet");
  const path = resolve(context.host.cwd, to);
  await checkLinkPlace(path);
  return path;
}

/** INVALID_REFERENCE, INVALID_NAME. */
async function requestFor(text: string, options: Options, cwd: string): Promise<Request> {
  return {
    ...(await imageRequest(text, options, cwd)),
    ...(options.priority === undefined ? {} : { priority: options.priority as Priority }),
    ...(options.durable === true ? { durable: true } : {}),
  };
}

async function startDetached(client: StratadClient, request: Request): Promise<Outcome> {
  try {
    // With a key it is one job, also where the connection is lost before the answer.
    return { job: await client.request("install/start", { ...request, detach: true, requestKey: randomUUID() }) };
  } catch (error) {
    return { error: toStrataError(error).toWire() };
  }
}

/** Throws CANCELLED on Ctrl-C and TIMED_OUT, with the jobs that there are. */
async function follow(context: Context, labels: readonly string[], requests: readonly Request[]): Promise<Outcome[]> {
  const interrupt = listenForInterrupt(context.host);
  const view = createProgress(context, labels);
  const latest = new Map<number, Job>();
  const show = (index: number) => (job: Job) => {
    latest.set(index, job);
    view.update(index, job);
    context.event({ job });
  };
  const interrupted = () =>
    new StrataError("CANCELLED", "Cannot finish the install: interrupted", { details: jobIds(latest.values()) });
  let connected = false;
  interrupt.happened.then(
    () => connected || context.giveUp(interrupted()),
    () => {},
  );
  try {
    return await withDaemon(context, async (client) => {
      connected = true;
      const installs = requests.map((request) => client.install(request));
      const all = Promise.all(installs.map((install, index) => followOne(install, show(index))));
      const first = await Promise.race([all, interrupt.happened]);
      if (first !== "interrupted") return first;
      await cancelAll(installs, all);
      throw interrupted();
    });
  } catch (error) {
    if (!(error instanceof StrataError) || error.code !== "TIMED_OUT" || latest.size === 0) throw error;
    const [job, ...others] = latest.values();
    const known = others.length === 0 && job !== undefined ? job.jobId : "JOB";
    const hint = `The job goes on; \`stratad wait ${known}\` waits for it.`;
    throw new StrataError("TIMED_OUT", error.message, { details: jobIds(latest.values()), hint });
  } finally {
    interrupt.stop();
    view.finish();
  }
}

async function followOne(install: Install, show: (job: Job) => void): Promise<Outcome> {
  try {
    for await (const job of install) show(job);
    const job = await install.finished;
    return { job, error: errorOf(job) };
  } catch (error) {
    const failure = toStrataError(error, "Cannot follow the install").toWire();
    return { job: install.job, error: isLost(failure, install.job) ? { ...failure, hint: LEFT_HINT } : failure };
  }
}

/** The daemon is gone, and has the job in its journal. */
const isLost = ({ code }: WireError, job: Job | undefined): boolean =>
  code === "DAEMON_UNREACHABLE" && job !== undefined;

/** Also a job whose start is not answered yet. */
async function cancelAll(installs: readonly Install[], over: Promise<unknown>): Promise<void> {
  const asked = installs.map((install) => install.cancel());
  await Promise.race([Promise.allSettled([...asked, over]), sleep(CANCEL_GRACE_MS, undefined, { ref: false })]);
}

function jobIds(jobs: Iterable<Job>): Readonly<Record<string, unknown>> {
  const ids = [...jobs].map((job) => job.jobId);
  return ids.length === 1 ? { jobId: ids[0] } : { jobIds: ids };
}

/** The link is part of what was asked: the call throws where it cannot be placed. */
async function place(path: string, outcome: Outcome | undefined): Promise<void> {
  const target = outcome?.error === undefined && outcome?.job !== undefined ? pathOf(outcome.job) : undefined;
  if (target !== undefined) await placeLink(path, target);
}

function report(
  context: Context,
  references: readonly string[],
  { outcomes, detached }: { outcomes: readonly Outcome[]; detached: boolean },
): number {
  const several = references.length > 1;
  const failures = outcomes.flatMap(({ error }, index) =>
    error === undefined ? [] : [{ error, about: references[index] }],
  );
  for (const { error, about } of failures) context.error(error, several ? about : undefined);
  const jobs = outcomes.flatMap(({ job }) => (job === undefined ? [] : [job]));
  const [failure] = failures;
  if (context.document) {
    const error = failure === undefined ? {} : { error: failure.error };
    context.print(several ? { ...error, jobs } : failure === undefined ? jobs[0] : error);
  } else {
    const ready = outcomes.flatMap(({ job, error }) => (job === undefined || error !== undefined ? [] : [job]));
    context.result(...ready.map((job) => (detached ? job.jobId : (pathOf(job) ?? ""))));
  }
  return failure?.error.exitCode ?? 0;
}
