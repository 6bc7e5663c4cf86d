import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, describe, it } from "node:test";
import { parseErrorLine } from "../../src/cli/spawn.js";
import { parse } from "./json.js";
import { isolated, makeScratch, resultOf, runCli, type Scratch, startCli } from "./support.js";

let scratch: Scratch;
beforeEach(() => {
  scratch = makeScratch();
});
afterEach(() => scratch.remove());
const options = () => ({ env: isolated(scratch.path), cwd: scratch.path });

describe("serve", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`serves until ${signal}, drains and exits 0`, async () => {
      const child = startCli(["serve", "--state", "state"], options());
      const result = resultOf(child);
      for await (const line of createInterface({ input: child.stderr as Readable })) {
        const { event, endpoints } = parse(line);
        if (event !== "daemon.ready") continue;
        assert.equal(endpoints[0].path, join(scratch.path, "run", "stratad", "stratad.sock"));
        break;
      }
      const status = await runCli(["status", "--json"], options());
      assert.equal(parse(status.stdout).server.stateDir, join(scratch.path, "state"));
      child.kill(signal);
      const { code, stdout } = await result;
      assert.deepEqual([code, stdout], [0, ""]);
    });
  }

  it("stops in order also where SIGTERM comes while it starts", async () => {
    const child = startCli(["serve", "--state", "state"], options());
    const result = resultOf(child);
    for await (const line of createInterface({ input: child.stderr as Readable })) {
      const { event } = parse(line);
      if (event === "store.opened") child.kill("SIGTERM");
    }
    const { code, stdout } = await result;
    assert.deepEqual([code, stdout], [0, ""]);
    assert.deepEqual(readdirSync(join(scratch.path, "run", "stratad")), []);
  });

  it("says in its log why it cannot start, and exits with that code", async () => {
    const { code, stderr } = await runCli(["serve", "--listen", "0.0.0.0:1"], options());
    assert.equal(code, 78);
    const lines = stderr.split("\n");
    assert.equal(lines.map(parseErrorLine).find((error) => error !== undefined)?.code, "CONFIG_INVALID");
    assert.match(stderr, /^error: Cannot use listen = "0\.0\.0\.0:1" from --listen: .* \[CONFIG_INVALID\]$/m);
  });
});
