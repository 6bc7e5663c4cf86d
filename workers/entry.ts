/**
 * What a pool thread loads when it starts: what the daemon's own start asks for, each worker under its name. The rest is several times as
 * much: it is loaded when it is asked for, or by `warm` before anybody does.
 */
import { type Outcome, outcomeOf, type Tasks, type WorkerName } from "../src/tasks.js";

export { default as list } from "./list.js";
export { default as scan } from "./scan.js";
export { default as strays } from "./strays.js";

type Run<Name extends WorkerName> = (task: Tasks[Name]["task"]) => Promise<Outcome<Tasks[Name]["result"]>>;

const lazily =
  <Name extends WorkerName>(load: () => Promise<{ readonly default: Run<Name> }>): Run<Name> =>
  async (task) => {
    const worker = await load().catch(leave);
    return worker.default(task);
  };

/** What could not be loaded once (no descriptor was left) Node never loads again: the thread ends behind its answer, and another comes. */
function leave(error: unknown): never {
  setImmediate(() => {
    throw error;
  });
  throw error;
}

export const unpack = lazily<"unpack">(() => import("./unpack.js"));
export const link = lazily<"link">(() => import("./link.js"));
export const plan = lazily<"plan">(() => import("./plan.js"));
export const symlinks = lazily<"symlinks">(() => import("./symlinks.js"));
export const settle = lazily<"settle">(() => import("./settle.js"));
export const compare = lazily<"compare">(() => import("./compare.js"));
export const remove = lazily<"remove">(() => import("./remove.js"));
export const sweepFiles = lazily<"sweepFiles">(() => import("./sweep-files.js"));
export const verify = lazily<"verify">(() => import("./verify.js"));
export const mend = lazily<"mend">(() => import("./mend.js"));
export const pack = lazily<"pack">(() => import("./pack.js"));
export const archive = lazily<"archive">(() => import("./archive.js"));
export const partition = lazily<"partition">(() => import("./partition.js"));
export const verifyRepacked = lazily<"verifyRepacked">(() => import("./verify-repacked.js"));

/** What an install needs. */
export const warm: Run<"warm"> = () =>
  outcomeOf("Cannot load the workers", async () => {
    await Promise.all([import("./unpack.js"), import("./link.js"), import("./settle.js")]);
    return { warm: true };
  });
