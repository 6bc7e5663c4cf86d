/**
 * A reference becomes a source: the one place that knows every transport, and where local paths are allowed.
 *
 * A transport is loaded when a reference first has it: together they are a sixth of what a daemon would start with.
 */
import { realpath, stat } from "node:fs/promises";
import { dirname, isAbsolute, normalize, sep } from "node:path";
import { StrataError, systemErrorCode } from "../errors.js";
import type { Descriptor } from "../oci/documents.js";
import type { Reference } from "../oci/reference.js";
import { printable } from "../printable.js";
import { directoryFiles } from "./directory.js";
import { type Files, unreadable } from "./files.js";
import { layoutImages, layoutSource } from "./layout.js";
import type { RegistryOptions } from "./registry/registry-source.js";
import type { ImageSource } from "./source.js";

export interface OpenOptions {
  /** Directories that local images may be below, symlinks resolved; `anywhere` for a user's own daemon. */
  readonly importDirs: readonly string[] | "anywhere";
  readonly registry: RegistryOptions;
}

/**
 * Nothing is fetched yet. The caller closes the source. IMPORT_DENIED (also where the daemon's user may not read), LAYOUT_INVALID or
 * ARCHIVE_LAYOUT (nothing there, not a directory or a tar), INVALID_REFERENCE (a relative path).
 */
export async function openSource(reference: Reference, options: OpenOptions): Promise<ImageSource> {
  switch (reference.transport) {
    case "docker":
      return (await import("./registry/registry-source.js")).registrySource(reference, options.registry);
    case "oci": {
      const real = await allowedPath(reference, options.importDirs);
      if (!(await stat(real)).isDirectory()) throw notThere(reference, "it is not a directory");
      return layoutSource(reference, directoryFiles(reference.path, real));
    }
    case "oci-archive": {
      const real = await allowedPath(reference, options.importDirs);
      return layoutSource(reference, await archiveFiles(reference.path, real));
    }
    case "docker-archive": {
      const real = await allowedPath(reference, options.importDirs);
      const { dockerArchiveSource } = await import("./docker-archive.js");
      return dockerArchiveSource(reference, await archiveFiles(reference.path, real));
    }
  }
}

/** All of them, before an upgrade puts another release's files in the place of this one's. */
export async function loadTransports(): Promise<void> {
  await Promise.all([import("./registry/registry-source.js"), import("./docker-archive.js"), import("./archive.js")]);
}

async function archiveFiles(path: string, real: string): Promise<Files> {
  return (await import("./archive.js")).archiveFiles(path, real);
}

/** What the index.json of an oci-archive lists. The codes of opening it, and LAYOUT_INVALID. */
export async function archiveImages(
  path: string,
  importDirs: OpenOptions["importDirs"],
): Promise<readonly Descriptor[]> {
  const real = await allowedPath({ transport: "oci-archive", path }, importDirs);
  const files = await archiveFiles(path, real);
  try {
    return await layoutImages(files);
  } finally {
    await files.close();
  }
}

type LocalReference = Exclude<Reference, { transport: "docker" }>;

/**
 * The directory of a file that may be written, without symlinks: one that images may be read from. IMPORT_DENIED, INVALID_PARAMS where it
 * is none.
 */
export async function allowedPlace(path: string, importDirs: OpenOptions["importDirs"]): Promise<string> {
  if (!isAbsolute(path)) throw unfitPlace(path, "the path is not absolute");
  const directory = dirname(path);
  const roots = importDirs === "anywhere" ? importDirs : await realDirectories(importDirs);
  const inside = (candidate: string) => roots === "anywhere" || roots.some((root) => isBelow(candidate, root));
  const real = await realpath(directory).catch((error: unknown) => {
    const errno = systemErrorCode(error);
    if (errno === undefined || !inside(normalize(directory))) return undefined;
    if (errno === "EACCES") throw new StrataError("IMPORT_DENIED", `${cannotWrite(path)}: ${errno}`);
    throw unfitPlace(path, errno === "ENOENT" ? "its directory does not exist" : errno);
  });
  if (real === undefined || !inside(real))
    throw new StrataError("IMPORT_DENIED", `${cannotWrite(path)}: it is below none of the import directories`);
  if ((await stat(real)).isDirectory()) return real;
  throw unfitPlace(path, "what it would stand in is not a directory");
}

const cannotWrite = (path: string): string => `Cannot write to ${printable(path, 1024)}`;

/** INVALID_PARAMS. */
export const unfitPlace = (path: string, fact: string): StrataError =>
  new StrataError("INVALID_PARAMS", `${cannotWrite(path)}: ${fact}`, {
    hint: "Choose a file in a directory that exists.",
  });

/** The path without symlinks. What stands outside the import directories is denied alike whether it exists or not. */
async function allowedPath(reference: LocalReference, importDirs: OpenOptions["importDirs"]): Promise<string> {
  const { path } = reference;
  if (!isAbsolute(path)) {
    throw new StrataError("INVALID_REFERENCE", `Cannot open ${printable(path)}: the path is not absolute`);
  }
  const roots = importDirs === "anywhere" ? importDirs : await realDirectories(importDirs);
  const inside = (candidate: string) => roots === "anywhere" || roots.some((root) => isBelow(candidate, root));
  try {
    const real = await realpath(path);
    if (inside(real)) return real;
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === undefined) throw error;
    if (inside(normalize(path))) throw notOpened(reference, errno);
  }
  throw denied(path, "it is below none of the import directories");
}

/** Both spellings, so that a path that does not exist is judged like one that does. */
async function realDirectories(importDirs: readonly string[]): Promise<readonly string[]> {
  const real = await Promise.all(importDirs.map((directory) => realpath(directory).catch(() => directory)));
  return [...new Set([...importDirs, ...real].map((directory) => normalize(directory)))];
}

/** Or the same; neither has a symlink on its way. */
export const isBelow = (path: string, root: string): boolean =>
  path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);

function denied(path: string, fact: string): StrataError {
  return new StrataError("IMPORT_DENIED", `Cannot open ${printable(path)}: ${fact}`);
}

function notOpened(reference: LocalReference, errno: string): StrataError {
  if (errno === "EACCES" || errno === "EPERM") return unreadable(reference.path);
  return notThere(reference, errno === "ENOENT" ? "it does not exist" : errno);
}

function notThere({ transport, path }: LocalReference, fact: string): StrataError {
  const code = transport === "oci" ? "LAYOUT_INVALID" : "ARCHIVE_LAYOUT";
  return new StrataError(code, `Cannot open ${printable(path)}: ${fact}`);
}
