/**
 * Worker entry: what can only be done when every part of a root is linked: the modes and times of directories that several filled,
 * and, of a root of copies, the hard links among them.
 */
import { linkSync } from "node:fs";
import type { DirectoryAttributes, SettleTask } from "../src/root-tasks.js";
import { TaskProgress } from "../src/task-progress.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { diskPath, fromHere } from "./disk-path.js";
import { withEntries } from "./entries-file.js";
import { directoryAttributes, setDirectoryAttributes } from "./stored-mode.js";

export default (task: SettleTask): Promise<Outcome<{ settled: true }>> =>
  outcomeOf("Cannot link the root", () => {
    const tree = `${fromHere(task.tree)}/`;
    const progress = new TaskProgress(task.progress);
    progress.activity = "working";
    const directories = [...task.directories];
    for (const file of task.copies) {
      withEntries(file, (entries) => {
        for (const { entry } of entries.part(0, 1)) {
          if (entry.type === "dir" || entry.type === "implied") directories.push(directoryAttributes(entry));
          else if (entry.type === "hardlink") linkSync(diskPath(tree, entry.target), diskPath(tree, entry.path));
          progress.steps += 1;
        }
      });
    }
    settle(tree, directories, progress);
    return { settled: true };
  });

/** Innermost first: a directory's time is its last. */
function settle(tree: string, directories: readonly DirectoryAttributes[], progress: TaskProgress): void {
  for (const directory of directories.toReversed()) {
    setDirectoryAttributes(tree, directory);
    progress.steps += 1;
  }
}
