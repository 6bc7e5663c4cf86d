/**
 * Worker entry: the modes and times of directories that several link tasks filled.
 */
import { type Outcome, outcomeOf, type SettleTask } from "../src/tasks.js";
import { fromHere } from "./disk-path.js";
import { setDirectoryAttributes } from "./stored-mode.js";

export default ({ tree, directories }: SettleTask): Promise<Outcome<{ settled: true }>> =>
  outcomeOf("Cannot link the root", () => {
    for (const directory of directories.toReversed()) setDirectoryAttributes(`${fromHere(tree)}/`, directory);
    return { settled: true };
  });
