/**
 * Where a daemon listens: what was asked for, else what daemon.json of the user's and the system's daemon says.
 *
 * A daemon.json is believed only in a directory that nobody else can write, since a socket in it gets our requests. Finds
 * places; whether somebody answers there is for the connection to see.
 */
import { lstat, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StrataError, systemErrorCode, toStrataError } from "../errors.js";
import { MAX_SOCKET_PATH_BYTES } from "../limits.js";
import type { EndpointDocument } from "../messages/endpoint.js";
import { PROTOCOL_PATH, type Scope } from "../messages/protocol.js";
import { printable } from "../printable.js";

export type Endpoint =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly url: string; readonly token: string | undefined };

export interface FindOptions {
  /** A Unix socket's path, `unix:PATH` or `ws://127.0.0.1:PORT`. */
  readonly endpoint?: string | undefined;
  /** For a TCP endpoint. */
  readonly token?: string | undefined;
  /** What the endpoint must allow, where daemon.json offers several; full where it is not given. */
  readonly scope?: Scope | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
}

export interface Found {
  /** In the order to try them. */
  readonly endpoints: readonly Endpoint[];
  /** Why other places were passed over, for the message when nobody answers. */
  readonly passedOver: readonly string[];
}

export const SYSTEM_ENDPOINT_FILE = "/run/stratad/daemon.json";
const MAX_ENDPOINT_DOCUMENT_BYTES = 64 * 1024;

/** option, STRATAD_ENDPOINT, the user's daemon.json, the system's. Throws CONFIG_INVALID for an endpoint that is none. */
export async function findEndpoints(options: FindOptions = {}): Promise<Found> {
  const env = options.env ?? process.env;
  const tokenOf = (file?: string) => options.token ?? tokenFromFile(env.STRATAD_TOKEN_FILE || file);
  const asked = options.endpoint ?? env.STRATAD_ENDPOINT;
  if (asked !== undefined && asked !== "") {
    const endpoint = parseEndpoint(asked);
    return {
      endpoints: [endpoint.kind === "unix" ? endpoint : { ...endpoint, token: await tokenOf() }],
      passedOver: [],
    };
  }
  const endpoints: Endpoint[] = [];
  const passedOver: string[] = [];
  for (const candidate of [userDirectory(env), { file: SYSTEM_ENDPOINT_FILE }]) {
    try {
      if ("ownDirectory" in candidate) await checkOwnDirectory(candidate.ownDirectory);
      const document = await readEndpointDocument(candidate.file);
      endpoints.push(await chooseEndpoint(document, options.scope ?? "full", tokenOf));
    } catch (thrown) {
      passedOver.push(toStrataError(thrown, `Cannot read ${printable(candidate.file)}`).message);
    }
  }
  return { endpoints, passedOver };
}

export function parseEndpoint(text: string, token?: string): Endpoint {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return { kind: "tcp", url: loopbackUrl(text), token };
  const path = text.startsWith("unix:") ? text.slice("unix:".length) : text;
  const bytes = Buffer.byteLength(path);
  if (bytes === 0 || bytes > MAX_SOCKET_PATH_BYTES) {
    throw notAnEndpoint(text, `a socket's path has 1 to ${MAX_SOCKET_PATH_BYTES} bytes, this has ${bytes}`);
  }
  return { kind: "unix", path };
}

/** A token in clear goes to this machine only. */
function loopbackUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isLoopback = url?.hostname === "127.0.0.1" || url?.hostname === "[::1]";
  const isBare = url !== undefined && ["", "/", PROTOCOL_PATH].includes(url.pathname) && url.search + url.hash === "";
  if (url?.protocol !== "ws:" || !isLoopback || !isBare || url.username + url.password !== "") {
    throw notAnEndpoint(text, "a URL must be ws://127.0.0.1:PORT or ws://[::1]:PORT");
  }
  return `ws://${url.host}`;
}

function userDirectory(env: NodeJS.ProcessEnv): { file: string; ownDirectory: string } | { file: string } {
  if (env.XDG_RUNTIME_DIR) return { file: join(env.XDG_RUNTIME_DIR, "stratad", "daemon.json") };
  const ownDirectory = join(tmpdir(), `stratad-${process.getuid?.()}`);
  return { file: join(ownDirectory, "daemon.json"), ownDirectory };
}

/** The temporary directory is everybody's: another user may have made the name first. */
async function checkOwnDirectory(path: string): Promise<void> {
  const found = await lstat(path);
  if (found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o777) === 0o700) return;
  throw notAnEndpoint(path, "it is not a directory of this user with mode 0700");
}

export async function readEndpointDocument(file: string): Promise<EndpointDocument> {
  const text = await readDocument(file);
  // Only here: a client that is told where the daemon is connects before it loads a schema.
  const { EndpointDocument } = await import("../messages/endpoint.js");
  try {
    return EndpointDocument.parse(JSON.parse(text));
  } catch (cause) {
    throw new StrataError("CONFIG_INVALID", `Cannot read ${printable(file)}: it is not a daemon.json`, { cause });
  }
}

/** Whether a daemon.json names this state directory, whatever else it says; false where there is none. Loads no schema. */
export async function namesStateDir(file: string, stateDir: string): Promise<boolean> {
  try {
    const json: unknown = JSON.parse(await readDocument(file));
    return (json as { stateDir?: unknown } | null)?.stateDir === stateDir;
  } catch {
    return false;
  }
}

async function readDocument(file: string): Promise<string> {
  const text = await readFile(file, "utf8");
  if (text.length > MAX_ENDPOINT_DOCUMENT_BYTES) throw notAnEndpoint(file, "it is too big for a daemon.json");
  return text;
}

async function chooseEndpoint(
  { endpoints }: EndpointDocument,
  scope: Scope,
  tokenOf: (file?: string) => string | undefined | Promise<string | undefined>,
): Promise<Endpoint> {
  const fitting = endpoints.filter((endpoint) => endpoint.scope === scope);
  const path = fitting.find((endpoint) => endpoint.kind === "unix")?.path;
  if (path !== undefined) return parseEndpoint(`unix:${path}`);
  const tcp = fitting.find((endpoint) => endpoint.url !== undefined);
  if (tcp?.url === undefined) throw notAnEndpoint("daemon.json", `it names no endpoint of ${scope} scope`);
  return parseEndpoint(tcp.url, await tokenOf(tcp.tokenFile));
}

async function tokenFromFile(file: string | undefined): Promise<string | undefined> {
  if (file === undefined || file === "") return undefined;
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (cause) {
    const fact = systemErrorCode(cause) ?? "an unexpected error";
    throw new StrataError("CONFIG_INVALID", `Cannot read the token file ${printable(file)}: ${fact}`, { cause });
  }
}

function notAnEndpoint(text: string, fact: string): StrataError {
  return new StrataError("CONFIG_INVALID", `Cannot use ${printable(text)} as an endpoint: ${fact}`);
}
