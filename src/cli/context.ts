/**
 * What a verb has of the world: the streams, the global flags, the clock of `--timeout`, and how a result or a failure is
 * told.
 *
 * Results go to stdout, everything else to stderr; with `--json` stdout gets exactly one document. Knows no verb, no daemon and no
 * global state: main.ts hands in the process.
 */
import { StrataError, toStrataError, type WireError } from "../errors.js";
import { formatDuration } from "./duration.js";
import { errorLines } from "./error-view.js";
import type { Environment, Globals } from "./globals.js";

/** A stream as far as the command line uses it; `process.stdout` is one. */
export interface Terminal {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  on?(event: "resize", listener: () => void): unknown;
  off?(event: "resize", listener: () => void): unknown;
}

export type Signal = "SIGINT" | "SIGTERM" | "SIGHUP";

/** The process, as main.ts hands it in. */
export interface Host {
  readonly argv: readonly string[];
  readonly env: Environment;
  readonly cwd: string;
  readonly uid: number;
  readonly home: string;
  readonly tmpdir: string;
  /** The compiled main.js, to start the daemon with. */
  readonly script: string;
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  /** Ends the process at once, with what is written so far. */
  exit(code: number): void;
  /** Replaces the signal's default until the returned function is called. */
  onSignal(signal: Signal, handler: () => void): () => void;
  /** Runs `handler`, which may only do synchronous work, however the process ends by itself. */
  onExit(handler: () => void): () => void;
}

/** Calls `write`, which writes whole lines. */
export type Wrap = (write: () => void) => void;

export interface Context {
  readonly host: Host;
  readonly globals: Globals;
  readonly color: boolean;
  /** True where stdout is for a program: a document instead of lines. */
  readonly document: boolean;
  /** Rejects with TIMED_OUT when `--timeout` runs out, or with what `giveUp` says; never resolves. The clock starts with the first call. */
  givenUp(): Promise<never>;
  /** Aborted at the same moment. */
  readonly signal: AbortSignal;
  /** Ends the waiting for the daemon. */
  giveUp(reason: StrataError): void;
  result(...lines: string[]): void;
  /** The one document of this call. */
  print(value: unknown): void;
  /** One object of the stream before the document; nothing without `--events`. */
  event(value: unknown): void;
  message(...lines: string[]): void;
  /** A line of the log of this command's own work: what went wrong, so also with --quiet. */
  log(line: string): void;
  /** While somebody draws on stderr: what makes room for a message there. Ends when the returned function is called. */
  aroundMessages(wrap: Wrap): () => void;
  /** An error for people only; `fail` prints the document too. */
  error(error: WireError, about?: string): void;
  /** Tells a failure in full, as `{"error": …}` where a document is wanted, and returns its exit code. */
  fail(thrown: unknown): number;
}

export function createContext(host: Host, globals: Globals): Context {
  const { stdout, stderr } = host;
  const document = globals.json || globals.events;
  const color = wantsColor(host, globals);
  const line = (to: Terminal, texts: readonly string[]) => {
    if (texts.length > 0) to.write(texts.map((text) => `${text}\n`).join(""));
  };
  const print = (value: unknown) => {
    line(stdout, [toJson(value, stdout.isTTY === true && !globals.events ? 2 : 0)]);
  };
  const plain: Wrap = (write) => write();
  let around = plain;
  const error = (wire: WireError, about?: string) => line(stderr, errorLines(wire, { color, about }));
  return {
    host,
    globals,
    color,
    document,
    ...patience(globals.timeoutMs),
    print,
    error,
    result: (...lines) => line(stdout, lines),
    event: (value) => {
      if (globals.events) line(stdout, [toJson(value, 0)]);
    },
    message: (...lines) => {
      if (!globals.quiet) around(() => line(stderr, lines));
    },
    log: (text) => around(() => stderr.write(text)),
    aroundMessages: (wrap) => {
      around = wrap;
      return () => {
        if (around === wrap) around = plain;
      };
    },
    fail: (thrown) => {
      const wire = explained(thrown).toWire();
      error(wire);
      if (document) print({ error: wire });
      return wire.exitCode;
    },
  };
}

/** A bug of this command has no daemon's log to stand in. */
function explained(thrown: unknown): StrataError {
  const error = toStrataError(thrown, "Cannot finish the command");
  if (error === thrown || error.code !== "INTERNAL") return error;
  const cause = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  return new StrataError("INTERNAL", error.message, { details: { cause }, hint: "This is a bug in stratad." });
}

// Valid in JSON, but a terminal obeys them; `\uXXXX` says the same.
const UNSAFE = /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** JSON that is safe on a terminal and loses nothing. */
export function toJson(value: unknown, indent: number): string {
  const encode = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value, undefined, indent).replace(UNSAFE, encode);
}

function wantsColor(host: Host, globals: Globals): boolean {
  if (globals.color !== "auto") return globals.color === "always";
  const { NO_COLOR, TERM } = host.env;
  return host.stderr.isTTY === true && (NO_COLOR === undefined || NO_COLOR === "") && TERM !== "dumb";
}

/** What `--timeout` and Ctrl-C end. */
function patience(timeoutMs: number | undefined): Pick<Context, "givenUp" | "giveUp" | "signal"> {
  const controller = new AbortController();
  const { signal } = controller;
  const giveUp = (reason: StrataError) => controller.abort(reason);
  const start = () =>
    new Promise<never>((_resolve, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      if (timeoutMs !== undefined) setTimeout(() => giveUp(timedOut(timeoutMs)), timeoutMs).unref();
    });
  let running: Promise<never> | undefined;
  const givenUp = () => {
    running ??= start();
    return running;
  };
  return { signal, giveUp, givenUp };
}

function timedOut(timeoutMs: number): StrataError {
  return new StrataError(
    "TIMED_OUT",
    `Cannot wait for the answer: --timeout ran out after ${formatDuration(timeoutMs)}`,
    {
      hint: "Give a longer --timeout, or none.",
    },
  );
}
