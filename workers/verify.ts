/**
 * Worker entry: one tree of the store against the changeset or the plan that it was made of. What is wrong is the outcome.
 *
 * A file that a root shares with its layer is judged in the layer, and content is read once for each inode. Reads a list piece by piece
 * and holds no more than the names of the directories that are open, and hard links. Changes nothing.
 */
import { closeSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { VerifyResult, VerifyTask } from "../src/findings.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { fromHere } from "./disk-path.js";
import { LayerCheck } from "./layer-check.js";
import { openDirectory } from "./open-directories.js";
import { RootCheck } from "./root-check.js";
import { unreadable } from "./tree-walk.js";
import { Verification } from "./verification.js";

export default (task: VerifyTask): Promise<Outcome<VerifyResult>> =>
  outcomeOf("Cannot verify a tree", () => verified(task));

/** `limit` findings are listed, the rest counted; absent: as many as are told. */
export function verified(task: VerifyTask, limit?: number): VerifyResult {
  const verification = new Verification(task, limit);
  const { checked } = task;
  const tree = openedTree(checked.tree, verification);
  if (tree === undefined) return verification.result();
  try {
    if (checked.kind === "layer") new LayerCheck(verification, tree, checked).run();
    else new RootCheck(verification, tree, checked).run();
    return verification.result();
  } finally {
    closeSync(tree);
  }
}

function openedTree(path: string, verification: Verification): number | undefined {
  try {
    return openDirectory(fromHere(path));
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === undefined) throw error;
    if (errno === "ENOENT") verification.tell({ code: "MISSING", path: "", detail: "the tree is not there" });
    else if (errno === "ENOTDIR") verification.tell({ code: "CONTENT", path: "", detail: "it is not a directory" });
    else verification.tell({ code: "MODE", path: "", detail: unreadable(errno) });
    return undefined;
  }
}
