/**
 * What a pool thread loads when it starts: every worker under its name, so that a thread loads modules once and no later task waits.
 */
export { default as archive } from "./archive.js";
export { default as compare } from "./compare.js";
export { default as link } from "./link.js";
export { default as list } from "./list.js";
export { default as mend } from "./mend.js";
export { default as pack } from "./pack.js";
export { default as partition } from "./partition.js";
export { default as plan } from "./plan.js";
export { default as remove } from "./remove.js";
export { default as scan } from "./scan.js";
export { default as settle } from "./settle.js";
export { default as strays } from "./strays.js";
export { default as sweepFiles } from "./sweep-files.js";
export { default as symlinks } from "./symlinks.js";
export { default as unpack } from "./unpack.js";
export { default as verify } from "./verify.js";
export { default as verifyRepacked } from "./verify-repacked.js";
