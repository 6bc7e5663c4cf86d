/** The wall clock jumps by a year while a layer is on its way: every deadline goes by the monotonic clock, and nothing notices. */
import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import { checkStore } from "../support/check-store.js";
import { type Daemon, serve } from "../support/daemon.js";
import { Faults } from "../support/faults.js";
import { gateAt } from "../support/gate.js";
import { layerDigests } from "../support/images.js";
import { startRegistry } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";
import { smallImage } from "./images.js";
import { openWorkshop, skip } from "./workshop.js";

const YEAR_S = 365 * 24 * 3600;
const YEAR_MS = YEAR_S * 1000;

suite("the wall clock jumps", { skip }, () => {
  const scope = fileScope();
  let sandbox: Sandbox;
  let faults: Faults;
  let daemon: Daemon;

  before(async () => {
    const { library } = await openWorkshop(scope);
    sandbox = await Sandbox.create(scope);
    faults = new Faults(library, sandbox);
    scope.after(async () => faults.close());
    daemon = await serve(sandbox, { env: faults.env });
  });

  for (const [what, seconds] of Object.entries({ "a year ahead": YEAR_S, "back again": 0 }))
    test(`${what}: a job that is under way ends as if nothing had been, and a session stays`, async (t) => {
      const image = await smallImage(what);
      const gate = gateAt(layerDigests(image).slice(1), 1);
      const registry = await startRegistry({ images: { "app:1": image }, script: gate.script });
      t.after(() => registry.close());
      const wire = await Wire.connect(t, daemon.socket);
      const { jobId } = await wire.request("install/start", { reference: `${registry.host}/app:1`, name: "app" });
      await gate.reached;
      faults.putClockAhead(seconds);
      const early = await wire.request("install/wait", { jobId, timeoutMs: 1 });
      assert.equal(early.state, "running");
      gate.open();
      const job = await wire.request("install/wait", { jobId });
      assert.equal(job.state, "ready", JSON.stringify(job.error));
      const jump = Date.parse(job.finishedAt) - Date.parse(job.createdAt);
      assert.equal(Math.round(Math.abs(jump) / YEAR_MS), 1, "the daemon did not see the jump");
      assert.equal((await wire.request("install/get", { jobId })).state, "ready");
      assert.equal((await wire.request("server/status")).jobs.running, 0);
    });

  test("a daemon that starts a year later finds all that was stored, and the store is sound", async (t) => {
    faults.putClockAhead(YEAR_S);
    daemon.kill("SIGKILL");
    await daemon.ended;
    daemon = await serve(sandbox, { env: faults.env });
    const wire = await Wire.connect(t, daemon.socket);
    const { roots } = await wire.request("root/list");
    assert.equal(roots.length, 2);
    daemon.kill("SIGTERM");
    assert.equal((await daemon.ended).exitCode, 0);
    assert.deepEqual(checkStore(sandbox.stateDir, { swept: true }), []);
  });
});
