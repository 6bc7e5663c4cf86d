/** A short run against the model, always the same; `npm run faults model` makes long ones. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileScope } from "../support/sandbox.js";
import { runModel } from "./model-run.js";
import { openWorkshop, skip } from "./workshop.js";

const scope = fileScope();

test("installs, removals, pins, collections, repairs and crashes, also in the middle of them, leave what plain maps say", {
  skip,
}, async () => {
  const { commands, cut } = await runModel(await openWorkshop(scope), { seed: 20261126, runs: 1, commands: 24 });
  assert.ok(commands >= 12 && cut > 0, `${commands} commands, ${cut} of them cut short`);
});
