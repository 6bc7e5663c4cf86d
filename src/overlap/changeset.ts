/**
 * A changeset: what one layer adds and hides, as plain data, and its file format (store.md, `changeset`).
 *
 * Paths and link targets are byte strings, one byte in each character (latin1), relative, without `.` or `..`. Entries stand
 * depth first: a directory before what it holds, and all of a directory's entries together, so that a range of entries is a
 * run of whole subtrees. Pure: reads no disk, knows no policy.
 */

export type Entry =
  /** An explicit directory. `mode` holds the archive's permission bits (0777). */
  | { readonly type: "dir"; readonly path: string; readonly mode: number; readonly mtime: number }
  /** A directory that only follows from the paths below it. */
  | { readonly type: "implied"; readonly path: string }
  | {
      readonly type: "file";
      readonly path: string;
      readonly mode: number;
      readonly mtime: number;
      readonly size: number;
      readonly sha256: string;
    }
  /** The same inode as the file at `target`, which stands in this changeset. */
  | { readonly type: "hardlink"; readonly path: string; readonly target: string }
  | { readonly type: "symlink"; readonly path: string; readonly mtime: number; readonly target: string }
  /** A hard link whose target this layer lacks: only a policy that looks into lower layers can resolve it. */
  | { readonly type: "unresolved"; readonly path: string; readonly target: string }
  /** Hides `path` of lower layers (image-spec v1.1 layer.md, Whiteouts). */
  | { readonly type: "whiteout"; readonly path: string }
  /** Hides what lower layers hold below `path`, which may be empty: the root itself. */
  | { readonly type: "opaque"; readonly path: string };

export type Changeset = readonly Entry[];

export const entryTypes = [
  "dir",
  "implied",
  "file",
  "hardlink",
  "symlink",
  "unresolved",
  "whiteout",
  "opaque",
] as const;

export type FileEntry = Entry & { readonly type: "file" };
/** Both kinds of whiteout: they hide what lower layers hold, and are nothing themselves. */
export type Whiteout = Entry & { readonly type: "whiteout" | "opaque" };
export type Unresolved = Entry & { readonly type: "unresolved" };
/** What can stand in a root. */
export type RootEntry = Exclude<Entry, Whiteout | Unresolved>;

export const isWhiteout = (entry: Entry): entry is Whiteout => entry.type === "whiteout" || entry.type === "opaque";
export const isDirectory = ({ type }: Entry): boolean => type === "dir" || type === "implied";

const HEADER = "stratad-changeset 1";
const LINES_PER_PIECE = 4096;

/** The file's text in pieces of some hundred KiB; write it as latin1. One line an entry, fields parted by tabs, the path last. */
export function* encodeChangeset(changeset: Iterable<Entry>): Generator<string> {
  let piece = `${HEADER}\n`;
  let lines = 0;
  for (const entry of changeset) {
    piece += `${encodeEntry(entry)}\n`;
    lines += 1;
    if (lines % LINES_PER_PIECE === 0) {
      yield piece;
      piece = "";
    }
  }
  yield piece;
}

/** One line, without its end. */
export function encodeEntry(entry: Entry): string {
  const path = escapeField(entry.path);
  switch (entry.type) {
    case "dir":
      return `d\t${entry.mode.toString(8)}\t${entry.mtime}\t${path}`;
    case "implied":
      return `i\t${path}`;
    case "file":
      return `f\t${entry.mode.toString(8)}\t${entry.mtime}\t${entry.size}\t${entry.sha256}\t${path}`;
    case "hardlink":
      return `h\t${escapeField(entry.target)}\t${path}`;
    case "symlink":
      return `l\t${entry.mtime}\t${escapeField(entry.target)}\t${path}`;
    case "unresolved":
      return `u\t${escapeField(entry.target)}\t${path}`;
    case "whiteout":
      return `w\t${path}`;
    case "opaque":
      return `o\t${path}`;
  }
}

/** The inverse. Throws a plain Error on anything that `encodeEntry` does not write. */
export function decodeEntry(line: string): Entry {
  return line.startsWith("f\t") ? decodeFile(line) : decodeOther(line);
}

/** Most lines are a file's, and each is read for every root: without an array of its fields in two thirds of the time. */
function decodeFile(line: string): FileEntry {
  const mode = 2;
  const mtime = line.indexOf("\t", mode) + 1;
  const size = line.indexOf("\t", mtime) + 1;
  const sha256 = line.indexOf("\t", size) + 1;
  const path = line.indexOf("\t", sha256) + 1;
  const areAllThere = mtime > 0 && size > mtime && sha256 > size && path > sha256;
  if (!areAllThere || line.includes("\t", path)) throw new Error("not a line of a changeset");
  return {
    type: "file",
    path: unescapeField(line.slice(path)),
    mode: Number.parseInt(line.slice(mode, mtime - 1), 8),
    mtime: Number(line.slice(mtime, size - 1)),
    size: Number(line.slice(size, sha256 - 1)),
    sha256: line.slice(sha256, path - 1),
  };
}

function decodeOther(line: string): Entry {
  const fields = line.split("\t");
  const [kind, a = "", b = "", c = ""] = fields;
  if (fields.length !== fieldCounts[kind as keyof typeof fieldCounts]) throw new Error("not a line of a changeset");
  switch (kind) {
    case "d":
      return { type: "dir", mode: Number.parseInt(a, 8), mtime: Number(b), path: unescapeField(c) };
    case "i":
      return { type: "implied", path: unescapeField(a) };
    case "h":
      return { type: "hardlink", target: unescapeField(a), path: unescapeField(b) };
    case "l":
      return { type: "symlink", mtime: Number(a), target: unescapeField(b), path: unescapeField(c) };
    case "u":
      return { type: "unresolved", target: unescapeField(a), path: unescapeField(b) };
    case "w":
      return { type: "whiteout", path: unescapeField(a) };
    case "o":
      return { type: "opaque", path: unescapeField(a) };
    default:
      throw new Error("not a line of a changeset");
  }
}

const fieldCounts = { d: 4, i: 2, h: 3, l: 4, u: 3, w: 2, o: 2 } as const;

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it escapes
const TO_ESCAPE = /[\x00-\x1f\x7f\\]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it escapes
const EACH_TO_ESCAPE = /[\x00-\x1f\x7f\\]/g;

/** Control characters and backslashes as `\xHH`: a field never holds a tab or a newline. */
export function escapeField(bytes: string): string {
  if (!TO_ESCAPE.test(bytes)) return bytes;
  return bytes.replace(EACH_TO_ESCAPE, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

export function unescapeField(field: string): string {
  if (!field.includes("\\")) return field;
  return field.replace(/\\x([0-9a-f]{2})/g, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Paths and names in the order of their bytes. */
export const byteOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** What holds a path; "" is the image root. */
export const parentPath = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
/** The last component of a path. */
export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** The first component of a path. */
export function topLevelOf(path: string): string {
  const slash = path.indexOf("/");
  return slash === -1 ? path : path.slice(0, slash);
}

/** What the entries put at the image root, name by name, and what each is: a directory where they only stand below it. */
export function topLevelNames(entries: Iterable<Entry>): Map<string, Entry["type"]> {
  const names = new Map<string, Entry["type"]>();
  for (const entry of entries) {
    if (isWhiteout(entry)) continue;
    const name = topLevelOf(entry.path);
    if (!names.has(name)) names.set(name, name === entry.path && entry.type !== "implied" ? entry.type : "dir");
  }
  return names;
}
