import { StrataError } from "../src/errors.js";
import { printableName } from "../src/printable.js";

type EntryCode = "BAD_NAME" | "BAD_LINK" | "ENTRY_TYPE" | "HARDLINK_TARGET" | "ROOT_TYPE";

/** Throws what is wrong with the entry at `path`. */
export function refuseEntry(code: EntryCode, path: string, fact: string): never {
  throw new StrataError(code, `Cannot unpack ${printableName(path)}: ${fact}`);
}
