/**
 * How a verb comes by a daemon: the one that the caller names, else the one that answers, else one started in the background.
 *
 * A daemon of this user that is older than this release is asked to drain and replaced; one that was named, another
 * user's or a newer one is used as it is. Owns the connection's end: none outlives its verb.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { StratadClient } from "../client/client.js";
import type { Config } from "../config.js";
import { StrataError } from "../errors.js";
import { DRAIN_TIMEOUT_MS } from "../limits.js";
import { printable } from "../printable.js";
import { isOlder, ownVersion } from "../version.js";
import type { Context } from "./context.js";
import { formatDuration } from "./duration.js";
import { startInBackground, userConfig } from "./spawn.js";

/** From the start of the process to its first answer; a store of 100,000 layers is read in 2 s. */
const START_TIMEOUT_MS = 10_000;
/** Between two looks; the first come quickly, since a daemon usually needs a quarter of a second. */
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
  const client = await tryConnection(context);
  return client ?? openConnection(context, (await userConfig(context.host)).socket);
}

async function connect(context: Context): Promise<StratadClient> {
  if (context.globals.endpoint !== undefined) return openConnection(context, context.globals.endpoint);
  const client = await tryConnection(context);
  if (client !== undefined && !(await isOutdated(client, context))) return client;
  const successor = client === undefined ? undefined : await replace(client, context);
  return successor ?? start(context, await userConfig(context.host));
}

async function openConnection({ host, signal }: Context, endpoint?: string): Promise<StratadClient> {
  const clientInfo = { name: "stratad-cli", version: await ownVersion() };
  return StratadClient.connect({ clientInfo, signal, endpoint, env: host.env });
}

/** Undefined where no daemon answers; every other failure is thrown. */
async function tryConnection(context: Context, endpoint?: string): Promise<StratadClient | undefined> {
  try {
    return await openConnection(context, endpoint);
  } catch (error) {
    if (error instanceof StrataError && error.code === "DAEMON_UNREACHABLE") return undefined;
    throw error;
  }
}

/** The configuration may put the socket where nobody looks for it; it is asked first, and from then on. */
async function start(context: Context, config: Config): Promise<StratadClient> {
  const running = await tryConnection(context, config.socket);
  if (running !== undefined) return running;
  const untilMs = performance.now() + START_TIMEOUT_MS;
  let daemon = await startInBackground(context.host, config);
  for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(LOOK_MS, lookMs * 1.5)) {
    context.signal.throwIfAborted();
    const reason = await Promise.race([daemon.ended, sleep(lookMs)]);
    // Another command started one at the same time, or its predecessor is about to leave: give it a moment, then try again.
    const isHeld = reason?.code === "STORE_LOCKED";
    if (isHeld) await sleep(LOOK_MS);
    const client = await tryConnection(context, config.socket);
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

/** Only the daemon of this user's own state directory is this user's to replace. */
async function isOutdated(client: StratadClient, { host }: Context): Promise<boolean> {
  if (!isOlder(client.server.serverInfo.version, await ownVersion())) return false;
  const [{ stateDir }, config] = await Promise.all([client.request("server/status", {}), userConfig(host)]);
  return stateDir === config.stateDir;
}

/** Returns when the old daemon no longer answers, or with a connection to what somebody else put in its place. */
async function replace(old: StratadClient, context: Context): Promise<StratadClient | undefined> {
  const version = old.server.serverInfo.version;
  await old.request("server/drain", {});
  await old.close();
  context.message(`Waiting for the daemon of release ${printable(version, 64)} to finish its jobs`);
  const untilMs = performance.now() + DRAIN_TIMEOUT_MS + START_TIMEOUT_MS;
  while (performance.now() < untilMs) {
    context.signal.throwIfAborted();
    const client = await tryConnection(context);
    if (client === undefined || client.server.serverInfo.version !== version) return client;
    await client.close();
    await sleep(LOOK_MS);
  }
  throw new StrataError(
    "SHUTTING_DOWN",
    `Cannot replace the daemon of release ${printable(version, 64)}: it is still draining`,
  );
}
