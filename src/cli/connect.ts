/**
 * How a verb comes by a daemon: the one that the caller names, else the one that answers, else one started in the background.
 *
 * A daemon that a command of an older release started is asked to drain and replaced; one that was named or started by hand, another
 * user's or a newer one is used as it is. One that a command started and that dies under its verb is followed by the next. Owns the
 * connection's end: none outlives its verb.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ConnectOptions, StratadClient } from "../client/client.js";
import { readEndpointDocument } from "../client/endpoint.js";
import type { Config } from "../config.js";
import { StrataError } from "../errors.js";
import { DRAIN_TIMEOUT_MS } from "../limits.js";
import { printable } from "../printable.js";
import { succeeds } from "../succeeds.js";
import { isOlder, ownVersion } from "../version.js";
import type { Context } from "./context.js";
import { formatDuration } from "./duration.js";
import { startInBackground, userConfig } from "./spawn.js";

/** Where the system's daemon listens (systemd/stratad.socket). */
const SYSTEM_SOCKET = "/run/stratad/stratad.sock";
/** From the start of the process to its first answer; a store of 100,000 layers is read in 2 s. */
const START_TIMEOUT_MS = 10_000;
/** A daemon that was lost in the handshake is restarting, or ending by itself: then one is started after this long. */
const RESTART_GRACE_MS = 5000;
/** Between two looks: at first this long, then a tenth more each time, so that nobody waits a tenth longer than the daemon took. */
const FIRST_LOOK_MS = 20;
const LOOK_MS = 250;

/**
 * Runs `body` with a connection and closes it. Throws what `body` throws, DAEMON_UNREACHABLE, what kept the daemon from
 * starting, or what the context is given up for (TIMED_OUT, CANCELLED): then `body` sees its requests fail.
 */
export async function withDaemon<T>(
  context: Context,
  body: (client: StratadClient) => Promise<T>,
  { spawn = true } = {},
): Promise<T> {
  const givenUp = context.givenUp();
  const connecting = spawn ? connect(context) : connectToRunning(context);
  try {
    const client = await Promise.race([connecting, givenUp]);
    return await Promise.race([body(client), givenUp]);
  } finally {
    // Also a connection that comes too late.
    connecting.then(
      (client) => client.close(),
      () => {},
    );
  }
}

/** Whatever answers, of whichever release. */
async function connectToRunning(context: Context): Promise<StratadClient> {
  if (context.globals.endpoint !== undefined) return openConnection(context, context.globals.endpoint);
  const config = await userConfig(context.host);
  const running = await findRunning(context, config);
  if (running !== undefined) return running;
  // Once more, for what keeps it from answering.
  return openConnection(context, config.socket).catch((error: unknown) => {
    if (!isUnreachable(error)) throw error;
    throw new StrataError(error.code, error.message, { ...error.options, hint: "`--spawn` starts a daemon." });
  });
}

async function connect(context: Context): Promise<StratadClient> {
  if (context.globals.endpoint !== undefined) return openConnection(context, context.globals.endpoint);
  const config = await userConfig(context.host);
  const client = await findRunning(context, config);
  const current = client === undefined ? undefined : await orSuccessor(client, context, config);
  return current ?? start(context, config);
}

/** The daemon that answers, or what came after one that had to go; undefined where nothing did. */
async function orSuccessor(
  client: StratadClient,
  context: Context,
  config: Config,
): Promise<StratadClient | undefined> {
  try {
    return (await isOutdated(client, config)) ? await replace(client, context, config) : client;
  } catch (error) {
    await client.close();
    // It went before it was asked to.
    if (isUnreachable(error)) return undefined;
    throw error;
  }
}

/** The daemon of the user's own state directory, else the system's. */
async function findRunning(context: Context, config: Config): Promise<StratadClient | undefined> {
  return (await tryOwn(context, config)) ?? (await tryConnection(context, SYSTEM_SOCKET));
}

function tryOwn(context: Context, config: Config): Promise<StratadClient | undefined> {
  return tryConnection(context, config.socket, { whenLost: () => startNext(context, config) });
}

/** The next one goes on with the jobs. Who killed one that a command had started keeps none running, so this command starts it. */
async function startNext(context: Context, config: Config): Promise<void> {
  if (!(await isOfCommand(config))) return context.message(WAITING);
  context.message("The daemon is gone: starting the next one");
  try {
    await (await start(context, config)).close();
  } catch (error) {
    // It is there, and does not answer.
    if (!(error instanceof StrataError) || error.code !== "STORE_LOCKED") throw error;
    context.message(WAITING);
  }
}

/** Whether a command started the daemon that is, or was, the user's. Its successor has the same settings, which are the user's. */
async function isOfCommand({ runtimeDir }: Config): Promise<boolean> {
  const document = await readEndpointDocument(join(runtimeDir, "daemon.json")).catch(() => undefined);
  return document?.background === true;
}

const WAITING = "The daemon is gone: waiting for the next one";

type OpenOptions = Pick<ConnectOptions, "firstReconnectTimeoutMs" | "whenLost">;

async function openConnection(context: Context, endpoint: string, options: OpenOptions = {}): Promise<StratadClient> {
  const { host, signal } = context;
  const clientInfo = { name: "stratad-cli", version: await ownVersion() };
  const whenLost = async () => context.message(WAITING);
  return StratadClient.connect({ clientInfo, signal, endpoint, env: host.env, whenLost, ...options });
}

/** Undefined where no daemon answers; every other failure is thrown. */
async function tryConnection(
  context: Context,
  endpoint: string,
  options: OpenOptions = {},
): Promise<StratadClient | undefined> {
  try {
    return await openConnection(context, endpoint, { firstReconnectTimeoutMs: RESTART_GRACE_MS, ...options });
  } catch (error) {
    if (isUnreachable(error)) return undefined;
    throw error;
  }
}

const isUnreachable = (error: unknown): error is StrataError =>
  error instanceof StrataError && error.code === "DAEMON_UNREACHABLE";

/** The configuration may put the socket where nobody looks for it; it is asked first, and from then on. */
async function start(context: Context, config: Config): Promise<StratadClient> {
  const running = await tryOwn(context, config);
  if (running !== undefined) return running;
  const untilMs = performance.now() + START_TIMEOUT_MS;
  let daemon = await startInBackground(context.host, config);
  for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(LOOK_MS, lookMs * 1.1)) {
    context.signal.throwIfAborted();
    const reason = await Promise.race([daemon.ended, sleep(lookMs)]);
    // Another command started one at the same time, or its predecessor is about to leave: give it a moment, then try again.
    const isHeld = reason?.code === "STORE_LOCKED";
    if (isHeld) await sleep(LOOK_MS);
    const client = await tryOwn(context, config);
    if (client !== undefined) return client;
    if (reason !== undefined && !isHeld) throw reason;
    if (performance.now() > untilMs) throw reason ?? noAnswer(daemon.logPath);
    if (isHeld) daemon = await startInBackground(context.host, config);
  }
}

function noAnswer(logPath: string): StrataError {
  const fact = `it did not answer within ${formatDuration(START_TIMEOUT_MS)}`;
  return new StrataError("DAEMON_UNREACHABLE", `Cannot start the daemon: ${fact}`, { details: { log: logPath } });
}

/** Older than this release, or of a state directory that is gone. Only the daemon of the user's own one is the user's to replace. */
async function isOutdated(client: StratadClient, config: Config): Promise<boolean> {
  const lost = !(await succeeds(stat(config.stateDir)));
  const isOld = isOlder(client.server.serverInfo.version, await ownVersion()) && (await isOfCommand(config));
  if (!lost && !isOld) return false;
  const { stateDir } = await client.request("server/status", {});
  return stateDir === config.stateDir;
}

/** Returns when the old daemon no longer answers, or with a connection to what somebody else put in its place. */
async function replace(old: StratadClient, context: Context, config: Config): Promise<StratadClient | undefined> {
  const { instanceId, serverInfo } = old.server;
  const release = printable(serverInfo.version, 64);
  await old.request("server/drain", {});
  await old.close();
  context.message(`Waiting for the daemon of release ${release} to finish its jobs`);
  const untilMs = performance.now() + DRAIN_TIMEOUT_MS + START_TIMEOUT_MS;
  while (performance.now() < untilMs) {
    context.signal.throwIfAborted();
    const client = await tryOwn(context, config);
    if (client === undefined || client.server.instanceId !== instanceId) return client;
    await client.close();
    await sleep(LOOK_MS);
  }
  throw new StrataError("SHUTTING_DOWN", `Cannot replace the daemon of release ${release}: it is still draining`);
}
