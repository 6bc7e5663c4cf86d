import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Parts } from "../src/parts.js";
import { type Self, servicesOf } from "../src/services.js";

test("who asks for a page while a large store is put in order waits for that, and holds up nobody", async () => {
  const asked: string[] = [];
  const page = (what: string) => () => {
    asked.push(what);
    return { items: [] };
  };
  let isOrdered = (): void => undefined;
  const inOrder = new Promise<void>((resolve) => {
    isOrdered = resolve;
  });
  const store = { layers: { inOrder }, roots: { inOrder } };
  const catalog = { layers: page("layers"), roots: page("roots") };
  const services = servicesOf({ store, catalog } as unknown as Parts, {} as Self);
  const pages = Promise.all([services.layers.list({ limit: 1 }), services.roots.list({ limit: 1 })]);
  await nextTurn();
  assert.deepEqual(asked, []);
  isOrdered();
  await pages;
  assert.deepEqual(asked, ["layers", "roots"]);
});
