/**
 * Worker entry: what two roots show otherwise, by top-level name.
 *
 * Compared is what somebody would see who walks both: paths, types, modes, times, contents, where symlinks lead, and which names
 * below a top-level name are one file. Where it is from, and the order that an archive had it in, is not to be seen. A root of
 * symlinks is walked through them; what was written into a root since it was made is nobody's entry.
 */
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { MAX_CONFLICTS_LISTED } from "../src/limits.js";
import { baseName, byteOrder, escapeField, type FileEntry, parentPath, topLevelOf } from "../src/overlap/changeset.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import type { CompareTask, EntriesFile, RootChanges, ShownRoot } from "../src/root-tasks.js";
import { TaskProgress } from "../src/task-progress.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { type StoredEntries, withEntries } from "./entries-file.js";
import { directoryAttributes, storedFileMode } from "./stored-mode.js";

const LOOK_EVERY = 256;

export default (task: CompareTask): Promise<Outcome<RootChanges>> =>
  outcomeOf("Cannot compare the roots", () => {
    const progress = new TaskProgress(task.progress);
    progress.activity = "working";
    const [had, has] = [task.had, task.has].map((root) => {
      const walk = new Walk(root.link, progress);
      for (const file of ownFiles(root, task)) withEntries(file, (entries) => walk.through(entries));
      return walk.looks;
    }) as [Walk["looks"], Walk["looks"]];
    return changesOf(had, has);
  });

/** What both roots have of the same entries they show alike, name for name, if they have it in the same way. */
function ownFiles({ link, files }: ShownRoot, { had, has }: CompareTask): EntriesFile[] {
  const inBoth = (sha256: string): boolean =>
    [had, has].every((root) => root.link === link && root.files.some((file) => file.sha256 === sha256));
  return files.filter(({ sha256 }) => !inBoth(sha256));
}

function changesOf(had: Walk["looks"], has: Walk["looks"]): RootChanges {
  const added = [...has.keys()].filter((name) => !had.has(name));
  const removed = [...had.keys()].filter((name) => !has.has(name));
  const changed = [...has].flatMap(([name, look]) => (had.has(name) && had.get(name) !== look ? [name] : []));
  const first = (names: string[]): string[] => names.sort(byteOrder).slice(0, MAX_CONFLICTS_LISTED);
  return {
    added: first(added),
    changed: first(changed),
    removed: first(removed),
    total: { added: added.length, changed: changed.length, removed: removed.length },
  };
}

/** A directory whose entries are still coming. */
interface OpenDirectory {
  readonly path: string;
  readonly look: string;
  /** Name and look of each. */
  readonly entries: string[];
}

class Walk {
  /** All that is to be seen of each top-level name: of a directory its attributes and one hash of what it holds, in any order. */
  readonly looks = new Map<string, string>();
  readonly #open: OpenDirectory[] = [];
  readonly #link: ShownRoot["link"];
  readonly #progress: TaskProgress;

  constructor(link: ShownRoot["link"], progress: TaskProgress) {
    this.#link = link;
    this.#progress = progress;
  }

  through(entries: StoredEntries): void {
    const named = this.#looksOfNames(entries);
    for (const { entry } of entries.part(0, 1)) {
      const { path } = entry;
      this.#closeBelow(parentPath(path));
      if (entry.type === "dir" || entry.type === "implied")
        this.#open.push({ path, look: directoryLook(entry), entries: [] });
      else this.#put(path, named.get(path) ?? this.#leafLook(entry));
      this.#progress.entries += 1;
      if (this.#progress.entries % LOOK_EVERY === 0) this.#progress.throwIfCancelled();
    }
    this.#closeBelow("");
  }

  /** Directories are parents of each other, and all of one's entries come together. */
  #closeBelow(parent: string): void {
    for (let last = this.#open.at(-1); last !== undefined && last.path !== parent; last = this.#open.at(-1)) {
      this.#open.pop();
      this.#put(last.path, `${last.look}\t${hash("sha256", last.entries.sort().join("\n"))}`);
    }
  }

  #put(path: string, look: string): void {
    const directory = this.#open.at(-1);
    if (directory === undefined) this.looks.set(path, look);
    else directory.entries.push(`${escapeField(baseName(path))}\t${look}`);
  }

  /** By path, for every name of a file that has several: each shows the file, and which others below its top-level name are that one. */
  #looksOfNames(entries: StoredEntries): ReadonlyMap<string, string> {
    const looks = new Map<string, string>();
    const links = groupBy(entries.hardLinks(), ({ target }) => target);
    if (links.size === 0) return looks;
    for (const { entry } of entries.part(0, 1)) {
      const others = entry.type === "file" ? links.get(entry.path) : undefined;
      if (entry.type !== "file" || others === undefined) continue;
      const names = [entry.path, ...others.map(({ path }) => path)];
      // In a root of links each name of an empty file is a file of its own.
      const areOne = entry.size > 0 || this.#link !== "hardlink";
      for (const together of groupBy(names, topLevelOf).values()) {
        const [first = ""] = areOne && together.length > 1 ? together.toSorted(byteOrder) : [];
        for (const path of together) looks.set(path, this.#fileLook(entry, first));
      }
    }
    return looks;
  }

  #leafLook(entry: PlannedEntry["entry"]): string {
    if (entry.type === "file") return this.#fileLook(entry, "");
    assert(entry.type === "symlink", "a hard link's target is a file of the same entries");
    return `symlink\t${entry.mtime}\t${escapeField(entry.target)}`;
  }

  /** `first` is the first of the names that are this file, where there are others. */
  #fileLook({ mode, mtime, size, sha256 }: FileEntry, first: string): string {
    // Files that others share are nobody's to write.
    const isShared = this.#link === "hardlink" || this.#link === "symlink";
    return `file\t${isShared ? storedFileMode(mode) : mode}\t${mtime}\t${size}\t${sha256}\t${escapeField(first)}`;
  }
}

function directoryLook(entry: PlannedEntry["entry"] & { readonly type: "dir" | "implied" }): string {
  const { mode, mtime } = directoryAttributes(entry);
  return `directory\t${mode}\t${mtime}`;
}

function groupBy<Item>(items: Iterable<Item>, keyOf: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const known = groups.get(key);
    if (known === undefined) groups.set(key, [item]);
    else known.push(item);
  }
  return groups;
}
