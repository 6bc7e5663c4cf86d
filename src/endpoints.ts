/**
 * Where the daemon listens, by its configuration and by what systemd hands over, and how others learn of it: the tokens of TCP
 * and daemon.json. Opens no socket itself.
 */
import { join } from "node:path";
import type { Config } from "./config.js";
import type { ActivatedSocket } from "./host/activation.js";
import { writeEndpointFile } from "./host/endpoint-file.js";
import type { ProcessIdentity } from "./host/identity.js";
import type { EndpointDocument } from "./messages/endpoint.js";
import { PROTOCOL_VERSION, type Scope } from "./messages/protocol.js";
import type { Listener } from "./protocol/listen.js";
import { createToken, type Tokens, writeTokenFile } from "./protocol/tokens.js";

type Endpoints = EndpointDocument["endpoints"];
type TokenFiles = Readonly<Record<Scope, string>>;

/** Sockets from systemd replace those of the configuration; TCP is there besides either. */
export function listenersOf(
  config: Config,
  sockets: readonly ActivatedSocket[],
  tokens: Tokens | undefined,
): Listener[] {
  const tcp: Listener[] =
    config.listen === undefined || tokens === undefined ? [] : [{ kind: "tcp", ...config.listen, tokens }];
  if (sockets.length > 0) return [...sockets.map(activatedListener), ...tcp];
  const mode = config.system ? 0o660 : 0o600;
  return [
    { kind: "unix", path: config.socket, scope: "full", mode },
    { kind: "unix", path: config.readOnlySocket, scope: "read", mode },
    ...tcp,
  ];
}

/** The socket's name in its unit says what it may do; one without a name that we know gets the lesser scope. */
const activatedListener = ({ fd, name }: ActivatedSocket): Listener => ({
  kind: "fd",
  fd,
  scope: name === "full" ? "full" : "read",
});

/** Fresh ones, in the runtime directory's files, where TCP is listened on. */
export async function makeTokens(config: Config): Promise<{ tokens?: Tokens; files?: TokenFiles }> {
  if (config.listen === undefined) return {};
  const tokens = { full: createToken(), read: createToken() };
  const files = { full: join(config.runtimeDir, "token"), read: join(config.runtimeDir, "token-ro") };
  await writeTokenFile(files.full, tokens.full);
  await writeTokenFile(files.read, tokens.read);
  return { tokens, files };
}

export interface Listening {
  readonly sockets: readonly ActivatedSocket[];
  /** As the server has them. */
  readonly endpoints: Readonly<Endpoints>;
  readonly tokenFiles: TokenFiles | undefined;
}

/** A socket from systemd has no path that the kernel would tell; the units and the configuration name the same. */
export function endpointsOf(config: Config, { sockets, endpoints, tokenFiles }: Listening): Endpoints {
  const activated = sockets.map(({ name }) =>
    name === "full"
      ? ({ kind: "unix", path: config.socket, scope: "full" } as const)
      : ({ kind: "unix", path: config.readOnlySocket, scope: "read" } as const),
  );
  const own = endpoints.map((endpoint) =>
    endpoint.kind === "tcp" && tokenFiles !== undefined
      ? { ...endpoint, tokenFile: tokenFiles[endpoint.scope] }
      : endpoint,
  );
  return [...activated, ...own];
}

export interface Announcement
  extends Pick<EndpointDocument, "instanceId" | "version" | "startedAt" | "endpoints" | "background"> {
  readonly identity: ProcessIdentity;
}

/** Writes daemon.json; the caller removes it. */
export async function announce(config: Config, { identity, ...document }: Announcement): Promise<void> {
  const { pid, startTime: pidStartTime, bootId } = identity;
  await writeEndpointFile(config.runtimeDir, {
    schema: 1,
    pid,
    pidStartTime,
    bootId,
    protocol: [PROTOCOL_VERSION],
    stateDir: config.stateDir,
    ...document,
  });
}
