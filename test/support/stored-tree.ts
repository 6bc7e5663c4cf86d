/**
 * A second reading of changesets and of what they say a tree is, to judge a store by. It shares no line with the product: whoever
 * changes the format of one changes this by hand.
 */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from "node:fs";

/** One line of a changeset: `d i f h l u w o`, path and target as bytes (latin1), mtime in seconds. */
export interface Line {
  readonly kind: string;
  readonly path: string;
  readonly mode: number;
  readonly mtime: number;
  readonly size: number;
  readonly sha256: string;
  readonly target: string;
}

type Field = Exclude<keyof Line, "kind">;

/** What stands behind the kind, in order. */
const FIELDS: Readonly<Record<string, readonly Field[]>> = {
  d: ["mode", "mtime", "path"],
  i: ["path"],
  f: ["mode", "mtime", "size", "sha256", "path"],
  h: ["target", "path"],
  l: ["mtime", "target", "path"],
  u: ["target", "path"],
  w: ["path"],
  o: ["path"],
};
const NOTHING: Omit<Line, "kind"> = { path: "", mode: 0, mtime: 0, size: 0, sha256: "", target: "" };
/** Of `f` and `d` those bits that the store keeps, and those that it needs itself. */
const FILE_BITS = { kept: 0o555, own: 0o400 } as const;
const DIRECTORY_BITS = { kept: 0o777, own: 0o500 } as const;
const IMPLIED_MODE = 0o755;
const MTIME_SLACK_S = 0.001;

/** Throws where a line is none. */
export function readChangeset(file: string): Line[] {
  const [header, ...lines] = readFileSync(file, "latin1").split("\n");
  if (header !== "stratad-changeset 1" || lines.pop() !== "") throw new Error("no changeset");
  return lines.map(readLine);
}

function readLine(text: string): Line {
  const [kind = "", ...values] = text.split("\t");
  const fields = FIELDS[kind];
  if (fields === undefined || fields.length !== values.length) throw new Error(`no line of a changeset: ${text}`);
  const line: Record<string, string | number> = { ...NOTHING, kind };
  for (const [i, field] of fields.entries()) {
    const value = values[i] as string;
    if (field === "mode") line[field] = Number.parseInt(value, 8);
    else if (field === "mtime" || field === "size") line[field] = Number(value);
    else line[field] = value.replace(/\\x(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  }
  return line as unknown as Line;
}

export interface SeenEntry {
  readonly stats: Stats;
  readonly onDisk: Buffer;
}

/** Everything below `top`, by path (bytes, latin1). */
export function readEntries(top: string): Map<string, SeenEntry> {
  const seen = new Map<string, SeenEntry>();
  const walk = (directory: string): void => {
    for (const name of readdirSync(Buffer.from(`${top}/${directory}`, "latin1"), "latin1")) {
      const path = directory === "" ? name : `${directory}/${name}`;
      const onDisk = Buffer.from(`${top}/${path}`, "latin1");
      const stats = lstatSync(onDisk);
      seen.set(path, { stats, onDisk });
      if (stats.isDirectory()) walk(path);
    }
  };
  walk("");
  return seen;
}

/** What is wrong with the tree at `top`, which these lines say everything about. */
export function treeProblems(top: string, lines: Iterable<Line>): string[] {
  const seen = readEntries(top);
  const files = new Map<string, Line>();
  const problems: string[] = [];
  for (const line of lines) {
    if (line.kind === "f") files.set(line.path, line);
    if ("uwo".includes(line.kind)) continue;
    const entry = seen.get(line.path);
    seen.delete(line.path);
    if (entry === undefined) problems.push(`${line.path} is missing`);
    else for (const what of entryProblems(entry, line, files)) problems.push(`${line.path}: ${what}`);
  }
  return [...problems, ...[...seen.keys()].map((path) => `${path} is in no changeset`)];
}

function entryProblems({ stats, onDisk }: SeenEntry, line: Line, files: ReadonlyMap<string, Line>): string[] {
  switch (line.kind) {
    case "d":
    case "i": {
      if (!stats.isDirectory()) return ["no directory"];
      const mode = line.kind === "i" ? IMPLIED_MODE : (line.mode & DIRECTORY_BITS.kept) | DIRECTORY_BITS.own;
      return [...modeProblem(stats, mode), ...timeProblem(stats, line)];
    }
    case "l": {
      if (!stats.isSymbolicLink()) return ["no symlink"];
      const target = readlinkSync(onDisk, "latin1");
      return [...(target === line.target ? [] : [`leads to ${target}`]), ...timeProblem(stats, line)];
    }
    case "h": {
      const file = files.get(line.target);
      return file === undefined
        ? [`is a link to ${line.target}, which is no file before it`]
        : fileProblems(stats, onDisk, file);
    }
    default:
      return fileProblems(stats, onDisk, line);
  }
}

function fileProblems(stats: Stats, onDisk: Buffer, line: Line): string[] {
  if (!stats.isFile()) return ["no file"];
  if (stats.size !== line.size) return [`${stats.size} bytes, not ${line.size}`];
  const sha256 = createHash("sha256").update(readFileSync(onDisk)).digest("hex");
  return [
    ...(sha256 === line.sha256 ? [] : ["another content"]),
    ...modeProblem(stats, (line.mode & FILE_BITS.kept) | FILE_BITS.own),
    ...timeProblem(stats, line),
  ];
}

const modeProblem = ({ mode }: Stats, expected: number): string[] =>
  (mode & 0o7777) === expected ? [] : [`mode ${(mode & 0o7777).toString(8)}, not ${expected.toString(8)}`];

const timeProblem = ({ mtimeMs }: Stats, { mtime }: Line): string[] =>
  Math.abs(mtimeMs / 1000 - mtime) < MTIME_SLACK_S ? [] : [`its time is ${mtimeMs / 1000}, not ${mtime}`];
