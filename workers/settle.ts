/**
 * Worker entry: the modes and times of directories that several link tasks filled.
 */
import { type Outcome, outcomeOf, type SettleTask } from "../src/tasks.js";
import { setDirectoryAttributes } from "./stored-mode.js";

export default ({ tree, directories }: SettleTask): Promise<Outcome<{ settled: true }>> =>
  outcomeOf("Cannot link the root", () => {
    for (const directory of directories.toReversed()) setDirectoryAttributes(`${tree}/`, directory);
    return { settled: true };
  });
