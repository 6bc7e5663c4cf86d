import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { StrataError } from "../../src/errors.js";
import type { Layer } from "../../src/messages/layer.js";
import type { MethodName } from "../../src/messages/methods.js";
import { fakeRoot as root } from "../support/fake-services.js";
import { parse } from "./json.js";
import { answeredCli, type FakeDaemon, JOB_ID, makeJob, readyJob } from "./support.js";

const TIME = "2026-01-01T00:00:00.000Z";
const { serve, run } = answeredCli();

describe("ids and digests by what they begin with", () => {
  const hex = (digits: string) => digits.padEnd(64, "0");
  const roots = ["abcdef1", "abcdef2", "123456"].map((digits, index) => ({
    ...root,
    rootId: hex(digits),
    manifestDigest: `sha256:${hex(`fee${index}`)}`,
  }));
  const layer: Layer = {
    diffId: `sha256:${hex("dada00")}`,
    digests: [`sha256:${hex("b10b00")}`],
    bytes: 1,
    entries: 1,
    topLevel: [],
    roots: [],
    durable: true,
    createdAt: TIME,
    lastUsedAt: TIME,
  };
  const later = JOB_ID.replace(/.$/, "f");
  const checked = { layers: 1, roots: 0, documents: 0, entries: 0, bytes: 0 };
  const serveStore = () =>
    serve({
      "root/get": ({ params }) => {
        if (params.name === "123456") return root;
        throw new StrataError("UNKNOWN_NAME", "Cannot find the name: there is none");
      },
      "root/list": () => ({ roots }),
      "layer/list": () => ({ layers: [layer] }),
      "install/list": () => ({ jobs: [makeJob(), makeJob({ jobId: later })] }),
      "root/pin": () => root,
      "store/verify": () => ({ checked, findings: [], findingsTotal: 0 }),
      "job/log": () => ({ jobId: JOB_ID, lines: [], omitted: 0 }),
      "install/cancel": () => makeJob({ state: "cancelled" }),
      "install/wait": () => readyJob(),
    });
  const paramsOf = async (fake: FakeDaemon, method: MethodName, ...args: string[]) => {
    const { code, stderr } = await run(...args);
    assert.equal(code, 0, stderr);
    return fake.calls.findLast((call) => call.method === method)?.params;
  };

  it("pin and unpin take the beginning of a root's id, but a name first", async () => {
    const fake = await serveStore();
    assert.deepEqual(await paramsOf(fake, "root/pin", "pin", "abcdef2"), { rootId: hex("abcdef2"), pinned: true });
    assert.deepEqual(await paramsOf(fake, "root/pin", "unpin", "123456"), { name: "123456", pinned: false });
    assert.deepEqual(await paramsOf(fake, "root/pin", "pin", "1234560"), { rootId: hex("123456"), pinned: true });
    assert.deepEqual(await paramsOf(fake, "root/pin", "pin", "abcde"), { name: "abcde", pinned: true });
    const several = await run("pin", "abcdef", "--json");
    assert.equal(several.code, 64);
    assert.match(parse(several.stdout).error.message, /: 2 begin so$/);
    assert.ok(parse(several.stdout).error.hint.includes(hex("abcdef1")));
    const none = await run("pin", "abcdef3", "--json");
    assert.deepEqual([none.code, parse(none.stdout).error.code], [79, "UNKNOWN_ROOT"]);
  });

  it("verify takes the beginning of a layer's or a manifest's digest, with its algorithm or without", async () => {
    const fake = await serveStore();
    for (const [given, digest] of [
      ["dada00", layer.diffId],
      ["sha256:b10b00", layer.digests[0]],
      ["fee100", roots[1]?.manifestDigest],
      [hex("777777"), `sha256:${hex("777777")}`],
      ["sha512:abc", "sha512:abc"],
    ] as const)
      assert.deepEqual(await paramsOf(fake, "store/verify", "verify", given), { digest });
    assert.deepEqual(await paramsOf(fake, "store/verify", "verify", "123456"), { name: "123456" });
    assert.equal((await run("verify", "fee999")).code, 79);
  });

  it("logs, cancel and wait take the beginning of a job's id", async () => {
    const fake = await serveStore();
    const begin = JOB_ID.slice(0, -1);
    for (const [verb, method] of [
      ["logs", "job/log"],
      ["cancel", "install/cancel"],
    ] as const) {
      assert.deepEqual(await paramsOf(fake, method, verb, later.toUpperCase()), { jobId: later });
      assert.equal((await run(verb, begin)).code, 64);
      assert.equal((await run(verb, "ffffff")).code, 79);
      assert.equal((await run(verb, "12345")).code, 64);
    }
    await fake.stop();
    const one = await serve({
      "install/list": () => ({ jobs: [readyJob()] }),
      "install/wait": () => readyJob(),
    });
    const { jobId } = (await paramsOf(one, "install/wait", "wait", JOB_ID.slice(0, 10))) as { jobId?: string };
    assert.equal(jobId, JOB_ID);
  });
});
