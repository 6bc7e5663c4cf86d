/**
 * What a pool thread loads when it starts: what installs need, each worker under its name, so that no later task waits. What only a
 * repack asks for is loaded when it does; and so is zod, nearly half of a thread's own start, where a scan reads documents.
 */
import type { Tasks } from "../src/tasks.js";

export { default as archive } from "./archive.js";
export { default as compare } from "./compare.js";
export { default as link } from "./link.js";
export { default as list } from "./list.js";
export { default as mend } from "./mend.js";
export { default as pack } from "./pack.js";
export { default as plan } from "./plan.js";
export { default as remove } from "./remove.js";
export { default as scan } from "./scan.js";
export { default as settle } from "./settle.js";
export { default as strays } from "./strays.js";
export { default as sweepFiles } from "./sweep-files.js";
export { default as symlinks } from "./symlinks.js";
export { default as unpack } from "./unpack.js";
export { default as verify } from "./verify.js";

export const partition = async (task: Tasks["partition"]["task"]) => (await import("./partition.js")).default(task);

export const verifyRepacked = async (task: Tasks["verifyRepacked"]["task"]) =>
  (await import("./verify-repacked.js")).default(task);
