/**
 * Which release this is: the version of the package that the running file belongs to.
 */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemErrorCode } from "./errors.js";

/** The nearest package.json above the compiled file is the package's own, wherever it is installed. */
export async function ownVersion(): Promise<string> {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const text = await readFile(join(directory, "package.json"), "utf8").catch((error: unknown) => {
      if (systemErrorCode(error) !== "ENOENT" || directory === dirname(directory)) throw error;
    });
    if (text !== undefined) return String((JSON.parse(text) as { version: unknown }).version);
    directory = dirname(directory);
  }
}

/** Whether `version` came before `own`: by its three numbers; what follows them does not count. */
export function isOlder(version: string, own: string): boolean {
  const numbers = (text: string) => /^(\d+)\.(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number);
  const [left, right] = [numbers(version), numbers(own)];
  if (left === undefined || right === undefined) return false;
  const at = left.findIndex((number, index) => number !== right[index]);
  return at >= 0 && (left[at] ?? 0) < (right[at] ?? 0);
}
