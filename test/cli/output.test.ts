import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { fakeRoot } from "../support/fake-services.js";
import { answeredCli, runCli, startCli } from "./support.js";

const { options, serve } = answeredCli();
/** More than a pipe takes. */
const roots = Array.from({ length: 2000 }, (_, index) => ({ ...fakeRoot, rootId: `root-${index}` }));

test("a command is over when its reader has all of its output", async () => {
  await serve({ "root/list": () => ({ roots }) });
  const { code, stdout } = await runCli(["roots", "--json"], options());
  assert.deepEqual([code, JSON.parse(stdout)], [0, { roots }]);
});

test("a command whose reader goes away is over as if it had been read", async () => {
  await serve({ "root/list": () => ({ roots }) });
  const child = startCli(["roots", "--json"], options());
  child.stdout?.once("data", () => child.stdout?.destroy());
  assert.deepEqual(await once(child, "exit"), [0, null]);
});
