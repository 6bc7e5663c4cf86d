/**
 * Pushing to a registry that does what its script says; e2e/push.test.ts pushes to Debian's.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import type { ErrorCode } from "../../src/errors.js";
import { MAX_PUSHES } from "../../src/limits.js";
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
import { buildImage, buildIndex, sha256, type TestImage } from "../support/registry.js";

const base = await mkdtemp(join(tmpdir(), "strata-push-"));
after(() => rm(base, { recursive: true }));

const image = buildImage([randomBytes(700_000)], { codec: "none" });
const layer = [...image.blobs].find(([, bytes]) => bytes.length === 700_000)?.[0] as string;
const { signal } = new AbortController();

/** Layers from files, configs from memory. */
async function blobsOf({ blobs }: TestImage): Promise<PushedBlob[]> {
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

const described = ({ descriptor, bytes }: TestImage, ...tags: string[]) => ({
  descriptor: { ...descriptor, digest: parseDigest(descriptor.digest) },
  bytes,
  tags,
});

async function requestOf(host: string, changes: Partial<PushRequest> = {}): Promise<PushRequest> {
  const place = { registry: host, repository: "team/app" };
  return { ...place, blobs: await blobsOf(image), manifests: [described(image, "v1")], mountFrom: [], ...changes };
}

interface Scene {
  readonly registry: PushRegistry;
  readonly waits: readonly number[];
  push(changes?: Partial<PushRequest>, own?: AbortSignal): Promise<PushReport>;
}

interface SceneOptions extends PushRegistryOptions {
  readonly push?: Partial<PushOptions>;
  readonly anonymous?: boolean;
}

async function scene({ push: options, anonymous, ...rest }: SceneOptions, run: (scene: Scene) => Promise<void>) {
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

const totals = ({ present, mounted, uploaded }: PushReport) => [present, mounted, uploaded].map(({ blobs }) => blobs);

function holds(registry: PushRegistry): void {
  const { blobs, manifests } = registry.repository("team/app");
  for (const [digest, bytes] of image.blobs) assert.ok(blobs.get(digest)?.equals(bytes), digest);
  assert.ok(manifests.get("v1")?.bytes.equals(image.bytes));
  assert.equal(manifests.get("v1")?.mediaType, image.descriptor.mediaType);
}

const on =
  (kind: string, act: (exchange: PushExchange) => unknown, count = 1): PushScript =>
  async (exchange) => {
    if (exchange.kind !== kind || exchange.count > count) return false;
    await act(exchange);
    return true;
  };
const always = Number.POSITIVE_INFINITY;
const answer =
  (status: number, headers: Record<string, string> = {}, body = "{}") =>
  async ({ incoming, response }: PushExchange) => {
    await bodyOf(incoming);
    response.writeHead(status, headers).end(body);
  };
const isLarge = ({ request }: PushExchange): boolean => request.headers["content-length"] === "700000";
/** Of the layer's own PUTs, in order. */
const onLarge = (act: (exchange: PushExchange, time: number) => unknown): PushScript => {
  let time = 0;
  return async (exchange) =>
    exchange.kind === "put blob" && isLarge(exchange) && (await act(exchange, ++time)) === true;
};

suite("a push", () => {
  for (const auth of [undefined, "basic", "bearer"] as const)
    test(`${auth ?? "anonymous"}: sends what is missing, and the second time nothing`, async () => {
      await scene(auth === undefined ? { anonymous: true } : { auth }, async ({ registry, push }) => {
        const first = await push();
        assert.deepEqual(totals(first), [0, 0, 2]);
        assert.ok(first.uploaded.bytes > 700_000);
        holds(registry);
        assert.deepEqual(totals(await push()), [2, 0, 0]);
        assert.equal(registry.kinds.filter((kind) => kind === "put blob").length, 2);
        const tokens = registry.requests.filter(({ path }) => path.startsWith("/token"));
        assert.equal(tokens.length, auth === "bearer" ? 2 : 0);
        for (const { path } of tokens)
          assert.ok(new URL(path, "http://x").searchParams.getAll("scope").includes("repository:team/app:pull,push"));
      });
    });

  test("mounts what another repository has, whichever else may not be read", async () => {
    await scene({ auth: "bearer", unreadable: ["team/secret"] }, async ({ registry, push }) => {
      registry.repository("team/base").blobs.set(layer, image.blobs.get(layer) as Buffer);
      const report = await push({ mountFrom: ["team/secret", "team/base", "team/app"] });
      assert.deepEqual(totals(report), [0, 1, 1]);
      assert.equal(report.mounted.bytes, 700_000);
      holds(registry);
      assert.equal(registry.kinds.filter((kind) => kind === "mount").length, 1);
    });
  });

  test("asks no more blobs of a repository that it may not read", async () => {
    await scene({ auth: "bearer", unreadable: ["team/secret"] }, async ({ registry, push }) => {
      const contents = Array.from({ length: 4 * MAX_PUSHES }, (_, index) => Buffer.from(`blob ${index}`));
      const blobs = contents.map((bytes) => ({ digest: parseDigest(sha256(bytes)), size: bytes.length, bytes }));
      assert.deepEqual(totals(await push({ blobs, manifests: [], mountFrom: ["team/secret"] })), [0, 0, blobs.length]);
      const asked = registry.requests.filter(({ path }) => path.startsWith("/v2/team/secret"));
      assert.ok(asked.length > 0 && asked.length <= MAX_PUSHES, `${asked.length}`);
    });
  });

  test("sends into the session that a registry gives instead of a mount", async () => {
    await scene({ mounts: false }, async ({ registry, push }) => {
      registry.repository("team/base").blobs.set(layer, image.blobs.get(layer) as Buffer);
      assert.deepEqual(totals(await push({ mountFrom: ["team/base"] })), [0, 0, 2]);
      holds(registry);
      assert.equal(registry.kinds.filter((kind) => kind === "begin").length, 1);
    });
  });

  test("is in chunks where the registry names a least size, the last of any", async () => {
    await scene({ minChunkBytes: 150_000, push: { chunkBytes: 1000 } }, async ({ registry, push }) => {
      await push();
      holds(registry);
      const ranges = registry.requests.flatMap(({ headers }) => headers["content-range"] ?? []);
      const ends = [150_000, 300_000, 450_000, 600_000, 700_000];
      assert.deepEqual(
        ranges,
        ends.map((end, at) => `${ends[at - 1] ?? 0}-${end - 1}`),
      );
    });
  });

  test("puts an index behind its manifests, and sends once what they share", async () => {
    const other = buildImage([image.blobs.get(layer) as Buffer], {
      codec: "none",
      platform: { os: "linux", architecture: "arm64" },
    });
    const index = buildIndex([image, other]);
    await scene({}, async ({ registry, push }) => {
      const blobs = [...(await blobsOf(image)), ...(await blobsOf(other))];
      const manifests = [described(image), described(other), described(index, "v1", "latest")];
      assert.deepEqual(totals(await push({ blobs, manifests })), [0, 0, 3]);
      const puts = registry.requests
        .filter(({ path }) => path.includes("/manifests/"))
        .map(({ path }) => path.split("/").at(-1));
      assert.deepEqual(puts, [image.descriptor.digest, other.descriptor.digest, "v1", "latest"]);
    });
  });

  test("tells how far it is, never falling, to the end", async () => {
    const told: (readonly [number, number])[] = [];
    const script = onLarge(({ response }, time) => time === 1 && response.writeHead(500).end() && true);
    await scene({ script }, async ({ registry }) => {
      const push = new RegistryPush({
        insecureHosts: [],
        credentials: { find: async () => undefined },
        userAgent: "stratad-test",
        timings: { wait: async () => {} },
      });
      const request = await requestOf(registry.host);
      await push.push(request, { signal, progress: (...now) => told.push(now) });
      const total = request.blobs.reduce((sum, { size }) => sum + size, 0);
      assert.deepEqual(told.at(-1), [total, total]);
      assert.ok(told.length > 3);
      assert.deepEqual(
        told,
        told.toSorted(([a], [b]) => a - b),
      );
    });
  });
});

const breakOff = async ({ incoming }: PushExchange): Promise<true> => {
  await once(incoming, "data");
  incoming.socket.destroy();
  return true;
};
const passing: readonly (readonly [what: string, options: SceneOptions])[] = [
  ["a 503 to the first question", { script: on("head blob", answer(503)) }],
  ["a 429 to the begin of an upload", { script: on("begin", answer(429, { "retry-after": "0" })) }],
  ["a connection cut in the middle of a blob", { script: onLarge((e, time) => time === 1 && breakOff(e)) }],
  ["a 502 behind a whole blob", { script: on("put blob", answer(502)) }],
  [
    "a session that is forgotten",
    { script: on("put blob", answer(404, {}, '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')) },
  ],
  ["a chunk that was lost", { minChunkBytes: 300_000, push: { chunkBytes: 1 }, script: on("patch", answer(416)) }],
  ["a 500 to the manifest", { script: on("put manifest", answer(500)) }],
];
for (const [what, options] of passing)
  test(`${what} is tried again from the start`, async () => {
    await scene(options, async ({ registry, push, waits }) => {
      assert.deepEqual(totals(await push()), [0, 0, 2]);
      holds(registry);
      assert.equal(waits.length, 1);
    });
  });

test("a blob that arrived though its answer was lost is not sent again", async () => {
  const lost: PushScript = onLarge(async ({ incoming, request }, time) => {
    if (time > 1) return false;
    const bytes = await bodyOf(incoming);
    started
      ?.repository("team/app")
      .blobs.set(new URL(request.path, "http://x").searchParams.get("digest") ?? "", bytes);
    incoming.socket.destroy();
    return true;
  });
  let started: PushRegistry | undefined;
  await scene({ script: lost }, async ({ registry, push }) => {
    started = registry;
    assert.deepEqual(totals(await push()), [0, 0, 2]);
    holds(registry);
    assert.equal(registry.kinds.filter((kind) => kind === "put blob").length, 2);
  });
});

const wrongDigest = { "docker-content-digest": `sha256:${"0".repeat(64)}` };
const failures: readonly (readonly [what: string, code: ErrorCode, options: SceneOptions])[] = [
  ["nobody's push", "AUTH_REQUIRED", { auth: "basic", anonymous: true }],
  ["a token service that refuses", "AUTH_DENIED", { auth: "bearer", unreadable: ["team/app"] }],
  ["a 403 to an upload", "AUTH_DENIED", { script: on("begin", answer(403), always) }],
  [
    "a registry that is read-only",
    "PUSH_REFUSED",
    { script: on("begin", answer(405, {}, '{"errors":[{"code":"UNSUPPORTED"}]}')) },
  ],
  ["a repository that is not there", "PUSH_REFUSED", { script: on("begin", answer(404)) }],
  ["a blob that is refused", "PUSH_REFUSED", { script: on("put blob", answer(413)) }],
  ["a tag that stays", "PUSH_REFUSED", { script: on("put manifest", answer(409)) }],
  ["sessions that are always forgotten", "PUSH_REFUSED", { script: on("put blob", answer(404), always) }],
  ["5xx to the end", "REGISTRY_UNREACHABLE", { script: on("put blob", answer(500), always) }],
  ["another digest of a blob", "DIGEST_MISMATCH", { script: on("put blob", answer(201, wrongDigest)) }],
  ["another digest of a manifest", "DIGEST_MISMATCH", { script: on("put manifest", answer(201, wrongDigest)) }],
  ["no Location", "REGISTRY_BAD_RESPONSE", { script: on("begin", answer(202)) }],
  [
    "a Location that is a file",
    "REGISTRY_BAD_RESPONSE",
    { script: on("begin", answer(202, { location: "file:///etc/passwd" })) },
  ],
  [
    "a redirect that drops what is sent",
    "REGISTRY_BAD_RESPONSE",
    { script: on("put blob", answer(303, { location: "/" })) },
  ],
  [
    "no answer",
    "REGISTRY_TIMEOUT",
    { script: on("begin", () => {}, always), push: { timings: { headersTimeoutMs: 5 } } },
  ],
  [
    "no answer behind a blob",
    "REGISTRY_TIMEOUT",
    { script: on("put blob", () => {}, always), push: { timings: { commitTimeoutMs: 5 } } },
  ],
];
for (const [what, code, options] of failures)
  test(`${what} is ${code}`, async () => {
    await scene(options, async ({ registry, push }) => {
      await assert.rejects(push(), { name: "StrataError", code });
      if (!what.includes("another digest of a manifest"))
        assert.equal(registry.repository("team/app").manifests.size, 0);
    });
  });

test("a chunk that is taken in part ends its session", async () => {
  const part = { location: "/v2/team/app/blobs/uploads/session-0?_state=a%20b", range: "0-9" };
  const options = { minChunkBytes: 300_000, push: { chunkBytes: 1 }, script: on("patch", answer(202, part), always) };
  await scene(options, async ({ push }) => {
    await assert.rejects(push(), { code: "PUSH_REFUSED", message: /: it has 10 bytes of 300000$/ });
  });
});

test("a failure ends what else is on its way", async () => {
  const script: PushScript = (exchange) =>
    exchange.kind === "put blob" && (isLarge(exchange) || on("put blob", answer(413), always)(exchange));
  await scene({ script }, async ({ push }) => {
    await assert.rejects(push(), { code: "PUSH_REFUSED" });
  });
});

test("a refusal says what the registry said", async () => {
  const body = '{"errors":[{"code":"DENIED_BY_POLICY","message":"\\u001b[2J"}]}';
  await scene({ script: on("put manifest", answer(422, {}, body)) }, async ({ registry, push }) => {
    await assert.rejects(push(), {
      message: `Cannot push manifest v1 to ${registry.host}/team/app: it answered 422 (DENIED_BY_POLICY)`,
    });
  });
});

test("a file that is not what it was said to be is SIZE_MISMATCH, one that is gone STORE_IO", async () => {
  await scene({}, async ({ push }) => {
    const blobs = await blobsOf(image);
    const changed = (change: object) => blobs.map((blob) => ("path" in blob ? { ...blob, ...change } : blob));
    await assert.rejects(push({ blobs: changed({ size: 700_001 }) }), { code: "SIZE_MISMATCH" });
    await assert.rejects(push({ blobs: changed({ path: join(base, "gone") }) }), { code: "STORE_IO" });
  });
});

test("a registry that takes no more bytes is REGISTRY_TIMEOUT", async () => {
  const size = 64 * 1024 * 1024;
  const path = join(base, "large");
  await writeFile(path, "");
  await truncate(path, size);
  const blobs = [{ digest: parseDigest(layer), size, path }];
  // What stands in sockets' buffers is taken.
  const timings = { stallTimeoutMs: 50, tries: 1 };
  await scene({ script: on("put blob", () => {}, always), push: { timings } }, async ({ push }) => {
    await assert.rejects(push({ blobs }), { code: "REGISTRY_TIMEOUT", message: /no byte taken/ });
  });
});

test("a push that is cancelled in the middle of a blob is CANCELLED, and leaves no tag", async () => {
  const controller = new AbortController();
  const script = onLarge(async ({ incoming }) => {
    await once(incoming, "data");
    controller.abort();
    return true;
  });
  await scene({ script }, async ({ registry, push }) => {
    await assert.rejects(push({}, controller.signal), { code: "CANCELLED" });
    assert.equal(registry.repository("team/app").manifests.size, 0);
  });
});

test("a Location on another host gets the blob, a redirect the manifest, and neither the credentials", async (context) => {
  const other = await startPushRegistry({});
  context.after(() => other.close());
  const begin = on(
    "begin",
    async ({ response }) => {
      const begun = await fetch(`${other.url}/v2/team/app/blobs/uploads/`, { method: "POST" });
      response.writeHead(202, { location: `${other.url}${begun.headers.get("location")}` }).end();
    },
    always,
  );
  const manifest: PushScript = (exchange) =>
    on("put manifest", answer(307, { location: `${other.url}${exchange.request.path}` }), always)(exchange);
  const script: PushScript = async (exchange) =>
    exchange.request.headers.authorization !== undefined && ((await begin(exchange)) || (await manifest(exchange)));
  await scene({ auth: "basic", script }, async ({ registry, push }) => {
    assert.deepEqual(totals(await push()), [0, 0, 2]);
    holds(other);
    assert.equal(registry.repository("team/app").blobs.size, 0);
    assert.ok(other.requests.every(({ headers }) => headers.authorization === undefined));
  });
});
