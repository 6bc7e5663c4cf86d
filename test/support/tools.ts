/**
 * Tools of the platform that some tests use as judges. Where one is missing the test is skipped with the reason; under CI=true
 * that is a failure, since a judge that never sits proves nothing.
 */
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** `skip` is what `node:test` takes: false, or why. */
export type Tool =
  | { readonly path: string; readonly skip: false }
  | { readonly path?: undefined; readonly skip: string };

/** Looks `name` up in PATH; throws under CI=true where it is missing. */
export function toolOrSkip(name: string, env: NodeJS.ProcessEnv = process.env): Tool {
  const path = (env.PATH ?? "")
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find(isExecutable);
  if (path !== undefined) return { path, skip: false };
  if (env.CI === "true") throw new Error(`Cannot find ${name} in PATH: CI=true skips nothing`);
  return { skip: `${name} is not installed` };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
