/**
 * The daemon's endpoints: listeners, the gate, and the sessions behind it, of which it knows how many there are.
 *
 * Plain HTTP on the same sockets answers two questions, whether the daemon is alive and what it is; everything else is an
 * upgrade or refused. Does not know what is asked in a session.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import type * as ws from "ws";
import { descriptorLimit } from "../host/descriptors.js";
import {
  CLOSE_GRACE_MS,
  CONNECTIONS_PART,
  FIRST_MESSAGE_TIMEOUT_MS,
  MAX_FRAGMENTS,
  MAX_FRAME_BYTES,
  MAX_FULL_SESSIONS,
  MAX_READ_SESSIONS,
} from "../limits.js";
import type { EndpointDocument } from "../messages/endpoint.js";
import type { Scope } from "../messages/protocol.js";
import { PROTOCOL_PATH, PROTOCOL_VERSION, SUBPROTOCOL } from "../messages/protocol.js";
import { Slots } from "../slots.js";
import { type AccessOptions, admit, type Entrance, type Refusal, refuseStranger } from "./access.js";
import { Dispatcher } from "./dispatcher.js";
import { type Listener, listen } from "./listen.js";
import { createHandlers, type MethodsOptions } from "./methods.js";
import { closeCodes, Session, type SessionTiming, sessionTiming } from "./session.js";

/** As in client/connection.ts: this way it is loaded once for both, and sooner. */
const { WebSocketServer } = createRequire(import.meta.url)("ws") as typeof ws;

export interface StartServerOptions extends Omit<MethodsOptions, "sessions"> {
  readonly listeners: readonly Listener[];
  readonly access: AccessOptions;
  /** Sessions by scope; the limits where it is not given. */
  readonly maxSessions?: Readonly<Record<Scope, number>>;
  readonly timing?: SessionTiming;
}

export interface ProtocolServer {
  /** Where it listens, with the port that was chosen; a token's file is for the caller to add. */
  readonly endpoints: readonly EndpointDocument["endpoints"][number][];
  sessions(): { full: number; read: number };
  /** How long there has been no session; 0 while there is one. */
  idleMs(): number;
  /** Closes every session and answers when all are gone, the stalled ones after CLOSE_GRACE_MS. */
  closeSessions(code: number, reason: string): Promise<void>;
  /** Takes no more connections, closes the sessions (1001) and removes its socket files. */
  close(): Promise<void>;
}

/** Connections of a listener that are not sessions yet: handshakes and plain HTTP. */
const HANDSHAKE_ROOM = 64;

/** Answers once every listener takes connections. Throws CONFIG_INVALID, with nothing left listening. */
export async function startServer(options: StartServerOptions): Promise<ProtocolServer> {
  const sessions = new Sessions(options);
  const servers: Server[] = [];
  const endpoints: EndpointDocument["endpoints"][number][] = [];
  const descriptors = (await descriptorLimit()) * CONNECTIONS_PART;
  try {
    for (const listener of options.listeners) {
      const server = createHttpServer(Math.min(sessions.room, Math.floor(descriptors / options.listeners.length)));
      await listen(server, listener);
      servers.push(server);
      serve(server, entranceOf(server, listener), { sessions, options });
      endpoints.push(...endpointsOf(server, listener));
    }
  } catch (thrown) {
    await Promise.all(servers.map(closeServer));
    throw thrown;
  }
  return {
    endpoints,
    sessions: () => sessions.count(),
    idleMs: () => sessions.idleMs(),
    closeSessions: (code, reason) => sessions.closeAll(code, reason),
    close: async () => {
      sessions.shut();
      options.events.flush();
      const closed = servers.map(closeServer);
      await sessions.closeAll(closeCodes.goingAway, "the daemon is stopping");
      await Promise.all(closed);
    },
  };
}

/** The open sessions, and how each comes to be. */
class Sessions {
  readonly #open = new Set<Session>();
  readonly #count = { full: 0, read: 0 };
  readonly #max: Readonly<Record<Scope, number>>;
  readonly #options: StartServerOptions;
  readonly #webSockets: ws.WebSocketServer;
  readonly #connect: (socket: ws.WebSocket, stream: Duplex, scope: Scope) => void;
  #lastGoneAt = performance.now();
  #shut = false;

  constructor(options: StartServerOptions) {
    this.#options = options;
    this.#max = options.maxSessions ?? { full: MAX_FULL_SESSIONS, read: MAX_READ_SESSIONS };
    this.#webSockets = new WebSocketServer(webSocketOptions);
    const handlers = createHandlers({ ...options, sessions: () => this.count() });
    const { log, services, timing = sessionTiming } = options;
    const longAnswers = new Slots(1);
    this.#connect = (socket, stream, scope) => {
      const session = new Session(socket, { stream, scope, timing, log });
      const dispatcher = new Dispatcher({ session, handlers, longAnswers, log });
      session.onText((text) => {
        dispatcher.receive(text).catch((error: unknown) => log.error("request.broken", { session: session.id, error }));
      });
      session.onClosed(() => services.installs.orphan(session.id));
      this.#add(session);
    };
  }

  get room(): number {
    return this.#max.full + this.#max.read + HANDSHAKE_ROOM;
  }

  upgrade(request: IncomingMessage, socket: Duplex, { head, entrance }: { head: Buffer; entrance: Entrance }): void {
    const { allowedOrigins } = this.#options.access;
    const hasRoom = (scope: Scope) => !this.#shut && this.#count[scope] < this.#max[scope];
    const admission = admit(request, { entrance, allowedOrigins, hasRoom });
    if (!admission.admitted) {
      refuse(socket, admission);
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) =>
      this.#connect(webSocket, socket, admission.scope),
    );
  }

  count(): { full: number; read: number } {
    return { ...this.#count };
  }

  idleMs(): number {
    return this.#open.size > 0 ? 0 : performance.now() - this.#lastGoneAt;
  }

  /** Admits nobody from now on. */
  shut(): void {
    this.#shut = true;
  }

  async closeAll(code: number, reason: string): Promise<void> {
    const gone = [...this.#open].map((session) => new Promise<void>((resolve) => session.onClosed(resolve)));
    for (const session of this.#open) session.close(code, reason);
    await Promise.all(gone);
  }

  #add(session: Session): void {
    this.#open.add(session);
    this.#count[session.scope] += 1;
    session.onClosed(() => {
      this.#open.delete(session);
      this.#count[session.scope] -= 1;
      this.#lastGoneAt = performance.now();
    });
  }
}

/** facts.md, ws: every default is too wide. `closeTimeout` is not in the types yet. */
const webSocketOptions: ws.ServerOptions & { readonly closeTimeout: number } = {
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MAX_FRAME_BYTES,
  maxFragments: MAX_FRAGMENTS,
  closeTimeout: CLOSE_GRACE_MS,
  handleProtocols: () => SUBPROTOCOL,
};

/** A half handshake holds its connection for FIRST_MESSAGE_TIMEOUT_MS at most, and `maxConnections` bounds their number. */
function createHttpServer(maxConnections: number): Server {
  const server = createServer({
    headersTimeout: FIRST_MESSAGE_TIMEOUT_MS,
    requestTimeout: FIRST_MESSAGE_TIMEOUT_MS,
    connectionsCheckingInterval: FIRST_MESSAGE_TIMEOUT_MS / 4,
  });
  server.maxConnections = maxConnections;
  return server;
}

function serve(
  server: Server,
  entrance: Entrance,
  { sessions, options }: { sessions: Sessions; options: StartServerOptions },
): void {
  const { log } = options;
  server.on("request", (request, response) => answerPlain(request, response, { entrance, options }));
  server.on("upgrade", (request, socket, head) => sessions.upgrade(request, socket, { head, entrance }));
  server.on("error", (error) => log.error("listener.error", { error }));
}

function answerPlain(
  request: IncomingMessage,
  response: ServerResponse,
  { entrance, options }: { entrance: Entrance; options: StartServerOptions },
): void {
  const { status, body } = plainAnswer(request, { entrance, options });
  const headers = { "content-type": "application/json", ...(status === 426 ? { upgrade: "websocket" } : {}) };
  response.writeHead(status, headers).end(`${JSON.stringify(body)}\n`);
}

function plainAnswer(
  request: IncomingMessage,
  { entrance, options }: { entrance: Entrance; options: StartServerOptions },
): { status: number; body: object } {
  const { allowedOrigins } = options.access;
  const stranger = refuseStranger(request, { entrance, allowedOrigins });
  if (stranger !== undefined) return { status: stranger.status, body: { error: stranger.reason } };
  const isQuestion = request.method === "GET" || request.method === "HEAD";
  if (isQuestion && request.url === `${PROTOCOL_PATH}/healthz`) return { status: 200, body: { status: "ok" } };
  if (isQuestion && request.url === `${PROTOCOL_PATH}/version`) {
    return { status: 200, body: { version: options.version, protocol: [PROTOCOL_VERSION] } };
  }
  if (request.url !== PROTOCOL_PATH) return { status: 404, body: { error: "there is nothing at this path" } };
  return { status: 426, body: { error: `the path is a WebSocket with the subprotocol ${SUBPROTOCOL}` } };
}

function refuse(socket: Duplex, { status, reason }: Refusal): void {
  socket.on("error", () => socket.destroy());
  const body = `${JSON.stringify({ error: reason })}\n`;
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "connection: close",
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}

function entranceOf(server: Server, listener: Listener): Entrance {
  if (listener.kind !== "tcp") return { kind: "local", scope: listener.scope };
  return { kind: "tcp", host: listener.host, port: (server.address() as AddressInfo).port, tokens: listener.tokens };
}

function endpointsOf(server: Server, listener: Listener): EndpointDocument["endpoints"] {
  if (listener.kind === "fd") return [];
  if (listener.kind === "unix") return [{ kind: "unix", path: listener.path, scope: listener.scope }];
  const { port } = server.address() as AddressInfo;
  const url = `ws://${listener.host.includes(":") ? `[${listener.host}]` : listener.host}:${port}`;
  return [
    { kind: "tcp", url, scope: "full" },
    { kind: "tcp", url, scope: "read" },
  ];
}

async function closeServer(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
