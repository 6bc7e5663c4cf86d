/**
 * A push on which the registry or the network fails: what is tried again, and as what the rest ends.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { ErrorCode } from "../../src/errors.js";
import { parseDigest } from "../../src/oci/digest.js";
import { bodyOf, type PushExchange, type PushRegistry, type PushScript } from "../support/push-registry.js";
import {
  always,
  answer,
  base,
  blobsOf,
  holds,
  image,
  isLarge,
  layer,
  on,
  onLarge,
  type SceneOptions,
  scene,
  totals,
} from "./pushing.js";

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
    "a redirect of a blob",
    "REGISTRY_BAD_RESPONSE",
    { script: on("put blob", answer(307, { location: "/v2/elsewhere" })) },
  ],
  [
    "a redirect of an upload that makes it a GET",
    "REGISTRY_BAD_RESPONSE",
    { script: on("begin", answer(303, { location: "/" })) },
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
