/**
 * Worker entry: removes shared files that no layer has any more (file-objects.ts): each keeps the bytes of a file on the disk that
 * nothing else names.
 *
 * An unpack may link one in the moment between the look and the removal: it does not use what only it holds.
 */
import { closeSync, lstatSync, unlinkSync } from "node:fs";
import { TaskProgress } from "../src/task-progress.js";
import { type Outcome, outcomeOf, type SweepFilesTask, type SweptFiles } from "../src/tasks.js";
import { directoryEntries } from "./directory-entries.js";
import { fromHere } from "./disk-path.js";
import { inDirectory, openDirectory } from "./open-directories.js";

const FAN_OUT = /^[0-9a-f]{2}$/;
const OBJECT = /^[0-9a-f]{64}-[0-7]+-[0-9.e+-]+$/;
const PROGRESS_EVERY = 256;

export default (task: SweepFilesTask): Promise<Outcome<SweptFiles>> =>
  outcomeOf("Cannot sweep the shared files", () => sweep(fromHere(task.files), new TaskProgress(task.progress)));

interface Counts {
  kept: number;
  removed: number;
  removedBytes: number;
  strangers: number;
}

function sweep(files: string, progress: TaskProgress): SweptFiles {
  progress.activity = "working";
  const counts: Counts = { kept: 0, removed: 0, removedBytes: 0, strangers: 0 };
  for (const entry of directoryEntries(files)) {
    if (entry.isDirectory() && FAN_OUT.test(entry.name)) sweepDirectory(`${files}/${entry.name}`, counts, progress);
    else counts.strangers += 1;
  }
  return counts;
}

/** By descriptor: a symlink in the directory's place leads nowhere. */
function sweepDirectory(path: string, counts: Counts, progress: TaskProgress): void {
  const directory = openDirectory(path);
  try {
    for (const entry of directoryEntries(`/proc/self/fd/${directory}`)) {
      if (entry.isFile() && OBJECT.test(entry.name)) sweepObject(inDirectory(directory, entry.name), counts);
      else counts.strangers += 1;
      progress.entries += 1;
      if (progress.entries % PROGRESS_EVERY === 0) progress.throwIfCancelled();
    }
  } finally {
    closeSync(directory);
  }
}

function sweepObject(path: string | Buffer, counts: Counts): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return; // an unpack forgot it
  if (stat.nlink > 1) {
    counts.kept += 1;
    return;
  }
  unlinkSync(path);
  counts.removed += 1;
  counts.removedBytes += stat.size;
}
