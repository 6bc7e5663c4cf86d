/**
 * `daemon.json` in the runtime directory: where this daemon listens (protocol.md, Access).
 *
 * A reader sees a whole document or none. It is removed by the daemon that wrote it only. Knows nothing of sockets.
 */
import { readFile, rename, rm, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode, toStrataError } from "../errors.js";
import { EndpointDocument } from "../messages/endpoint.js";
import { printable } from "../printable.js";

export const ENDPOINT_FILE = "daemon.json";

/** Puts the document in place, over that of a daemon that died; returns its path. */
export async function writeEndpointFile(runtimeDir: string, document: EndpointDocument): Promise<string> {
  const path = join(runtimeDir, ENDPOINT_FILE);
  const temporary = `${path}.${document.instanceId}`;
  try {
    const text = `${JSON.stringify(EndpointDocument.parse(document), undefined, 2)}\n`;
    await writeFile(temporary, text, { flag: "wx", mode: 0o600 });
    await rename(temporary, path);
    return path;
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw toStrataError(error, `Cannot write ${printable(path)}`);
  }
}

/**
 * Removes the document if it is still that of `instanceId`; true when it was. A successor writes its own only after it got
 * the lock, so call this before the lock is released.
 */
export async function removeEndpointFile(runtimeDir: string, instanceId: string): Promise<boolean> {
  const path = join(runtimeDir, ENDPOINT_FILE);
  try {
    const document = EndpointDocument.safeParse(JSON.parse(await readFile(path, "utf8")));
    if (!document.success || document.data.instanceId !== instanceId) return false;
    await unlink(path);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError || systemErrorCode(error) === "ENOENT") return false;
    throw toStrataError(error, `Cannot remove ${printable(path)}`);
  }
}
