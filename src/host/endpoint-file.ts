/**
 * `daemon.json` in the runtime directory: where this daemon listens (protocol.md, Access).
 *
 * A reader sees a whole document or none. It is removed by the daemon that wrote it only. Knows nothing of sockets.
 */
import { readFile, rename, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StrataError, systemErrorCode, toStrataError } from "../errors.js";
import { EndpointDocument } from "../messages/endpoint.js";
import { printable } from "../printable.js";
import { isRunning, type ProcessIdentity } from "./identity.js";

const ENDPOINT_FILE = "daemon.json";

/** CONFIG_INVALID where another daemon, which runs, is announced there: it would not be found any more, nor would its tokens. */
export async function refuseAnnounced(runtimeDir: string, own: ProcessIdentity): Promise<void> {
  const other = await announced(join(runtimeDir, ENDPOINT_FILE));
  if (other === undefined || other.pid === own.pid) return;
  const { pid, pidStartTime: startTime, bootId, stateDir } = other;
  if (!(await isRunning({ pid, startTime, bootId, pidNamespace: own.pidNamespace }, own))) return;
  const fact = `the daemon of ${printable(stateDir, 4096)}, pid ${pid}, is announced there`;
  throw new StrataError("CONFIG_INVALID", `Cannot use the runtime directory ${printable(runtimeDir)}: ${fact}`, {
    hint: "Choose another with STRATAD_RUNTIME_DIR.",
  });
}

/** Puts the document in place, over that of a daemon that died. */
export async function writeEndpointFile(runtimeDir: string, document: EndpointDocument): Promise<void> {
  const path = join(runtimeDir, ENDPOINT_FILE);
  const temporary = `${path}.${document.instanceId}`;
  try {
    const text = `${JSON.stringify(EndpointDocument.parse(document), undefined, 2)}\n`;
    await writeFile(temporary, text, { flag: "wx", mode: 0o600 });
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw toStrataError(error, `Cannot write ${printable(path)}`);
  }
}

/**
 * Removes the document if it is still that of `instanceId`. A successor writes its own only after it got the lock, so call this before
 * the lock is released.
 */
export async function removeEndpointFile(runtimeDir: string, instanceId: string): Promise<void> {
  const path = join(runtimeDir, ENDPOINT_FILE);
  try {
    if ((await announced(path))?.instanceId === instanceId) await unlink(path);
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw toStrataError(error, `Cannot remove ${printable(path)}`);
  }
}

/** What the document says; undefined where there is none, or something else. */
async function announced(path: string): Promise<EndpointDocument | undefined> {
  try {
    return EndpointDocument.safeParse(JSON.parse(await readFile(path, "utf8"))).data;
  } catch (error) {
    if (error instanceof SyntaxError || systemErrorCode(error) === "ENOENT") return undefined;
    throw toStrataError(error, `Cannot read ${printable(path)}`);
  }
}
