/**
 * A protocol server on real sockets over fake services, and peers that are not our client: plain `ws`, plain `http`.
 */
import { EventEmitter, once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type IncomingMessage, type RequestOptions, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type ClientOptions, WebSocket } from "ws";
import { createLog, type LogFields } from "../../src/log.js";
import { EventHub, type EventHubOptions } from "../../src/protocol/events.js";
import { type ProtocolServer, type StartServerOptions, startServer } from "../../src/protocol/server.js";
import { FakeServices } from "../support/fake-services.js";

export interface Harness {
  readonly server: ProtocolServer;
  readonly services: FakeServices;
  readonly events: EventHub;
  readonly directory: string;
  /** The Unix sockets of full and of read scope. */
  readonly full: string;
  readonly read: string;
  readonly logged: LogFields[];
}

export async function temporaryDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "stratad-test-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export async function startHarness(
  t: TestContext,
  options: Partial<StartServerOptions> & {
    hub?: Partial<EventHubOptions>;
    fake?: FakeServices;
    directory?: string;
  } = {},
): Promise<Harness> {
  const { hub, fake, directory = await temporaryDirectory(t), ...rest } = options;
  const logged: LogFields[] = [];
  const log = createLog("debug", (line) => logged.push(JSON.parse(line)));
  const services = fake ?? new FakeServices();
  const events = new EventHub({ epoch: "epoch-1", log, ...hub });
  const full = join(directory, "stratad.sock");
  const read = join(directory, "stratad-ro.sock");
  const server = await startServer({
    listeners: [
      { kind: "unix", path: full, scope: "full" },
      { kind: "unix", path: read, scope: "read" },
    ],
    services,
    events,
    access: { allowedOrigins: ["https://ide.example"] },
    instanceId: "instance-1",
    version: "0.0.0",
    capabilities: { overlaps: ["c"], links: ["hardlink"], codecs: ["gzip"], sources: ["oci"] },
    log,
    ...rest,
  });
  t.after(async () => {
    events.close();
    await server.close();
  });
  return { server, services, events, directory, full, read, logged };
}

// biome-ignore lint/suspicious/noExplicitAny: what comes over the wire is what the tests look at
export type Frame = any;

/** A plain WebSocket that keeps what it gets. */
export class Peer {
  readonly frames: Frame[] = [];
  readonly socket: WebSocket;
  readonly #arrivals = new EventEmitter();
  #lastId = 0;

  static async connect(path: string, options: ClientOptions = {}): Promise<Peer> {
    const createConnection = (() => connect(path)) as NonNullable<ClientOptions["createConnection"]>;
    const socket = new WebSocket("ws://localhost/v1", "stratad.v1", { createConnection, ...options });
    const peer = new Peer(socket);
    await once(socket, "open");
    return peer;
  }

  private constructor(socket: WebSocket) {
    this.socket = socket;
    this.#arrivals.setMaxListeners(0);
    socket.on("error", () => undefined);
    socket.on("message", (data) => {
      this.frames.push(JSON.parse(String(data)));
      this.#arrivals.emit("frame");
    });
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  /** The first frame that fits, of those that came and will come. */
  async until(fits: (frame: Frame) => boolean): Promise<Frame> {
    for (;;) {
      const found = this.frames.find(fits);
      if (found !== undefined) return found;
      await once(this.#arrivals, "frame");
    }
  }

  async call(method: string, params?: unknown): Promise<Frame> {
    this.#lastId += 1;
    const id = `call-${this.#lastId}`;
    this.send({ jsonrpc: "2.0", id, method, ...(params === undefined ? {} : { params }) });
    return this.until((frame) => frame.id === id);
  }

  /** The events it got, without bookmarks. */
  get events(): Frame[] {
    return this.frames.filter(({ method, params }) => method === "event" && params.type !== "bookmark");
  }

  async closed(): Promise<{ code: number; reason: string }> {
    const [code, reason] = await once(this.socket, "close");
    return { code, reason: String(reason) };
  }
}

/** The status that an upgrade is answered with; 101 is admitted. */
export function upgradeStatus(target: RequestOptions, headers: Record<string, string> = {}): Promise<number> {
  const handshake = {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "stratad.v1",
  };
  return new Promise((resolve, reject) => {
    const asked = request({ path: "/v1", agent: false, ...target, headers: { ...handshake, ...headers } });
    asked.once("upgrade", (_response, socket) => {
      socket.destroy();
      resolve(101);
    });
    asked.once("response", (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.once("error", reject);
    asked.end();
  });
}

export function httpGet(target: RequestOptions): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ agent: false, ...target }, (response: IncomingMessage) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asked.once("error", reject);
    asked.end();
  });
}
