/**
 * What a push sends, and what it need not send; e2e/push.test.ts pushes to Debian's registry.
 */
import assert from "node:assert/strict";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { MAX_PUSHES } from "../../src/limits.js";
import { parseDigest } from "../../src/oci/digest.js";
import { RegistryPush } from "../../src/sources/registry/push.js";
import { type PushExchange, type PushScript, startPushRegistry } from "../support/push-registry.js";
import { buildImage, buildIndex, sha256 } from "../support/registry.js";
import {
  always,
  answer,
  base,
  blobsOf,
  described,
  holds,
  image,
  layer,
  on,
  onLarge,
  requestOf,
  scene,
  signal,
  totals,
} from "./pushing.js";

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

test("another host gets what a Location or a redirect sends there, and no credentials", async (context) => {
  const other = await startPushRegistry({});
  context.after(() => other.close());
  const elsewhere = ({ request }: PushExchange) => ({ location: `${other.url}${request.path}` });
  const script: PushScript = async (exchange) => {
    if (exchange.kind === "put manifest") return on("put manifest", answer(201), always)(exchange);
    if (exchange.kind !== "begin" || exchange.request.headers.authorization === undefined) return false;
    // One is redirected, the other is told where to upload to.
    if (exchange.count % 2 === 1) await answer(307, elsewhere(exchange))(exchange);
    else {
      const begun = await fetch(elsewhere(exchange).location, { method: "POST" });
      await answer(202, { location: `${other.url}${begun.headers.get("location")}` })(exchange);
    }
    return true;
  };
  await scene({ auth: "basic", script }, async ({ registry, push }) => {
    await push();
    assert.deepEqual([...other.repository("team/app").blobs.keys()].sort(), [...image.blobs.keys()].sort());
    assert.ok(registry.requests.some(({ headers }) => headers.authorization !== undefined));
    assert.ok(other.requests.length >= 4 && other.requests.every(({ headers }) => headers.authorization === undefined));
  });
});

test("what was sent is kept nowhere", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  const size = 128 * 1024 * 1024;
  const path = join(base, "sparse");
  await writeFile(path, "");
  await truncate(path, size);
  let kept = size;
  const script = on("put blob", async ({ incoming, response }) => {
    for await (const chunk of incoming) void chunk;
    collectGarbage();
    kept = process.memoryUsage().arrayBuffers;
    response.writeHead(201).end();
  });
  await scene({ script }, async ({ push }) => {
    await push({ blobs: [{ digest: parseDigest(layer), size, path }], manifests: [] });
    assert.ok(kept < size / 4, `${kept} bytes`);
  });
});
