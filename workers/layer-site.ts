/**
 * Where a layer is built, by descriptors. The thread that inflates opens them and has them open until the one that writes the tree has left,
 * or died: both write there, and a number that is closed may be another layer's directory a moment later.
 */
import { closeSync, mkdirSync } from "node:fs";
import type { UnpackTask } from "../src/tasks.js";
import { fromHere } from "./disk-path.js";
import { inDirectory, openDirectory } from "./open-directories.js";

export interface Site {
  /** Gets the changeset. */
  readonly staging: number;
  readonly tree: number;
  /** Of the store, for files that layers share; absent: they share none. */
  readonly files: number | undefined;
}

/** Makes the layer's empty tree, and opens all that for as long as `use` runs. */
export async function atSite<Value>(
  { staging: path, files }: Pick<UnpackTask, "staging" | "files">,
  use: (site: Site) => Promise<Value>,
): Promise<Value> {
  const open: number[] = [];
  const opened = (directory: string | Buffer): number => {
    const descriptor = openDirectory(directory);
    open.push(descriptor);
    return descriptor;
  };
  try {
    const staging = opened(fromHere(path));
    mkdirSync(inDirectory(staging, "tree"), 0o755);
    const tree = opened(inDirectory(staging, "tree"));
    return await use({ staging, tree, files: files === undefined ? undefined : opened(fromHere(files)) });
  } finally {
    for (const descriptor of open) closeSync(descriptor);
  }
}
