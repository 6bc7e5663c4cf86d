/**
 * Reads the store's documents and symlinks by the thousand, as a start does: by workers, a task for some hundreds of them.
 *
 * Knows neither what they are nor where they stand.
 */
import type { z } from "zod";
import { StrataError } from "../errors.js";
import { parseDocument } from "../layer-documents.js";
import { MAX_READ_FILES } from "../limits.js";
import type { ReadFile, ReadResult, ReadTask } from "../tasks.js";
import { batchesOf, eachConcurrently } from "./each-concurrently.js";

/** One task, on a worker. */
export type ReadFiles = (task: ReadTask) => Promise<ReadResult>;

/** What to read, and whom to tell. */
export interface DocumentsOf<Key, Schema extends z.ZodType> {
  readonly pathOf: (key: Key) => string;
  readonly schema: Schema;
  /** Undefined: there is none at the path. */
  readonly found: (key: Key, document: z.output<Schema> | undefined) => void;
  /** STORE_CORRUPT and what the file system said; what `found` throws too. */
  readonly unreadable: (key: Key, error: unknown) => void;
}

export class StoredFiles {
  readonly #readFiles: ReadFiles;

  constructor(readFiles: ReadFiles) {
    this.#readFiles = readFiles;
  }

  /** Tells of the document of every key, in any order. */
  async documents<Key, Schema extends z.ZodType>(
    keys: readonly Key[],
    { pathOf, schema, found, unreadable }: DocumentsOf<Key, Schema>,
  ): Promise<void> {
    await this.#each("documents", { keys, pathOf }, (key, path, file) => {
      try {
        if (typeof file === "object") throw new StrataError("STORE_IO", `Cannot read ${path}: ${file.errno}`);
        found(key, file === undefined ? undefined : parseDocument(path, file, schema));
      } catch (error) {
        unreadable(key, error);
      }
    });
  }

  /** The targets of the symlinks at `paths`; what is none has none. */
  async targets(paths: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const targets = new Map<string, string>();
    await this.#each("symlinks", { keys: paths, pathOf: (path) => path }, (_key, path, file) => {
      if (typeof file === "string") targets.set(path, file);
    });
    return targets;
  }

  async #each<Key>(
    kind: ReadTask["kind"],
    { keys, pathOf }: { readonly keys: readonly Key[]; readonly pathOf: (key: Key) => string },
    use: (key: Key, path: string, file: ReadFile) => void,
  ): Promise<void> {
    await eachConcurrently(batchesOf(keys, MAX_READ_FILES), async (batch) => {
      for (let left = batch; left.length > 0; ) {
        const paths = left.map(pathOf);
        const { files } = await this.#readFiles({ kind, paths });
        for (const [index, file] of files.entries()) use(left[index] as Key, paths[index] as string, file);
        left = left.slice(files.length);
      }
    });
  }
}
