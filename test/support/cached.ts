/**
 * What tests fetch from Debian's mirror, kept beside the dependencies: it is asked once for a checkout, not once for a run.
 *
 * Where it cannot be had, e.g. without a network, a test is skipped with the reason; under CI=true that is a failure.
 */
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { checkout } from "./daemon.js";

/** `skip` is what `node:test` takes: false, or why. */
export type Obtained<Value> =
  | { readonly value: Value; readonly skip: false }
  | { readonly value?: undefined; readonly skip: string };

const FETCH_DEADLINE_MS = 300_000;

export async function obtained<Value>(what: Promise<Value>): Promise<Obtained<Value>> {
  try {
    return { value: await what, skip: false };
  } catch (error) {
    if (process.env.CI === "true") throw error;
    return { skip: (error as Error).message };
  }
}

/** Where tests keep theirs. */
const CACHE = join(checkout, "node_modules/.cache/stratad-tests");

/** The directory `name` of the cache, filled by `fill` where it is not there yet: it is there as a whole or not at all. */
export async function cached(name: string, fill: (directory: string) => Promise<void>, cache = CACHE): Promise<string> {
  const directory = join(cache, name);
  if (await isThere(directory)) return directory;
  await mkdir(cache, { recursive: true });
  const unfinished = await mkdtemp(join(cache, ".unfinished-"));
  try {
    await fill(unfinished);
    // Of two that fill it at the same time the second takes the first's.
    await rename(unfinished, directory).catch(async (error: unknown) => {
      if (!(await isThere(directory))) throw error;
    });
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return directory;
}

/** Runs a program to its end, in `cwd`. Returns stdout; throws with what it said. */
export async function run(command: readonly [string, ...string[]], cwd: string): Promise<string> {
  const [program, ...args] = command;
  const options = { cwd, timeout: FETCH_DEADLINE_MS, maxBuffer: 64 * 1024 * 1024 };
  return (await promisify(execFile)(program, args, options)).stdout;
}

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
