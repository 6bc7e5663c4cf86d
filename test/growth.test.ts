import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { GrowthReader, GrowthWriter } from "../src/growth.js";

suite("growth", () => {
  let alive: NodeJS.Timeout;
  before(() => {
    // Shared memory keeps no process alive.
    alive = setInterval(() => undefined, 1000);
  });
  after(() => clearInterval(alive));

  test("a reader sees what the writer stored, through the shared memory alone", () => {
    const writer = new GrowthWriter();
    const reader = new GrowthReader(writer.shared);
    assert.deepEqual([reader.bytes, reader.state], [0, "growing"]);
    writer.advance(2 ** 40);
    assert.deepEqual([reader.bytes, reader.state], [2 ** 40, "growing"]);
  });

  test("the first end counts: what is complete cannot fail, what failed cannot complete", () => {
    const [complete, failed] = [new GrowthWriter(), new GrowthWriter()];
    complete.complete();
    complete.fail();
    failed.fail();
    failed.complete();
    assert.equal(new GrowthReader(complete.shared).state, "complete");
    assert.equal(new GrowthReader(failed.shared).state, "failed");
  });

  test("beyond resolves at once where there is more already, or no more will come", async () => {
    const writer = new GrowthWriter();
    const reader = new GrowthReader(writer.shared);
    writer.advance(5);
    await reader.beyond(4);
    writer.fail();
    await reader.beyond(5);
  });

  const wakes: readonly [string, (writer: GrowthWriter) => void][] = [
    ["more bytes", (writer) => writer.advance(6)],
    ["completion", (writer) => writer.complete()],
    ["failure", (writer) => writer.fail()],
  ];
  for (const [title, wake] of wakes) {
    test(`a reader that waits is woken by ${title}`, async () => {
      const writer = new GrowthWriter();
      writer.advance(5);
      let resolved = false;
      const waiting = new GrowthReader(writer.shared).beyond(5).then(() => {
        resolved = true;
      });
      await Promise.resolve();
      assert.equal(resolved, false);
      wake(writer);
      await waiting;
    });
  }
});
