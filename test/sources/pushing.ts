/**
 * A registry that does what its script says, and a push to it: an image of one layer in a file, into team/app as v1.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { parseDigest } from "../../src/oci/digest.js";
import type { PushedBlob } from "../../src/sources/registry/blob-content.js";
import { type PushOptions, type PushReport, type PushRequest, RegistryPush } from "../../src/sources/registry/push.js";
import {
  bodyOf,
  type PushExchange,
  type PushRegistry,
  type PushRegistryOptions,
  type PushScript,
  startPushRegistry,
} from "../support/push-registry.js";
import { buildImage, type TestImage } from "../support/registry.js";

export const base = await mkdtemp(join(tmpdir(), "strata-push-"));
after(() => rm(base, { recursive: true }));

export const image = buildImage([randomBytes(700_000)], { codec: "none" });
export const layer = [...image.blobs].find(([, bytes]) => bytes.length === 700_000)?.[0] as string;
export const { signal }: { readonly signal: AbortSignal } = new AbortController();

/** Layers from files, configs from memory. */
export async function blobsOf({ blobs }: TestImage): Promise<PushedBlob[]> {
  return Promise.all(
    [...blobs].map(async ([name, bytes]) => {
      const [digest, size] = [parseDigest(name), bytes.length];
      if (size < 1000) return { digest, size, bytes };
      const path = join(base, name.slice(7));
      await writeFile(path, bytes);
      return { digest, size, path };
    }),
  );
}

export const described = ({ descriptor, bytes }: TestImage, ...tags: string[]) => ({
  descriptor: { ...descriptor, digest: parseDigest(descriptor.digest) },
  bytes,
  tags,
});

export async function requestOf(host: string, changes: Partial<PushRequest> = {}): Promise<PushRequest> {
  const place = { registry: host, repository: "team/app" };
  return { ...place, blobs: await blobsOf(image), manifests: [described(image, "v1")], mountFrom: [], ...changes };
}

export interface Scene {
  readonly registry: PushRegistry;
  readonly waits: readonly number[];
  push(changes?: Partial<PushRequest>, own?: AbortSignal): Promise<PushReport>;
}

export interface SceneOptions extends PushRegistryOptions {
  readonly push?: Partial<PushOptions>;
  readonly anonymous?: boolean;
}

export async function scene({ push: options, anonymous, ...rest }: SceneOptions, run: (scene: Scene) => Promise<void>) {
  const registry = await startPushRegistry(rest);
  const waits: number[] = [];
  const push = new RegistryPush({
    insecureHosts: [],
    credentials: { find: async () => (anonymous === true ? undefined : { kind: "basic", ...registry.user }) },
    userAgent: "stratad-test",
    ...options,
    timings: { backoffMs: 4, wait: async (ms) => waits.push(ms), ...options?.timings },
  });
  try {
    await run({
      registry,
      waits,
      push: async (changes, own = signal) => push.push(await requestOf(registry.host, changes), { signal: own }),
    });
  } finally {
    await registry.close();
  }
}

export const totals = ({ present, mounted, uploaded }: PushReport) =>
  [present, mounted, uploaded].map(({ blobs }) => blobs);

export function holds(registry: PushRegistry): void {
  const { blobs, manifests } = registry.repository("team/app");
  for (const [digest, bytes] of image.blobs) assert.ok(blobs.get(digest)?.equals(bytes), digest);
  assert.ok(manifests.get("v1")?.bytes.equals(image.bytes));
  assert.equal(manifests.get("v1")?.mediaType, image.descriptor.mediaType);
}

export const on =
  (kind: string, act: (exchange: PushExchange) => unknown, count = 1): PushScript =>
  async (exchange) => {
    if (exchange.kind !== kind || exchange.count > count) return false;
    await act(exchange);
    return true;
  };
export const always = Number.POSITIVE_INFINITY;
export const answer =
  (status: number, headers: Record<string, string> = {}, body = "{}") =>
  async ({ incoming, response }: PushExchange) => {
    await bodyOf(incoming);
    response.writeHead(status, headers).end(body);
  };
export const isLarge = ({ request }: PushExchange): boolean => request.headers["content-length"] === "700000";
/** Of the layer's own PUTs, in order. */
export const onLarge = (act: (exchange: PushExchange, time: number) => unknown): PushScript => {
  let time = 0;
  return async (exchange) =>
    exchange.kind === "put blob" && isLarge(exchange) && (await act(exchange, ++time)) === true;
};
