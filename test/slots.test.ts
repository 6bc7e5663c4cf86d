/** Who comes in when there is room, and that nobody takes all of it. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { SharedSlots, Slots } from "../src/slots.js";

suite("shared slots", () => {
  /** Starts work that ends when it is told to; says who came in. */
  function stage(slots: number, share: number) {
    const shared = new SharedSlots(slots, { share });
    const running: string[] = [];
    const ends = new Map<string, () => void>();
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    const start = (owner: string, name: string, { priority = 0, signal = new AbortController().signal } = {}) =>
      shared.run(owner, priority, signal, () => {
        running.push(name);
        return new Promise<void>((resolve) => ends.set(name, resolve));
      });
    const end = async (name: string) => {
      ends.get(name)?.();
      await settle();
    };
    return { running, start, end, settle };
  }

  test("an owner gets its share and no more, and others come in beside it", async () => {
    const { running, start, end, settle } = stage(4, 2);
    const all = ["a1", "a2", "a3"].map((name) => start("a", name));
    all.push(start("b", "b1"));
    await settle();
    assert.deepEqual(running, ["a1", "a2", "b1"]);
    await end("a1");
    assert.deepEqual(running, ["a1", "a2", "b1", "a3"]);
    for (const name of ["a2", "a3", "b1"]) await end(name);
    await Promise.all(all);
  });

  test("all owners together get what there is, the higher priority first", async () => {
    const { running, start, end, settle } = stage(2, 2);
    const all = [start("a", "a1"), start("a", "a2"), start("b", "low"), start("c", "high", { priority: 1 })];
    await settle();
    assert.deepEqual(running, ["a1", "a2"]);
    await end("a1");
    await end("a2");
    assert.deepEqual(running, ["a1", "a2", "high", "low"]);
    for (const name of ["high", "low"]) await end(name);
    await Promise.all(all);
  });

  test("who gives up while waiting is CANCELLED and leaves its place to the next", async () => {
    const { running, start, end, settle } = stage(2, 1);
    const cancel = new AbortController();
    const first = start("a", "a1");
    const second = start("a", "a2", { signal: cancel.signal });
    const third = start("a", "a3");
    cancel.abort();
    await assert.rejects(second, { code: "CANCELLED" });
    await end("a1");
    assert.deepEqual(running, ["a1", "a3"]);
    await end("a3");
    await Promise.all([first, third, settle()]);
  });
});

suite("slots", () => {
  test("so many come in, the rest in order, and hundreds may wait on one signal", async (t) => {
    const warnings: Error[] = [];
    const warned = (warning: Error) => warnings.push(warning);
    process.on("warning", warned);
    t.after(() => process.off("warning", warned));
    const slots = new Slots(1);
    const { signal } = new AbortController();
    const order: number[] = [];
    const names = Array.from({ length: 300 }, (_, i) => i);
    await Promise.all(names.map((name) => slots.run(0, signal, async () => void order.push(name))));
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(order, names);
    assert.deepEqual(warnings, []);
  });
});
