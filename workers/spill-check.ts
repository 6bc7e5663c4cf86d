/**
 * The further inodes of a layer's files (store.md, spill): each against the entry of the file that it is named after.
 */
import { type BigIntStats, closeSync, lstatSync, readdirSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { TreeFinding } from "../src/findings.js";
import type { FileEntry } from "../src/overlap/changeset.js";
import { printableName } from "../src/printable.js";
import { fromHere } from "./disk-path.js";
import type { StoredEntries } from "./entries-file.js";
import type { Fault } from "./file-check.js";
import { spillKey } from "./file-modes.js";
import { inDirectory, openDirectory } from "./open-directories.js";
import { inodeKey } from "./verification.js";

interface SpillJudge {
  readonly tell: (finding: TreeFinding) => void;
  readonly judge: (at: string | Buffer, stat: BigIntStats, entry: FileEntry) => Fault | undefined;
}

export function checkSpill(path: string, entries: StoredEntries, judge: SpillJudge): void {
  const spill = openedSpill(path);
  if (spill === undefined) return;
  try {
    const names = readdirSync(`/proc/self/fd/${spill}`, "latin1" as BufferEncoding);
    if (names.length === 0) return;
    const files = filesByKey(entries, new Set(names.map(keyOf)));
    for (const name of names) checkInode({ spill, name, entry: files.get(keyOf(name)) }, judge);
  } finally {
    closeSync(spill);
  }
}

function openedSpill(path: string): number | undefined {
  try {
    return openDirectory(fromHere(path));
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return undefined;
  }
}

function checkInode(
  { spill, name, entry }: { readonly spill: number; readonly name: string; readonly entry: FileEntry | undefined },
  { tell, judge }: SpillJudge,
): void {
  const at = inDirectory(spill, name);
  const stat = lstatSync(at, { bigint: true, throwIfNoEntry: false });
  if (stat === undefined) return;
  if (entry === undefined || !stat.isFile()) {
    tell({
      code: "STRANGER",
      path: name,
      detail: "it is no further inode of a file of the layer (spill)",
      spill: name,
    });
    return;
  }
  const fault = judge(at, stat, entry);
  if (fault === undefined) return;
  const detail = `a further inode of it, spill ${printableName(name)}: ${fault.detail}`;
  tell({ code: fault.code, path: entry.path, detail, inode: inodeKey(stat), spill: name });
}

const keyOf = (name: string): string => /^([0-9a-f]{32})-\d{1,9}$/.exec(name)?.[1] ?? "";

/** A plan may have taken a file by a name that the layer has as a hard link. */
function filesByKey(entries: StoredEntries, keys: ReadonlySet<string>): ReadonlyMap<string, FileEntry> {
  const files = new Map<string, FileEntry>();
  const linked = new Map<string, string[]>();
  for (const entry of entries.unplanned()) {
    if (entry.type !== "file" && entry.type !== "hardlink") continue;
    const key = spillKey(entry.path);
    if (!keys.has(key)) continue;
    if (entry.type === "file") files.set(key, entry);
    else linked.set(entry.target, [...(linked.get(entry.target) ?? []), key]);
  }
  if (linked.size > 0)
    for (const entry of entries.unplanned())
      if (entry.type === "file") for (const key of linked.get(entry.path) ?? []) files.set(key, entry);
  return files;
}
