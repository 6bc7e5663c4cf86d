/**
 * Where a daemon keeps its state, its sockets and its configuration, for a user and for the system (cli.md, Paths).
 *
 * Pure, but for `prepareRuntimeDir`, which makes sure that the directory of the sockets is ours: the temporary directory is
 * everybody's. The system's paths are chosen by `system` alone, never because of the uid.
 */

import { lstat, mkdir } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { ensureDirectories } from "../ensure-directory.js";
import { StrataError, systemErrorCode } from "../errors.js";
import { MAX_STATE_DIR_BYTES } from "../limits.js";
import { printable } from "../printable.js";

export interface PathsInput {
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number;
  /** `serve --system`. */
  readonly system: boolean;
  readonly tmpdir: string;
  readonly home: string;
}

export interface StratadPaths {
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly configFile: string;
  /** The variable that chose each; absent where it is the plain default. */
  readonly chosenBy: { readonly stateDir?: string; readonly runtimeDir?: string };
}

/** CONFIG_INVALID when a variable of systemd's is relative, or the state directory's path too long. */
export function stratadPaths({ env, uid, system, tmpdir, home }: PathsInput): StratadPaths {
  const xdg = (name: string) => (system ? undefined : xdgDirectory(env, name));
  const state = systemdDirectory(env, "STATE_DIRECTORY") ?? xdg("XDG_DATA_HOME");
  const runtime = systemdDirectory(env, "RUNTIME_DIRECTORY") ?? xdg("XDG_RUNTIME_DIR");
  const config = systemdDirectory(env, "CONFIGURATION_DIRECTORY") ?? xdg("XDG_CONFIG_HOME");
  const stateDir = state?.path ?? (system ? "/var/lib/stratad" : join(home, ".local/share/stratad"));
  const runtimeDir = runtime?.path ?? (system ? "/run/stratad" : join(tmpdir, `stratad-${uid}`));
  const configDir = config?.path ?? (system ? "/etc/stratad" : join(home, ".config/stratad"));
  checkStateDir(stateDir);
  return {
    stateDir,
    runtimeDir,
    configFile: join(configDir, "config.toml"),
    chosenBy: {
      ...(state && { stateDir: state.name }),
      ...(runtime && { runtimeDir: runtime.name }),
    },
  };
}

/** CONFIG_INVALID when the path is relative or too long to stand before every path of a root. */
export function checkStateDir(stateDir: string): void {
  const action = `Cannot use the state directory ${printable(stateDir)}`;
  if (!isAbsolute(stateDir)) throw new StrataError("CONFIG_INVALID", `${action}: the path is not absolute`);
  // Node reads the environment so; the directory that this names is another one.
  if (stateDir.includes("\ufffd")) throw new StrataError("CONFIG_INVALID", `${action}: the path is not UTF-8`);
  const bytes = Buffer.byteLength(stateDir);
  if (bytes <= MAX_STATE_DIR_BYTES) return;
  throw new StrataError("CONFIG_INVALID", `${action}: ${bytes} bytes are more than ${MAX_STATE_DIR_BYTES}`);
}

/**
 * Creates the runtime directory (0700) with its parents, or checks that the one that is there is a directory of this user
 * that nobody else may write into. CONFIG_INVALID when it is not: whoever could write there could be the daemon for us.
 */
export async function prepareRuntimeDir(directory: string, uid: number): Promise<void> {
  const refuse = (fact: string) =>
    new StrataError("CONFIG_INVALID", `Cannot use the runtime directory ${printable(directory)}: ${fact}`, {
      hint: "Set XDG_RUNTIME_DIR or STRATAD_RUNTIME_DIR to a directory of your own.",
    });
  try {
    await ensureDirectories(join(directory, ".."), 0o700);
    // Not recursive: that would be content with a symlink which somebody else put there first.
    await mkdir(directory, { mode: 0o700 }).catch((error: unknown) => {
      if (systemErrorCode(error) !== "EEXIST") throw error;
    });
    const found = await lstat(directory);
    if (!found.isDirectory()) throw refuse("it is not a directory");
    if (found.uid !== uid) throw refuse(`it belongs to uid ${found.uid}`);
    if ((found.mode & 0o022) !== 0) throw refuse(`others may write to it (mode ${(found.mode & 0o777).toString(8)})`);
  } catch (error) {
    const errno = systemErrorCode(error);
    throw errno === undefined ? error : refuse(errno);
  }
}

interface Chosen {
  readonly name: string;
  readonly path: string;
}

/** systemd gives a colon-separated list; the first of a unit's directories is the one that is meant. */
function systemdDirectory(env: NodeJS.ProcessEnv, name: string): Chosen | undefined {
  const path = env[name]?.split(":")[0];
  if (path === undefined || path === "") return undefined;
  if (isAbsolute(path)) return { name, path };
  throw new StrataError("CONFIG_INVALID", `Cannot use ${name}: '${printable(path)}' is not an absolute path`);
}

/** XDG Base Directory Specification: "All paths set in these environment variables must be absolute … ignore it." */
function xdgDirectory(env: NodeJS.ProcessEnv, name: string): Chosen | undefined {
  const path = env[name];
  return path !== undefined && isAbsolute(path) ? { name, path: join(path, "stratad") } : undefined;
}
