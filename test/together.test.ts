/** What work that is done side by side may do with the signal that it shares. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { together } from "../src/together.js";

suite("work done together", () => {
  test("as much of it as there is listens to the signal, and Node warns of no leak", async () => {
    const warnings: Error[] = [];
    const hear = (warning: Error) => void warnings.push(warning);
    process.on("warning", hear);
    const listening = Array.from({ length: 20 }, () => async (signal: AbortSignal) => {
      signal.addEventListener("abort", () => undefined);
      await nextTurn();
    });
    await together(new AbortController().signal, listening);
    await nextTurn();
    process.off("warning", hear);
    assert.deepEqual(warnings, []);
  });
});
