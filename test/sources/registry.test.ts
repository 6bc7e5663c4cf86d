import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { StrataError } from "../../src/errors.js";
import { GrowthReader } from "../../src/growth.js";
import type { Descriptor } from "../../src/oci/documents.js";
import { parsePlatform } from "../../src/oci/platform.js";
import { type DockerReference, parseReference } from "../../src/oci/reference.js";
import type { Credential } from "../../src/sources/registry/credentials.js";
import { registrySource } from "../../src/sources/registry/registry-source.js";
import type { RegistryTimings } from "../../src/sources/registry/timings.js";
import { userRegistries } from "../../src/sources/registry/user-registries.js";
import { resolveImage } from "../../src/sources/resolve.js";
import type { Blob, ImageSource } from "../../src/sources/source.js";
import {
  breakOff,
  buildImage,
  buildIndex,
  type Exchange,
  type RegistryScript,
  type Script,
  serve,
  sha256,
  stall,
  startRegistry,
  type TestRegistry,
} from "../support/registry.js";

const base = await mkdtemp(join(tmpdir(), "strata-registry-"));
after(() => rm(base, { recursive: true }));
let serial = 0;

const image = buildImage([randomBytes(300_000)], { codec: "none" });
const { signal } = new AbortController();
const platform = parsePlatform("linux/amd64");

interface Scene {
  readonly registry: TestRegistry;
  readonly source: ImageSource;
  /** What was waited for between tries, in milliseconds. */
  readonly waits: readonly number[];
}

interface SceneOptions extends Partial<RegistryScript> {
  readonly credential?: Credential | "right";
  readonly timings?: Partial<RegistryTimings>;
  readonly reference?: string;
}

/** A registry, a source that asks it, and both closed at the end. */
async function scene(options: SceneOptions, run: (scene: Scene) => Promise<void>): Promise<void> {
  const registry = await startRegistry({ images: { "team/app:v1": image }, ...options });
  const waits: number[] = [];
  const { username, password } = registry.user;
  const credential =
    options.credential === "right" ? ({ kind: "basic", username, password } as const) : options.credential;
  const reference = parseReference(`${registry.host}/${options.reference ?? "team/app:v1"}`) as DockerReference;
  const source = registrySource(reference, {
    ...userRegistries([], "test"),
    credentials: { find: async () => credential },
    userAgent: "stratad-test",
    timings: { backoffMs: 4, wait: async (ms) => waits.push(ms), ...options.timings },
  });
  try {
    await run({ registry, source, waits });
  } finally {
    await source.close();
    await registry.close();
  }
}

async function layerOf(source: ImageSource): Promise<Descriptor> {
  const { layers } = await resolveImage(source, { platform, signal });
  return layers[0]?.descriptor as Descriptor;
}

async function fetchLayer(source: ImageSource, own = signal): Promise<{ blob: Blob; bytes: Buffer }> {
  const layer = await layerOf(source);
  const blob = await source.blob(layer, join(base, `blob-${++serial}`), own);
  await blob.done;
  return { blob, bytes: await readFile(blob.path) };
}

const layerBytes = [...image.blobs.values()].find((bytes) => bytes.byteLength === 300_000) as Buffer;
const isLayer = ({ body }: Exchange) => body === layerBytes;
const firstLayer = (e: Exchange) => isLayer(e) && e.count === 1;
const always = () => true;
const isConfig = ({ body }: Exchange) => body !== undefined && body !== layerBytes && image.blobs.has(sha256(body));
const isBlob = ({ request }: Exchange) => request.path.includes("/blobs/");

for (const auth of ["anonymous", "basic", "bearer"] as const) {
  test(`${auth}: an image is resolved and its layer fetched`, async () => {
    await scene({ auth, credential: "right" }, async ({ source, registry }) => {
      const { blob, bytes } = await fetchLayer(source);
      assert.ok(bytes.equals(layerBytes));
      const growth = new GrowthReader(blob.growth as SharedArrayBuffer);
      assert.deepEqual([growth.state, growth.bytes], ["complete", layerBytes.byteLength]);
      assert.ok(registry.requests.every(({ headers }) => headers["accept-encoding"] === "identity"));
      assert.equal(registry.tokens.length, auth === "bearer" ? 1 : 0);
    });
  });
}

test("bearer: a token is fetched without credentials where there are none", async () => {
  await scene({ auth: "bearer" }, async ({ source }) => {
    assert.ok((await fetchLayer(source)).bytes.equals(layerBytes));
  });
});

test("bearer: a 401 in the middle gets one new token", async () => {
  await scene({ auth: "bearer", credential: "right" }, async ({ source, registry }) => {
    await source.root(signal);
    registry.expireTokens();
    await fetchLayer(source);
    assert.equal(registry.tokens.length, 2);
  });
});

test("bearer: requests that fail at the same time share one new token", async () => {
  await scene({ auth: "bearer", credential: "right" }, async ({ source, registry }) => {
    const layer = await layerOf(source);
    registry.expireTokens();
    const paths = [1, 2, 3].map(() => join(base, `blob-${++serial}`));
    const blobs = await Promise.all(paths.map((path) => source.blob(layer, path, signal)));
    await Promise.all(blobs.map(({ done }) => done));
    assert.equal(registry.tokens.length, 2);
  });
});

function on(when: (e: Exchange) => boolean, act: (e: Exchange) => unknown): Script {
  return (e) => {
    if (!when(e)) return false;
    act(e);
    return true;
  };
}

const answer =
  (status: number, headers: Record<string, string> = {}): Script =>
  ({ response }) => {
    response.writeHead(status, headers).end("{}");
    return true;
  };

const wrong: Credential = { kind: "basic", username: "a", password: "b" };
const rootFailures: readonly (readonly [string, string, SceneOptions])[] = [
  ["Basic without credentials", "AUTH_REQUIRED", { auth: "basic" }],
  ["Basic with the wrong ones", "AUTH_DENIED", { auth: "basic", credential: wrong }],
  ["a token service that refuses", "AUTH_DENIED", { auth: "bearer", credential: wrong }],
  ["a 403", "AUTH_DENIED", { script: answer(403) }],
  ["a 401 without a challenge", "AUTH_REQUIRED", { script: answer(401) }],
  [
    "a token service on another host over HTTP",
    "AUTH_REALM",
    { script: answer(401, { "www-authenticate": 'Bearer realm="http://evil.example/token"' }), credential: "right" },
  ],
  [
    "a token service that is a file",
    "AUTH_REALM",
    { script: answer(401, { "www-authenticate": 'Bearer realm="file:///etc/passwd"' }) },
  ],
  ["a tag that is missing", "MANIFEST_UNKNOWN", { reference: "team/app:v2" }],
  ["a repository that is missing", "MANIFEST_UNKNOWN", { reference: "team/other:v1" }],
  [
    "a digest that is another's",
    "DIGEST_MISMATCH",
    {
      reference: `team/app@sha256:${"0".repeat(64)}`,
      script: on(always, (e) => serve({ ...e, body: image.bytes, mediaType: image.descriptor.mediaType })),
    },
  ],
  [
    "a wrong Docker-Content-Digest",
    "DIGEST_MISMATCH",
    { script: rewritten({ "docker-content-digest": `sha256:${"0".repeat(64)}` }) },
  ],
  [
    "a Docker-Content-Digest that is none",
    "REGISTRY_BAD_RESPONSE",
    { script: rewritten({ "docker-content-digest": "x" }) },
  ],
  [
    "a Content-Type that the document contradicts",
    "MANIFEST_AMBIGUOUS",
    { script: rewritten({ "content-type": "application/vnd.oci.image.index.v1+json" }) },
  ],
  ["a page of a captive portal", "REGISTRY_BAD_RESPONSE", { script: rewritten({ "content-type": "text/html" }) }],
  [
    "schema 1",
    "MEDIA_TYPE_UNSUPPORTED",
    { script: rewritten({ "content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws" }) },
  ],
  ["a Content-Encoding", "REGISTRY_BAD_RESPONSE", { script: rewritten({ "content-encoding": "gzip" }) }],
  [
    "a manifest over 4 MiB",
    "MANIFEST_TOO_BIG",
    { script: on(always, (e) => e.response.writeHead(200).end(Buffer.alloc(4 * 1024 * 1024 + 1))) },
  ],
  ["5xx to the end", "REGISTRY_UNREACHABLE", { script: answer(503) }],
  ["429 to the end", "REGISTRY_RATE_LIMITED", { script: answer(429) }],
  ["408 to the end", "REGISTRY_TIMEOUT", { script: answer(408) }],
  ["a redirect without a place", "REGISTRY_BAD_RESPONSE", { script: answer(307) }],
  ["a redirect to a file", "REGISTRY_BAD_RESPONSE", { script: answer(307, { location: "file:///etc/passwd" }) }],
  ["a redirect to a password", "REGISTRY_BAD_RESPONSE", { script: answer(307, { location: "http://a:b@127.0.0.1/" }) }],
  ["a redirect to itself", "REGISTRY_BAD_RESPONSE", { script: answer(307, { location: "/v2/team/app/manifests/v1" }) }],
  ["no answer", "REGISTRY_TIMEOUT", { script: () => true, timings: { headersTimeoutMs: 5 } }],
];
for (const [what, code, options] of rootFailures) {
  test(`${what} is ${code}`, async () => {
    await scene(options, async ({ source }) => {
      await assert.rejects(resolveImage(source, { platform, signal }), { code });
    });
  });
}

function rewritten(headers: Record<string, string>): Script {
  return ({ response, body, mediaType }) => {
    response.writeHead(200, { "content-type": mediaType, ...headers }).end(body);
    return true;
  };
}

test("a registry that nobody serves is REGISTRY_UNREACHABLE", async () => {
  await scene({}, async ({ source, registry }) => {
    await registry.close();
    await assert.rejects(source.root(signal), { code: "REGISTRY_UNREACHABLE", message: /ECONNREFUSED/ });
  });
});

test("5xx is tried again, each wait within the doubled bound", async () => {
  const script: Script = (e) => e.count < 4 && answer(502)(e);
  await scene({ script }, async ({ source, waits }) => {
    await source.root(signal);
    assert.equal(waits.length, 3);
    waits.forEach((ms, tried) => {
      assert.ok(ms >= 0 && ms <= 4 * 2 ** tried, `${ms}`);
    });
  });
});

test("429 waits as long as Retry-After says", async () => {
  const script: Script = (e) => e.count < 2 && answer(429, { "retry-after": "7" })(e);
  await scene({ script }, async ({ source, waits }) => {
    await source.root(signal);
    assert.deepEqual(waits, [7000]);
  });
});

test("a Retry-After beyond the limit is the user's to wait for", async () => {
  await scene({ script: answer(429, { "retry-after": "3600" }) }, async ({ source, waits }) => {
    await assert.rejects(source.root(signal), (error: StrataError) => {
      assert.deepEqual([error.code, error.options.retryAfterMs], ["REGISTRY_RATE_LIMITED", 3_600_000]);
      return true;
    });
    assert.deepEqual(waits, []);
  });
});

test("a tag is resolved once: one that moves changes nothing", async () => {
  const other = buildImage([Buffer.alloc(512)]);
  const images = { "team/app:v1": image, "team/app:v2": other };
  const script: Script = (e) => {
    if (e.count < 2 || !e.request.path.endsWith("/v1")) return false;
    serve({ ...e, body: other.bytes });
    return true;
  };
  await scene({ images, script }, async ({ source, registry }) => {
    const first = await source.root(signal);
    await fetchLayer(source);
    assert.equal(await source.root(signal), first);
    assert.equal(registry.requests.filter(({ path }) => path.endsWith("/v1")).length, 1);
  });
});

test("an index leads to the platform's manifest by digest", async () => {
  const arm = buildImage([Buffer.alloc(512)], { platform: { os: "linux", architecture: "arm64" } });
  await scene({ images: { "team/app:v1": buildIndex([arm, image]) } }, async ({ source }) => {
    const resolved = await resolveImage(source, { platform, signal });
    assert.equal(resolved.manifestDescriptor.digest, image.descriptor.digest);
  });
});

test("Authorization does not follow a redirect to another host", async (context) => {
  const other = await startRegistry({ images: { "team/app:v1": image } });
  context.after(() => other.close());
  const script: Script = (e) => {
    if (!isBlob(e) || e.request.headers.authorization === undefined) return false;
    return answer(307, { location: `${other.url}${e.request.path}` })(e);
  };
  await scene({ auth: "basic", credential: "right", script }, async ({ source, registry }) => {
    assert.ok((await fetchLayer(source)).bytes.equals(layerBytes));
    assert.equal(other.requests.length, 2);
    assert.ok(other.requests.every(({ headers }) => headers.authorization === undefined));
    assert.ok(registry.requests.some(({ headers }) => headers.authorization !== undefined));
  });
});

const interruptions: readonly (readonly [string, SceneOptions, ranges: number])[] = [
  ["a reset", { script: on(firstLayer, (e) => breakOff(e, 100_000)) }, 1],
  [
    "three resets",
    {
      ranges: false,
      script: on(
        (e) => isLayer(e) && e.count <= 3,
        (e) => breakOff(e, 50_000 * e.count),
      ),
    },
    1,
  ],
  ["a reset, and Range ignored", { ranges: false, script: on(firstLayer, (e) => breakOff(e, 100_000)) }, 1],
  ["a stall", { timings: { stallTimeoutMs: 20 }, script: on(firstLayer, (e) => stall(e, 100_000)) }, 1],
  [
    "a body that ends early",
    {
      script: on(firstLayer, (e) => e.response.writeHead(200).end(layerBytes.subarray(0, 1000))),
    },
    1,
  ],
  [
    "a reset, and the wrong range",
    {
      script: (e) => {
        if (!isLayer(e)) return false;
        if (e.count === 1) breakOff(e, 100_000);
        else if (e.request.headers.range === undefined) return false;
        else e.response.writeHead(206, { "content-range": "bytes 0-9/300000" }).end(layerBytes.subarray(0, 10));
        return true;
      },
    },
    1,
  ],
  [
    "a reset, and 416 for the range",
    {
      script: (e) => {
        if (!isLayer(e)) return false;
        if (e.count === 1) breakOff(e, 100_000);
        else if (e.request.headers.range === undefined) return false;
        else return answer(416)(e);
        return true;
      },
    },
    1,
  ],
];
for (const [what, options, ranges] of interruptions) {
  test(`after ${what} in the middle of a blob the rest follows and the bytes are right`, async () => {
    await scene(options, async ({ source, registry }) => {
      const { bytes } = await fetchLayer(source);
      assert.ok(bytes.equals(layerBytes));
      assert.ok(registry.requests.filter(({ headers }) => headers.range !== undefined).length >= ranges);
    });
  });
}

const blobFailures: readonly (readonly [string, string, SceneOptions])[] = [
  ["missing", "BLOB_UNKNOWN", { script: (e) => isLayer(e) && answer(404)(e) }],
  ["too long", "SIZE_MISMATCH", { script: on(isLayer, (e) => e.response.writeHead(200).end(Buffer.alloc(300_001))) }],
  [
    "too short at every try",
    "SIZE_MISMATCH",
    { ranges: false, script: on(isLayer, (e) => e.response.writeHead(200).end(layerBytes.subarray(0, 1000))) },
  ],
  [
    "stalled at every try",
    "REGISTRY_TIMEOUT",
    { timings: { stallTimeoutMs: 5 }, script: on(isLayer, (e) => e.response.writeHead(200).flushHeaders()) },
  ],
  ["reset at every try", "REGISTRY_UNREACHABLE", { script: on(isLayer, (e) => e.socket.destroy()) }],
];
for (const [what, code, options] of blobFailures) {
  test(`a blob that is ${what} is ${code}`, async () => {
    await scene(options, async ({ source }) => {
      await assert.rejects(fetchLayer(source), { code });
    });
  });
}

test("an answer that announces another length is refused before its body, and is not asked for again", async () => {
  const script: Script = on(
    (e) => isBlob(e) && !isConfig(e),
    (e) => e.response.writeHead(200, { "content-length": 300_001 }).flushHeaders(),
  );
  await scene({ script }, async ({ source, registry, waits }) => {
    await assert.rejects(fetchLayer(source), { code: "SIZE_MISMATCH", message: /300001 bytes, not 300000/ });
    assert.deepEqual(waits, []);
    assert.equal(registry.requests.filter(({ path }) => path.includes("/blobs/")).length, 2);
  });
});

test("of a config no more is read than its size", async () => {
  const script: Script = on(isConfig, (e) => e.response.writeHead(200).end(Buffer.alloc(5 << 20)));
  await scene({ script }, async ({ source }) => {
    await assert.rejects(resolveImage(source, { platform, signal }), { code: "SIZE_MISMATCH" });
  });
});

test("a manifest that the index and the registry call two things is ambiguous", async () => {
  const script: Script = (e) =>
    e.request.path.includes("/manifests/sha256:") &&
    rewritten({ "content-type": "application/vnd.docker.distribution.manifest.v2+json" })(e);
  await scene({ images: { "team/app:v1": buildIndex([image]) }, script }, async ({ source }) => {
    await assert.rejects(resolveImage(source, { platform, signal }), { code: "MANIFEST_AMBIGUOUS" });
  });
});

test("a blob may be read while it grows, and a failure reaches the reader", async () => {
  let socket: Exchange["socket"] | undefined;
  const script: Script = (e) => {
    if (!isLayer(e)) return false;
    if (socket !== undefined) return answer(404)(e);
    socket = e.socket;
    stall(e, 100_000);
    return true;
  };
  await scene({ script }, async ({ source }) => {
    const blob = await source.blob(await layerOf(source), join(base, "growing"), signal);
    const growth = new GrowthReader(blob.growth as SharedArrayBuffer);
    for (let seen = 0; seen < 100_000; seen = growth.bytes) await growth.beyond(seen);
    assert.equal(growth.state, "growing");
    assert.ok((await readFile(blob.path)).equals(layerBytes.subarray(0, 100_000)));
    socket?.destroy();
    await assert.rejects(blob.done, { code: "BLOB_UNKNOWN" });
    assert.equal(growth.state, "failed");
  });
});

test("what comes in bursts is in the file once, in order, and soon", async () => {
  const script: Script = (e) => {
    if (!isLayer(e)) return false;
    const { response, body = Buffer.alloc(0) } = e;
    response.writeHead(200, { "content-type": e.mediaType, "content-length": body.byteLength });
    const pauses = [0, 10, 30, 49, 50, 51, 70, 0, 0];
    const send = (from: number, nth: number): void => {
      const to = Math.min(body.byteLength, from + 9973);
      response.write(body.subarray(from, to));
      if (to === body.byteLength) response.end();
      else setTimeout(() => send(to, nth + 1), pauses[nth % pauses.length]);
    };
    send(0, 0);
    return true;
  };
  await scene({ script }, async ({ source }) => {
    assert.ok((await fetchLayer(source)).bytes.equals(layerBytes));
  });
});

test("a cancelled fetch is CANCELLED and its place is free again", async () => {
  const script: Script = on(firstLayer, (e) => stall(e, 10));
  await scene({ script }, async ({ source }) => {
    const controller = new AbortController();
    const layer = await layerOf(source);
    const blob = await source.blob(layer, join(base, "cancelled"), controller.signal);
    controller.abort();
    await assert.rejects(blob.done, { code: "CANCELLED" });
    assert.ok((await fetchLayer(source)).bytes.equals(layerBytes));
  });
});

test("a foreign layer that the registry lacks is FOREIGN_LAYER, and its urls are not fetched", async () => {
  await scene({}, async ({ source, registry }) => {
    const descriptor = {
      ...(await layerOf(source)),
      mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
      digest: `sha256:${"3".repeat(64)}` as Descriptor["digest"],
      urls: [`${registry.url}/foreign`],
    };
    await assert.rejects(source.blob(descriptor, join(base, "foreign"), signal), { code: "FOREIGN_LAYER" });
    assert.ok(registry.requests.every(({ path }) => path !== "/foreign"));
  });
});
