/** What a directory holds, some at a time: there may be any number of them. */
import { type Dirent, opendirSync } from "node:fs";

/** Names are bytes, latin1. */
export function* directoryEntries(path: string): Generator<Dirent> {
  const directory = opendirSync(path, { encoding: "latin1" as BufferEncoding });
  try {
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) yield entry;
  } finally {
    directory.closeSync();
  }
}
