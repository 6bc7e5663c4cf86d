/**
 * What the tests of the command line share: a job to vary, the compiled command as a child process, a daemon that answers as
 * the test says.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "node:test";
import { fileURLToPath } from "node:url";
import { type WebSocket, WebSocketServer } from "ws";
import type { Host } from "../../src/cli/context.js";
import { run } from "../../src/cli/program.js";
import { StrataError, toStrataError } from "../../src/errors.js";
import type { Job } from "../../src/messages/job.js";
import { type MethodName, methods } from "../../src/messages/methods.js";
import { SUBPROTOCOL } from "../../src/messages/protocol.js";

export const MAIN = fileURLToPath(new URL("../../src/main.js", import.meta.url));
export const JOB_ID = "01890a5d-ac96-774b-bcce-b302099a8057";

export function makeJob(fields: Partial<Job> = {}): Job {
  return {
    jobId: JOB_ID,
    reference: "oci:/images:gcc-amd64",
    platform: "linux/amd64",
    overlap: "c",
    link: "hardlink",
    priority: "normal",
    state: "running",
    progress: { bytesDone: 0, bytesTotal: 0, layersDone: 0, layersTotal: 0, entriesDone: 0 },
    layers: [],
    durable: false,
    createdAt: "2026-01-01T00:00:00.000Z",
    updatedAt: "2026-01-01T00:00:00.000Z",
    ...fields,
  };
}

export function makeLayer(fields: Partial<Job["layers"][number]> = {}): Job["layers"][number] {
  const digest = `sha256:${"ab".repeat(32)}`;
  const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
  return { digest, mediaType, size: 1000, state: "waiting", reused: false, bytesDone: 0, ...fields };
}

export const readyJob = (fields: Partial<Job> = {}) =>
  makeJob({
    state: "ready",
    finishedAt: "2026-01-01T00:00:00.034Z",
    root: { rootId: "r1", path: "/state/roots/r1/tree" },
    name: { name: "gcc-amd64", path: "/state/names/gcc-amd64", generation: 1 },
    layers: [makeLayer({ state: "stored", reused: true }), makeLayer({ state: "stored" })],
    linked: { files: 12, bytes: 100, copied: { count: 0 } },
    ...fields,
  });

export interface Scratch {
  readonly path: string;
  remove(): void;
}

export function makeScratch(): Scratch {
  const path = mkdtempSync(join(tmpdir(), "stratad-cli-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A home of its own, so that no daemon of whoever runs the tests is met, and none is started in their home. */
export function isolated(directory: string): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    HOME: directory,
    XDG_RUNTIME_DIR: join(directory, "run"),
    XDG_DATA_HOME: join(directory, "data"),
    XDG_CONFIG_HOME: join(directory, "config"),
  };
}

export function startCli(args: readonly string[], options: { env: NodeJS.ProcessEnv; cwd?: string }): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], { ...options, stdio: ["ignore", "pipe", "pipe"] });
}

export async function resultOf(child: ChildProcess): Promise<CliResult> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const [code] = await once(child, "close");
  return { code, stdout, stderr };
}

export const runCli = (args: readonly string[], options: { env: NodeJS.ProcessEnv; cwd?: string }) =>
  resultOf(startCli(args, options));

/** What main.ts does with `args`, in this process: starting one takes twenty times as long as what most commands do. */
export async function runHere(
  args: readonly string[],
  options: { env: NodeJS.ProcessEnv; cwd: string; script?: string },
): Promise<CliResult> {
  const host = fakeHost({ argv: args, ...options });
  const code = await run(host);
  return { code, stdout: host.out.text, stderr: host.err.text };
}

export interface FakeHost extends Host {
  readonly out: { text: string };
  readonly err: { text: string };
}

/** A process that is none: what it writes is kept. */
export function fakeHost(fields: Partial<Host> & { cwd: string }): FakeHost {
  const out = { text: "" };
  const err = { text: "" };
  return {
    argv: [],
    env: {},
    uid: process.getuid?.() ?? 0,
    home: fields.cwd,
    tmpdir: fields.cwd,
    script: MAIN,
    stdout: { write: (text) => (out.text += text) },
    stderr: { write: (text) => (err.text += text) },
    exit: () => {},
    onSignal: () => () => {},
    onExit: () => () => {},
    ...fields,
    out,
    err,
  };
}

export interface Call {
  readonly method: MethodName;
  readonly params: Readonly<Record<string, unknown>>;
  /** Tells the progress of a job with the call's own token. */
  progress(job: Job): void;
}

/** Answers with a result, throws a StrataError, or never answers. */
export type Answers = { readonly [M in MethodName]?: (call: Call) => unknown };

export class FakeDaemon {
  readonly calls: Call[] = [];
  readonly #server = createServer();
  readonly #sockets: WebSocketServer;
  readonly #arrivals = new EventEmitter();

  static async start(path: string, answers: Answers): Promise<FakeDaemon> {
    const daemon = new FakeDaemon(answers);
    daemon.#server.listen(path);
    await once(daemon.#server, "listening");
    return daemon;
  }

  private constructor(answers: Answers) {
    this.#sockets = new WebSocketServer({ server: this.#server, handleProtocols: () => SUBPROTOCOL });
    this.#sockets.on("connection", (socket) => {
      socket.on(
        "message",
        (data) => void this.#answer(socket, JSON.parse(String(data)), { initialize: () => initialized, ...answers }),
      );
    });
  }

  /** Resolves when a call of the method has come, rejects when none comes. */
  async called(method: MethodName): Promise<Call> {
    const signal = AbortSignal.timeout(10_000);
    for (;;) {
      const call = this.calls.find((known) => known.method === method);
      if (call !== undefined) return call;
      await once(this.#arrivals, "call", { signal });
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#sockets.close();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(socket: WebSocket, frame: { id?: number; method: MethodName; params: object }, answers: Answers) {
    const token = "workDoneToken" in frame.params ? frame.params.workDoneToken : undefined;
    const send = (body: object) => socket.send(JSON.stringify({ jsonrpc: "2.0", ...body }));
    const call: Call = {
      method: frame.method,
      params: { ...frame.params },
      progress: (job) => send({ method: "$/progress", params: { token, value: { kind: "report", job } } }),
    };
    this.calls.push(call);
    this.#arrivals.emit("call");
    if (frame.id === undefined) return;
    try {
      methods[frame.method].params.parse(frame.params);
      const answer = answers[frame.method];
      if (answer === undefined)
        throw new StrataError("UNKNOWN_METHOD", `Cannot call ${frame.method}: not in this test`);
      send({ id: frame.id, result: await answer(call) });
    } catch (thrown) {
      const data = toStrataError(thrown, String(thrown)).toWire();
      send({ id: frame.id, error: { code: -32000, message: data.message, data } });
    }
  }
}

export const initialized = {
  protocolVersion: 1,
  serverInfo: { name: "stratad", version: "0.1.0" },
  instanceId: "fake",
  epoch: "fake",
  scope: "full",
  capabilities: { overlaps: ["c"], links: ["hardlink"], codecs: ["gzip"], sources: ["oci"] },
  limits: {},
};

export interface AnsweredCli {
  /** A directory of the running test's own. */
  readonly path: string;
  readonly socket: () => string;
  readonly options: () => { readonly env: NodeJS.ProcessEnv; readonly cwd: string };
  /** Once in each test: a daemon that answers so, which the command finds. */
  readonly serve: (answers: Answers) => Promise<FakeDaemon>;
  readonly run: (...args: string[]) => Promise<CliResult>;
}

/** The command beside a daemon that answers as each test says; to be called in a file, which it gives its hooks. */
export function answeredCli(): AnsweredCli {
  let scratch: Scratch;
  let daemon: FakeDaemon | undefined;
  beforeEach(() => {
    scratch = makeScratch();
  });
  afterEach(async () => {
    await daemon?.stop();
    daemon = undefined;
    scratch.remove();
  });
  const socket = () => join(scratch.path, "fake.sock");
  const options = () => ({ env: { ...isolated(scratch.path), STRATAD_ENDPOINT: socket() }, cwd: scratch.path });
  return {
    get path() {
      return scratch.path;
    },
    socket,
    options,
    serve: async (answers) => {
      daemon = await FakeDaemon.start(socket(), answers);
      return daemon;
    },
    run: (...args) => runHere(args, options()),
  };
}
