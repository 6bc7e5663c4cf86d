/** The refusal of one entry of an archive, with its name among the details. */
import { StrataError } from "../src/errors.js";
import { printableName } from "../src/printable.js";

type EntryCode =
  | "BAD_LINK"
  | "BAD_NAME"
  | "DEPTH"
  | "DUPLICATE_PATH"
  | "ENTRY_TYPE"
  | "HARDLINK_TARGET"
  | "LIMIT_BYTES"
  | "LIMIT_ENTRIES"
  | "NAME_FOLDING"
  | "NAME_TOO_LONG"
  | "PARENT_NOT_DIR"
  | "PATH_TOO_LONG"
  | "PATH_TRAVERSAL"
  | "ROOT_TYPE";

/** Throws what is wrong with the entry at `path`. */
export function refuseEntry(code: EntryCode, path: string, fact: string): never {
  throw new StrataError(code, `Cannot unpack ${printableName(path)}: ${fact}`);
}
