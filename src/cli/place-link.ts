/**
 * `--to PATH`: a symlink of the caller's own to the stable path of a name, placed with the caller's own rights.
 *
 * It appears by one rename (or is created where nothing is), and never replaces anything but a symlink.
 */
import { randomBytes } from "node:crypto";
import { lstat, readlink, rename, stat, symlink, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isNotThere, StrataError, systemErrorCode, toStrataError } from "../errors.js";
import { printable } from "../printable.js";
import { succeeds } from "../succeeds.js";

/** Throws USAGE where `path` is something else than a symlink or in no directory, so that nothing is installed for a link that cannot be. */
export async function checkLinkPlace(path: string): Promise<void> {
  try {
    const found = await lstat(path);
    if (!found.isSymbolicLink()) throw occupied(path, found.isDirectory() ? "a directory" : "a file");
  } catch (error) {
    if (!isNotThere(error)) throw cannotPlace(path, error);
    if (!(await succeeds(stat(`${dirname(path)}/`)))) throw noDirectory(path);
  }
}

/** `path` is absolute; `target` is what it then leads to. */
export async function placeLink(path: string, target: string): Promise<void> {
  try {
    await symlink(target, path);
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw cannotPlace(path, error);
    await replaceLink(path, target);
  }
}

async function replaceLink(path: string, target: string): Promise<void> {
  await checkLinkPlace(path);
  const temporary = join(dirname(path), `.${basename(path).slice(0, 64)}.${randomBytes(6).toString("hex")}`);
  try {
    if ((await readlink(path)) === target) return;
    await symlink(target, temporary);
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw cannotPlace(path, error);
  }
}

function occupied(path: string, what: string): StrataError {
  return new StrataError("USAGE", `Cannot place the link ${printable(path, 1024)}: it is ${what}, not a symlink`, {
    hint: "Name a path that does not exist yet, or a symlink to replace.",
  });
}

function noDirectory(path: string): StrataError {
  const fact = `there is no directory ${printable(dirname(path), 1024)}`;
  return new StrataError("USAGE", `Cannot place the link ${printable(path, 1024)}: ${fact}`, { hint: PLACE_HINT });
}

const PLACE_HINT = "--to names a path in a directory that you may write to.";

/** The store's hints are about the daemon; this is about the caller's own directory. */
function cannotPlace(path: string, thrown: unknown): StrataError {
  const error = toStrataError(thrown, `Cannot place the link ${printable(path, 1024)}`);
  if (systemErrorCode(thrown) === undefined) return error;
  return new StrataError(error.code, error.message, { ...error.options, hint: PLACE_HINT });
}
