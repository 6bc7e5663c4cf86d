/**
 * What is on the disk before what, judged by the kernel's own calls: documents before the rename that makes them visible, each rename's
 * directory before the next thing relies on it, and nothing that says `durable: true` before syncfs(2) has returned.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { tarOf, writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { lastFirst, Sandbox } from "../support/sandbox.js";
import { type SystemCall, systemCalls, trace, tracer } from "../support/system-calls.js";
import { toolOrSkip } from "../support/tools.js";
import { type Json, Wire } from "../support/wire.js";

const strace = tracer();
const CALLS = ["fsync", "fdatasync", "syncfs", "rename", "renameat", "renameat2", "write", "writev", "pwrite64"];

/** The calls of one install among all. */
/** A line of the journal, as strace shows it. */
const ASKED = /\{\\"kind\\":\\"job\.accepted\\".*?\\n/g;

class Order {
  readonly #calls: readonly SystemCall[];
  readonly #state: string;

  constructor(calls: readonly SystemCall[], state: string) {
    this.#calls = calls;
    this.#state = state;
  }

  /** The only successful sync of what ends so, between the two calls where they are given. */
  synced(path: RegExp, { after, before }: { after?: SystemCall; before?: SystemCall } = {}): SystemCall {
    const found = this.#calls.find(
      ({ name, text, began, ended }) =>
        /^f(data)?sync$/.test(name) &&
        path.test(/<([^>]*)>/.exec(text)?.[1]?.replace(this.#state, "") ?? "") &&
        text.endsWith("= 0") &&
        began > (after?.ended ?? -1) &&
        ended < (before?.began ?? Number.POSITIVE_INFINITY),
    );
    assert.ok(found, `no sync of ${path} after ${after?.text} and before ${before?.text}`);
    return found;
  }

  renamedTo(path: string): SystemCall {
    const found = this.#calls.find(
      ({ name, text }) =>
        name.startsWith("rename") && text.includes(`, "${this.#state}/${path}"`) && text.endsWith("= 0"),
    );
    assert.ok(found, `nothing was renamed to ${path}`);
    return found;
  }

  /** Writes that claim something, into a file or to a client; what a job was asked for is no claim. */
  claims(of: RegExp): SystemCall[] {
    return this.#calls.filter(({ name, text }) => {
      const said = text.replaceAll(ASKED, "");
      return /write/.test(name) && said.includes('\\"durable\\":true') && of.test(said);
    });
  }

  /** The first sync of everything that began after that call. */
  everythingSynced(after: SystemCall): SystemCall {
    const found = this.#calls.find(
      ({ name, text, began }) => name === "syncfs" && began > after.ended && text.endsWith("= 0"),
    );
    assert.ok(found, `no syncfs after ${after.text}`);
    return found;
  }
}

test("an install brings each thing to the disk before what relies on it, and claims nothing before syncfs", {
  skip: strace.skip || toolOrSkip("sync").skip,
}, async (t) => {
  const scope = lastFirst(t);
  const sandbox = await Sandbox.create(scope);
  const tags = ["plain", "waiting"];
  const images = tags.map(async (tag) => [tag, buildImage([await tarOf([{ name: tag, content: tag }])])] as const);
  await writeLayout(sandbox.file("layout"), Object.fromEntries(await Promise.all(images)));
  trace(sandbox, strace.path ?? "", CALLS);
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(scope, daemon.socket);
  await wire.request("events/subscribe");
  // Under policy a a plan is written, too.
  const plain = await wire.ready(`oci:${sandbox.file("layout")}:plain`, { overlap: "a" });
  await wire.notified("job.durable", ({ params }) => params.type === "job.durable");
  const waiting = await wire.ready(`oci:${sandbox.file("layout")}:waiting`, { durable: true, overlap: "a" });
  assert.deepEqual([plain.durable, waiting.durable], [false, true]);
  await wire.close();
  daemon.kill("SIGTERM");
  await daemon.ended;
  // The tracer writes its last lines after the daemon is gone.
  const end = new RegExp(`^${daemon.pid} +\\+{3} exited with 0`, "m");
  await until("the trace is whole", async () => end.test(await readFile(sandbox.file("trace"), "latin1")));

  const order = new Order(systemCalls(sandbox), sandbox.stateDir);
  for (const [job, name] of [
    [plain, "plain"],
    [waiting, "waiting"],
  ] as [Json, string][]) {
    const hex = job.layers[0].diffId.replace("sha256:", "");
    const layer = order.renamedTo(`layers/sha256/${hex}`);
    const [, directory = ""] = /"[^"]*\/(staging\/[^"]*)\/layer", /.exec(layer.text) ?? [];
    order.synced(new RegExp(`${directory}/layer/changeset$`), { before: layer });
    order.synced(new RegExp(`${directory}/layer/layer\\.json$`), { before: layer });

    const root = order.renamedTo(`roots/${job.root.rootId}`);
    order.synced(/^\/layers\/sha256$/, { after: layer, before: root });
    const [, rootDirectory = ""] = /"[^"]*\/(staging\/[^"]*)\/root", /.exec(root.text) ?? [];
    order.synced(new RegExp(`${rootDirectory}/root/plan$`), { before: root });
    const document = order.synced(new RegExp(`${rootDirectory}/root/root\\.json[^/]*$`), { before: root });

    const named = order.renamedTo(`names/.meta/${name}.json`);
    const flip = order.renamedTo(`names/${name}`);
    order.synced(/^\/roots$/, { after: root, before: named });
    const intention = order.synced(new RegExp(`^/names/\\.meta/${name}\\.json[^/]*$`), {
      after: document,
      before: named,
    });
    order.synced(/^\/names\/\.meta$/, { after: named, before: flip });
    order.synced(/^\/names$/, { after: flip });
    assert.ok(intention.ended < named.began && named.ended < flip.began);

    const synced = order.everythingSynced(root);
    for (const of of [
      new RegExp(`/meta/${hex}\\.json`),
      new RegExp(`/meta/roots/${job.root.rootId}\\.json`),
      new RegExp(job.jobId),
    ]) {
      const claims = order.claims(of);
      assert.notEqual(claims.length, 0, `${of} is never called durable`);
      for (const claim of claims) assert.ok(claim.began > synced.ended, claim.text);
    }
  }
});
