/**
 * Which release this is: the version of the package that the running file belongs to.
 */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemErrorCode } from "./errors.js";

const NAME = "stratad";

let own: Promise<string> | undefined;

/** Read once: what runs stays what it is when its files are replaced. Rejects where this was bundled into another package. */
export function ownVersion(): Promise<string> {
  own ??= readVersion();
  return own;
}

/** The nearest package.json of stratad above the compiled file is its own, wherever it is installed. */
async function readVersion(): Promise<string> {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let directory = start; ; directory = dirname(directory)) {
    const text = await readFile(join(directory, "package.json"), "utf8").catch((error: unknown) => {
      if (systemErrorCode(error) !== "ENOENT") throw error;
    });
    const { name, version } = JSON.parse(text ?? "{}") as { readonly name?: unknown; readonly version?: unknown };
    if (name === NAME) return String(version);
    if (directory === dirname(directory)) throw new Error(`no package.json of ${NAME} stands above ${start}`);
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
