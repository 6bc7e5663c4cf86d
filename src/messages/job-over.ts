/** Which jobs are over. Loads no schema: a client that believes its daemon has none. */
import type { Job } from "./job.js";

export const isOver = ({ state }: Pick<Job, "state">): boolean =>
  state === "ready" || state === "failed" || state === "cancelled";
