/**
 * Makes an http server listen: on a Unix socket, on loopback TCP, or on a descriptor that was handed over.
 *
 * A socket file is born with its final mode, under a umask that is set around the one synchronous call and never by a
 * later chmod; a stale one is unlinked only after it refused a connection. Runs on the main thread, at start-up, under
 * the store's lock. Does not know what is served.
 */
import { once } from "node:events";
import { lstat, unlink } from "node:fs/promises";
import type { Server } from "node:http";
import { connect } from "node:net";
import { StrataError, systemErrorCode } from "../errors.js";
import { MAX_SOCKET_PATH_BYTES } from "../limits.js";
import type { Scope } from "../messages/protocol.js";
import { printable } from "../printable.js";
import type { Tokens } from "./tokens.js";

export type Listener =
  /** `mode` is 0600 where it is not given; a system's daemon gives 0660, in a directory that sets the group. */
  | { readonly kind: "unix"; readonly path: string; readonly scope: Scope; readonly mode?: 0o600 | 0o660 }
  /** Port 0 is a random one; the token says the scope. */
  | { readonly kind: "tcp"; readonly host: "127.0.0.1" | "::1"; readonly port: number; readonly tokens: Tokens }
  /** A listening Unix socket from systemd; its file is not ours to unlink. */
  | { readonly kind: "fd"; readonly fd: number; readonly scope: Scope };

/** Answers once connections are taken. Throws CONFIG_INVALID when they cannot be. */
export async function listen(server: Server, listener: Listener): Promise<void> {
  if (listener.kind === "unix") return listenAtPath(server, listener.path, listener.mode ?? 0o600);
  const where = listener.kind === "fd" ? `descriptor ${listener.fd}` : `${listener.host} port ${listener.port}`;
  try {
    const listening = once(server, "listening");
    server.listen(listener.kind === "fd" ? { fd: listener.fd } : { host: listener.host, port: listener.port });
    await listening;
  } catch (thrown) {
    throw cannotListen(where, thrown);
  }
}

async function listenAtPath(server: Server, path: string, mode: number): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    const fact = `the path has ${bytes} bytes, more than the kernel's ${MAX_SOCKET_PATH_BYTES}`;
    throw new StrataError("CONFIG_INVALID", `Cannot listen on ${printable(path)}: ${fact}`);
  }
  try {
    await bind(server, path, mode);
  } catch (thrown) {
    if (systemErrorCode(thrown) !== "EADDRINUSE") throw cannotListen(path, thrown);
    await removeStale(path);
    await bind(server, path, mode).catch((again: unknown) => {
      throw cannotListen(path, again);
    });
  }
}

async function bind(server: Server, path: string, mode: number): Promise<void> {
  const listening = once(server, "listening");
  const before = process.umask(0o777 & ~mode);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  await listening;
}

/** A regular file refuses connections as a stale socket does, so what stands there is looked at first. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw occupied(path, "something that is not a socket stands there");
  if (await isServed(path)) throw occupied(path, "another process serves it");
  await unlink(path).catch((thrown: unknown) => {
    if (systemErrorCode(thrown) !== "ENOENT") throw cannotListen(path, thrown);
  });
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error) => {
      const errno = systemErrorCode(error);
      if (errno === "ECONNREFUSED" || errno === "ENOENT") resolve(false);
      else reject(cannotListen(path, error));
    });
  });
}

function occupied(path: string, fact: string): StrataError {
  return new StrataError("CONFIG_INVALID", `Cannot listen on ${printable(path)}: ${fact}`, {
    hint: "Choose another with STRATAD_RUNTIME_DIR or --socket.",
  });
}

function cannotListen(where: string, thrown: unknown): StrataError {
  const errno = systemErrorCode(thrown) ?? "an unexpected error";
  return new StrataError("CONFIG_INVALID", `Cannot listen on ${printable(where)}: ${errno}`, { cause: thrown });
}
