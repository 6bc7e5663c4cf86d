/**
 * Some of the things that a tree's list has, in its order and with all that is needed to make them again.
 */
import { StrataError, systemErrorCode } from "../src/errors.js";
import type { CheckedTree, RootList } from "../src/findings.js";
import type { Entry, FileEntry } from "../src/overlap/changeset.js";
import type { LinkedLayer } from "../src/root-tasks.js";
import { type StoredEntries, withEntries } from "./entries-file.js";
import { directoryAttributes, IMPLIED_MODE } from "./stored-mode.js";
import { symlinksOf } from "./symlink-root.js";

export interface ListedThing {
  readonly path: string;
  readonly directory?: { readonly mode: number; readonly mtime: number };
  /** Without a time: any. */
  readonly symlink?: { readonly target: string; readonly mtime?: number };
  /** Also of a hard link: the file that it names. */
  readonly file?: FileEntry;
  /** The first name, of a hard link. */
  readonly target?: string;
  /** Where a root has the file from; `first` names it among its layer's names. */
  readonly origin?: {
    readonly layers: readonly LinkedLayer[];
    readonly index: number;
    readonly from: string;
    readonly first: () => string;
  };
}

/** Those at `paths`; of a list that is not what was committed, none. */
export function listedThings(checked: CheckedTree, paths: ReadonlySet<string>): ListedThing[] {
  if (paths.size === 0) return [];
  if (checked.kind === "layer")
    return readable(() => withEntries(checked.changeset, (entries) => thingsOfLayer(entries, paths)));
  return checked.lists.flatMap((list) =>
    readable(() =>
      withEntries(list.entries, (entries) =>
        checked.link === "symlink" ? symlinks(entries, list, paths) : thingsOfRoot(entries, list, paths),
      ),
    ),
  );
}

function thingsOfLayer(entries: StoredEntries, paths: ReadonlySet<string>): ListedThing[] {
  const firsts = new Map<string, FileEntry | undefined>();
  for (const entry of entries.unplanned())
    if (entry.type === "hardlink" && paths.has(entry.path)) firsts.set(entry.target, undefined);
  if (firsts.size > 0)
    for (const entry of entries.unplanned())
      if (entry.type === "file" && firsts.has(entry.path)) firsts.set(entry.path, entry);
  const things: ListedThing[] = [];
  for (const entry of entries.unplanned()) {
    const thing = paths.has(entry.path) ? thingOf(entry, (target) => firsts.get(target)) : undefined;
    if (thing !== undefined) things.push(thing);
  }
  return things;
}

function thingsOfRoot(entries: StoredEntries, { layers }: RootList, paths: ReadonlySet<string>): ListedThing[] {
  const firsts = new Map<string, { readonly from: string; readonly file: FileEntry } | undefined>();
  for (const { entry } of entries.part(0, 1))
    if (entry.type === "hardlink" && paths.has(entry.path)) firsts.set(entry.target, undefined);
  if (firsts.size > 0)
    for (const { from, entry } of entries.part(0, 1))
      if (entry.type === "file" && firsts.has(entry.path)) firsts.set(entry.path, { from, file: entry });
  const things: ListedThing[] = [];
  for (const { layer: index, from, entry } of entries.part(0, 1)) {
    const thing = paths.has(entry.path) ? thingOf(entry, (target) => firsts.get(target)?.file) : undefined;
    const first = (): string => (thing?.target === undefined ? from : (firsts.get(thing.target)?.from ?? from));
    if (thing !== undefined) things.push({ ...thing, origin: { layers, index, from, first } });
  }
  return things;
}

function thingOf(entry: Entry, fileAt: (target: string) => FileEntry | undefined): ListedThing | undefined {
  const { path } = entry;
  switch (entry.type) {
    case "dir":
    case "implied":
      return { path, directory: directoryAttributes(entry) };
    case "file":
      return { path, file: entry };
    case "symlink":
      return { path, symlink: entry };
    case "hardlink": {
      const file = fileAt(entry.target);
      return file === undefined ? undefined : { path, file, target: entry.target };
    }
    case "unresolved":
    case "whiteout":
    case "opaque":
      return undefined;
  }
}

function symlinks(entries: StoredEntries, list: RootList, paths: ReadonlySet<string>): ListedThing[] {
  const things: ListedThing[] = [];
  const mtime = Date.now() / 1000;
  for (const { path, target } of symlinksOf(entries, list)) {
    if (!paths.has(path)) continue;
    things.push(
      target === undefined ? { path, directory: { mode: IMPLIED_MODE, mtime } } : { path, symlink: { target } },
    );
  }
  return things;
}

function readable(read: () => ListedThing[]): ListedThing[] {
  try {
    return read();
  } catch (error) {
    if (systemErrorCode(error) === undefined && !(error instanceof StrataError)) throw error;
    return [];
  }
}
