/**
 * A client that is not ours: the public `ws` package, and what protocol.md says about frames. It knows no schema and no type of
 * the daemon.
 */
import { createConnection } from "node:net";
import { WebSocket } from "ws";
import { until, within } from "./deadline.js";
import type { Scope } from "./sandbox.js";

// biome-ignore lint/suspicious/noExplicitAny: an outside client takes documents as they come
export type Json = any;

/** An error object of JSON-RPC; `data` is the WireError. */
export class RpcError extends Error {
  readonly rpc: number;
  readonly data: Json;

  constructor(error: Json) {
    super(`${error.data?.code}: ${error.message}`);
    this.rpc = error.code;
    this.data = error.data;
  }
}

export interface Notification {
  readonly method: string;
  readonly params: Json;
}

export class Wire {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, { resolve: (value: Json) => void; reject: (error: Error) => void }>();
  readonly #watchers = new Set<() => void>();
  /** Everything that came unasked, in the order of arrival. */
  readonly notifications: Notification[] = [];
  #id = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data) => this.#receive(JSON.parse(String(data))));
    socket.on("close", (code, reason) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`closed: ${code} ${reason}`));
      this.#pending.clear();
      for (const look of this.#watchers) look();
    });
  }

  /** A `:` in the path would break a ws+unix: URL. Closed at the end of the test. */
  static async connect(scope: Scope, path: string): Promise<Wire> {
    const socket = new WebSocket("ws://localhost/v1", ["stratad.v1"], {
      createConnection: () => createConnection(path),
      perMessageDeflate: false,
    });
    scope.after(async () => socket.terminate());
    await new Promise<void>((resolve, reject) => {
      socket.once("open", () => resolve());
      socket.once("error", reject);
    });
    return new Wire(socket);
  }

  /** The result; rejects with RpcError. */
  request(method: string, params: object = {}): Promise<Json> {
    if (this.#socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error(`closed before ${method}`));
    this.#id += 1;
    const id = this.#id;
    const answer = new Promise<Json>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.#socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    return within(`the answer to ${method}`, answer, 60_000);
  }

  /** From here on what comes is read from the socket, and that is all. */
  ignore(): void {
    this.#socket.removeAllListeners("message");
  }

  /** The id of the last request. */
  get lastId(): number {
    return this.#id;
  }

  notify(method: string, params: object): void {
    this.#socket.send(JSON.stringify({ jsonrpc: "2.0", method, params }));
  }

  /** The RpcError that the request ends with. */
  async refused(method: string, params: object = {}): Promise<RpcError> {
    const outcome = await this.request(method, params).catch((error: unknown) => error);
    if (outcome instanceof RpcError) return outcome;
    throw new Error(`${method} was not refused: ${JSON.stringify(outcome)}`);
  }

  /** An install to its end: the terminal job. */
  async install(reference: string, params: object = {}): Promise<Json> {
    const { jobId } = await this.request("install/start", { reference, ...params });
    return this.request("install/wait", { jobId });
  }

  /** As `install`, and fails where the job is not ready. */
  async ready(reference: string, params: object = {}): Promise<Json> {
    const job = await this.install(reference, params);
    if (job.state === "ready") return job;
    throw new Error(`${reference} is ${job.state}: ${JSON.stringify(job.error)}`);
  }

  /** When no job is under way any more, those that a daemon went on with after its start among them: all that are remembered. */
  async settled(): Promise<Json[]> {
    await until("no job is under way", async () => {
      const { jobs, workers } = await this.request("server/status");
      return jobs.queued + jobs.running + workers.busy === 0;
    });
    return (await this.request("install/list", { limit: 100 })).jobs;
  }

  async counters(): Promise<{ blobsRead: number; layersUnpacked: number; rootsLinked: number }> {
    return (await this.request("server/status")).counters;
  }

  /** The first notification, earlier or later, that `wanted` holds for. */
  async notified(what: string, wanted: (notification: Notification) => boolean): Promise<Notification> {
    let look = (): void => undefined;
    const found = new Promise<Notification>((resolve) => {
      look = () => {
        const notification = this.notifications.find(wanted);
        if (notification !== undefined) resolve(notification);
      };
    });
    this.#watchers.add(look);
    look();
    try {
      return await within(what, found);
    } finally {
      this.#watchers.delete(look);
    }
  }

  /** Reads nothing any more. */
  pause(): void {
    this.#socket.pause();
  }

  /** Gone without a word, as a client that was killed. */
  terminate(): void {
    this.#socket.terminate();
  }

  async close(): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    this.#socket.close(1000);
    await within("the WebSocket closes", closed);
  }

  #receive(frame: Json): void {
    if (frame.id === undefined) {
      this.notifications.push(frame);
      for (const look of [...this.#watchers]) look();
      return;
    }
    const pending = this.#pending.get(frame.id);
    this.#pending.delete(frame.id);
    if (frame.error !== undefined) pending?.reject(new RpcError(frame.error));
    else pending?.resolve(frame.result);
  }
}
