/**
 * When two readers say the same of an entry. What is not equal to the byte is the same only by a row of the table here, for its reason.
 */
import type { Listed } from "./listings.js";

export type Reader = "GNU tar" | "bsdtar" | "Python";

interface Exception {
  readonly reader: Reader;
  readonly why: string;
  /** What `theirs` would be without this peculiarity of the reader. */
  readonly amended: (theirs: Listed, ours: Listed) => Listed;
}

const exceptions: readonly Exception[] = [
  {
    reader: "bsdtar",
    why: "It puts no slash behind a prefix that ends in one: `a//b` is `a/b` (hostile-inputs.md, Paths).",
    amended: (theirs, ours) => (slashed(theirs.name) === slashed(ours.name) ? { ...theirs, name: ours.name } : theirs),
  },
  {
    reader: "bsdtar",
    why: "It loses a PAX or GNU link target beside an empty field; Go and Rust write such (hostile/rows.ts, framing).",
    amended: (theirs, ours) => {
      // Without its target a hard link has no type either.
      const isLost = theirs.link === "" && theirs.type === (ours.type === "hardlink" ? "?" : ours.type);
      return isLost ? { ...theirs, link: ours.link, type: ours.type } : theirs;
    },
  },
];

export function isSameEntry(reader: Reader, ours: Listed, theirs: Listed): boolean {
  const amended = exceptions
    .filter((exception) => exception.reader === reader)
    .reduce((entry, exception) => exception.amended(entry, ours), theirs);
  return (
    (["type", "size", "link"] as const).every((key) => amended[key] === ours[key]) &&
    unslashed(amended.name) === unslashed(ours.name)
  );
}

/** Not all readers keep the slash at a directory's end. */
const unslashed = (name: string): string => name.replace(/\/+$/, "");
const slashed = (name: string): string => name.replace(/\/+/g, "/");
