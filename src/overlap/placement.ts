/**
 * Placement: where a layer's annotations ask that its entries stand in the root (overlap.md). Strip takes leading components off
 * every path, then prefix puts others before it; the store's tree is not touched, so each entry keeps the path it has there.
 *
 * What comes out is a changeset again, with all that holds of one: depth first, every path once, every parent there. A
 * symlink's target is data and stays as it is; a hard link's is a path of the archive and moves with it.
 */
import { StrataError } from "../errors.js";
import {
  imageLimits,
  MAX_PLACEMENT_SHOWN,
  MAX_PREFIX_BYTES,
  MAX_PREFIX_COMPONENTS,
  MAX_STRIP_COMPONENTS,
} from "../limits.js";
import { printable, printableName } from "../printable.js";
import {
  type Changeset,
  type Entry,
  type FileEntry,
  isDirectory,
  isWhiteout,
  parentPath,
  topLevelOf,
} from "./changeset.js";
import { type PathLimits, refuseFarPath } from "./path-limits.js";
import { type PathNode, PathTree } from "./path-tree.js";

export interface Placement {
  /** Bytes (latin1), relative, without empty, `.` or `..` components; "" where none is asked for. */
  readonly prefix: string;
  /** How many leading components come off. */
  readonly strip: number;
}

/** An entry with its path in the root, and where its layer's tree has it. */
export interface PlacedEntry {
  /** "" for a directory that only the prefix implies. */
  readonly from: string;
  readonly entry: Entry;
}

/** A layer as `planRoot` takes it. */
export interface PlacedLayer {
  readonly entries: readonly PlacedEntry[];
  /**
   * How many names strip leaves nothing of. Directories are not counted: those that strip takes off are what it is for, and
   * with each there is nothing lost but a name.
   */
  readonly dropped: number;
}

const PREFIX = "sh.ocx.layer.prefix";
export const STRIP_COMPONENTS = "sh.ocx.layer.strip-components";
const WHITEOUT = ".wh.";

/** What a layer's annotations ask for; undefined where that is nothing. PLACEMENT_INVALID. */
export function parsePlacement(annotations: Readonly<Record<string, string>> | undefined): Placement | undefined {
  const prefix = parsePrefix(annotations?.[PREFIX] ?? "");
  const strip = parseStrip(annotations?.[STRIP_COMPONENTS] ?? "0");
  return prefix === "" && strip === 0 ? undefined : { prefix, strip };
}

function parsePrefix(text: string): string {
  const refuse = (fact: string): never => invalid(PREFIX, text, fact);
  // A lone surrogate has no bytes of its own.
  if (/\p{Surrogate}/u.test(text)) refuse("is no Unicode text");
  const bytes = Buffer.from(text).toString("latin1");
  if (bytes.length > MAX_PREFIX_BYTES) refuse(`is longer than ${MAX_PREFIX_BYTES} bytes`);
  if (bytes.includes("\0")) refuse("holds a NUL");
  if (bytes.includes("\\")) refuse("holds a backslash");
  if (bytes.startsWith("/")) refuse("is absolute");
  const components = bytes.split("/").filter((component) => component !== "" && component !== ".");
  if (components.length > MAX_PREFIX_COMPONENTS) refuse(`has more than ${MAX_PREFIX_COMPONENTS} components`);
  for (const component of components) {
    if (component === "..") refuse("has a component `..`");
    if (component.startsWith(WHITEOUT)) refuse("has the name of a whiteout");
    if (component.length > imageLimits.maxComponentBytes)
      refuse(`has a component of more than ${imageLimits.maxComponentBytes} bytes`);
  }
  return components.join("/");
}

function parseStrip(text: string): number {
  const count = /^(0|[1-9][0-9]{0,2})$/.test(text) ? Number(text) : Number.NaN;
  return count <= MAX_STRIP_COMPONENTS
    ? count
    : invalid(STRIP_COMPONENTS, text, `is no number from 0 to ${MAX_STRIP_COMPONENTS}`);
}

function invalid(annotation: string, value: string, fact: string): never {
  const shown = printable(value, MAX_PLACEMENT_SHOWN);
  throw new StrataError("PLACEMENT_INVALID", `Cannot place the layer: ${annotation} \`${shown}\` ${fact}`);
}

/**
 * PATH_TOO_LONG or DEPTH where a path goes beyond the limits only in the root; DUPLICATE_PATH where strip puts two entries of
 * the layer on one path that could not stand so in an archive either.
 */
export function placed(changeset: Changeset, placement: Placement | undefined, limits: PathLimits): PlacedLayer {
  if (placement === undefined) return { entries: changeset.map((entry) => ({ from: entry.path, entry })), dropped: 0 };
  const tree = new PathTree<PlacedEntry>();
  const whiteouts: PlacedEntry[] = [];
  let dropped = 0;
  for (const entry of withHeirs(changeset, placement.strip)) {
    const moved = movedEntry(entry, placement);
    if (moved === undefined) {
      if (!isDirectory(entry)) dropped += 1;
      continue;
    }
    refuseFarPath(moved.path, limits);
    const placedEntry = { from: entry.path, entry: moved };
    if (isWhiteout(moved)) whiteouts.push(placedEntry);
    else settle(tree.at(moved.path), placedEntry);
  }
  const entries = Array.from(tree.nodes(), ({ path, value }) => value ?? impliedByPrefix(path));
  return { entries: [...entries, ...whiteouts], dropped };
}

const impliedByPrefix = (path: string): PlacedEntry => ({ from: "", entry: { type: "implied", path } });

/** A name that strip drops may be the file of a group of hard links: the first of them that is kept becomes the file. */
function* withHeirs(changeset: Changeset, strip: number): Generator<Entry> {
  const lost = new Map<string, FileEntry>();
  for (const entry of changeset)
    if (entry.type === "file" && stripped(entry.path, strip) === undefined) lost.set(entry.path, entry);
  const heirs = new Map<string, string>();
  for (const entry of changeset) {
    const file = entry.type === "hardlink" ? lost.get(entry.target) : undefined;
    if (entry.type !== "hardlink" || file === undefined || stripped(entry.path, strip) === undefined) yield entry;
    else if (heirs.has(file.path)) yield { ...entry, target: heirs.get(file.path) as string };
    else {
      heirs.set(file.path, entry.path);
      yield { ...file, path: entry.path };
    }
  }
}

/** Undefined where strip leaves nothing of the path. */
function movedEntry(entry: Entry, placement: Placement): Entry | undefined {
  const path = entry.type === "opaque" ? movedOpaque(entry.path, placement) : movedPath(entry.path, placement);
  if (path === undefined) return undefined;
  switch (entry.type) {
    case "hardlink":
      // It is there: `withHeirs` left no link behind without its file.
      return { ...entry, path, target: movedPath(entry.target, placement) as string };
    case "unresolved":
      // A name that strip takes away is in no layer: "" is the image root, which nothing can be a hard link to.
      return { ...entry, path, target: movedPath(entry.target, placement) ?? "" };
    default:
      return { ...entry, path };
  }
}

/** An opaque whiteout is a file in the directory that it empties, and goes where that file goes. */
function movedOpaque(directory: string, placement: Placement): string | undefined {
  const marker = movedPath(joined(directory, WHITEOUT), placement);
  return marker === undefined ? undefined : parentPath(marker);
}

function movedPath(path: string, { prefix, strip }: Placement): string | undefined {
  const rest = stripped(path, strip);
  return rest === undefined ? undefined : joined(prefix, rest);
}

function stripped(path: string, components: number): string | undefined {
  let start = 0;
  for (let i = 0; i < components; i += 1) {
    start = path.indexOf("/", start) + 1;
    if (start === 0) return undefined;
  }
  return path.slice(start);
}

const joined = (directory: string, path: string): string => (directory === "" ? path : `${directory}/${path}`);

/** As the unpacker settles an archive that says a path twice: only a directory, and only with the same mode. */
function settle(node: PathNode<PlacedEntry>, placedEntry: PlacedEntry): void {
  const [there, entry] = [node.value?.entry, placedEntry.entry];
  if (there === undefined || (there.type === "implied" && isDirectory(entry))) node.value = placedEntry;
  else if (there.type !== "dir" || !(entry.type === "implied" || (entry.type === "dir" && entry.mode === there.mode)))
    throw new StrataError(
      "DUPLICATE_PATH",
      `Cannot place ${printableName(placedEntry.from)}: strip puts ${printableName(node.value?.from ?? "")} on the same path`,
    );
}

/**
 * The top-level names of a placed layer, as far as those of the layer itself tell them: undefined where strip makes it a question
 * for the changeset.
 */
export function placedTopLevel<Type extends string>(
  topLevel: readonly (readonly [name: string, type: Type])[],
  placement: Placement | undefined,
): readonly (readonly [name: string, type: Type | "dir"])[] | undefined {
  const { prefix, strip } = placement ?? { prefix: "", strip: 0 };
  if (strip > 0) return undefined;
  if (prefix === "") return topLevel;
  return topLevel.length === 0 ? [] : [[topLevelOf(prefix), "dir"]];
}
