/** A registry on loopback that serves an input, as fast as it goes or as a link of so many bytes a second, all connections together. */
import type { ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { readImage } from "../support/images.js";
import { type Exchange, startRegistry, type TestRegistry } from "../support/registry.js";
import type { Scope } from "../support/sandbox.js";
import { codecs, type Input } from "./inputs.js";

const CHUNK = 64 * 1024;
/** What a timer cannot be trusted with. */
const SHORTEST_WAIT_MS = 2;
/** A link goes on while either end waits for a processor, as long as the receiver's window holds what comes. */
const WINDOW_BYTES = 2 * 1024 * 1024;

/** Each image of the input by its codec: `HOST/INPUT:gzip`. */
export async function registryOf(scope: Scope, input: Input, bytesPerSecond: number): Promise<TestRegistry> {
  const images = Object.fromEntries(codecs.map((tag) => [`${input.name}:${tag}`, readImage(input.layout, tag)]));
  const link = new Link(bytesPerSecond);
  const registry = await startRegistry({ images, script: (exchange) => blob(exchange, link) });
  scope.after(() => registry.close());
  return registry;
}

/** Blobs without a digest of the whole, which the honest registry of the tests makes for each request. */
async function blob({ request, response, body }: Exchange, link: Link): Promise<boolean> {
  if (body === undefined || !request.path.includes("/blobs/")) return false;
  const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const range = start > 0 ? { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` } : {};
  response.writeHead(start > 0 ? 206 : 200, { ...range, "content-length": body.length - start });
  for (let at = start; at < body.length && !response.destroyed; at += CHUNK) {
    await link.pass(Math.min(CHUNK, body.length - at));
    const flows = response.write(body.subarray(at, at + CHUNK));
    if (!flows) await drained(response);
  }
  response.end();
  return true;
}

/** Or gone. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

class Link {
  readonly #bytesPerMs: number;
  readonly #windowMs: number;
  #freeAt = 0;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#windowMs = WINDOW_BYTES / this.#bytesPerMs;
  }

  /** When so many bytes have gone over it. */
  async pass(bytes: number): Promise<void> {
    const now = performance.now();
    this.#freeAt = Math.max(this.#freeAt, now - this.#windowMs) + bytes / this.#bytesPerMs;
    const wait = this.#freeAt - now;
    if (wait >= SHORTEST_WAIT_MS) await delay(wait);
  }
}
