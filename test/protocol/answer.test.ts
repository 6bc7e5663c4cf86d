import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { writeAnswer } from "../../src/protocol/answer.js";
import { fakeRoot } from "../support/fake-services.js";
import { inOneGo } from "../support/in-one-go.js";
import { Peer, startHarness } from "./harness.js";

const item = z.object({ id: z.string().max(5), size: z.number().optional() });
const schema = z.object({
  items: z.array(item),
  total: z.number().optional(),
  inner: z.object({ items: z.array(item).max(2), kept: z.number().default(7) }).optional(),
  either: z.union([z.literal("one"), z.strictObject({ two: z.number() })]).optional(),
});

const anyItem = fc.record(
  { id: fc.string({ maxLength: 6 }), size: fc.integer(), other: fc.integer() },
  { requiredKeys: ["id"] },
);
const anyResult = fc.record(
  {
    items: fc.array(anyItem),
    total: fc.oneof(fc.integer(), fc.constant(undefined)),
    inner: fc.record({ items: fc.array(anyItem, { maxLength: 3 }), kept: fc.integer() }, { requiredKeys: ["items"] }),
    either: fc.oneof(fc.constant("one"), fc.constant("two"), fc.record({ two: fc.integer() })),
    other: fc.integer(),
  },
  { requiredKeys: ["items"] },
);

/** With these it is too large for one step. */
const many = Array.from({ length: 600 }, () => ({ id: "many" }));

test("an answer, in one step or many, is what its schema makes of the result, or is refused as that would be", () => {
  fc.assert(
    fc.property(anyResult, fc.oneof(fc.integer(), fc.string()), fc.boolean(), (some, id, isLarge) => {
      const result = isLarge ? { ...some, items: [...many, ...some.items] } : some;
      const answer = inOneGo(writeAnswer(id, schema, result));
      const whole = schema.safeParse(result);
      assert.equal(answer.ok, whole.success);
      if (answer.ok)
        assert.deepEqual(
          JSON.parse(String(answer.frame)),
          JSON.parse(JSON.stringify({ jsonrpc: "2.0", id, result: whole.data })),
        );
    }),
  );
});

test("what does not fit is named with its whole path", () => {
  for (const before of [[{ id: "a" }], many]) {
    const answer = inOneGo(writeAnswer(1, schema, { items: [...before, { id: 2 }] }));
    const issue = `items.${before.length}.id: Invalid input: expected string, received number`;
    assert.deepEqual(answer.ok ? [] : answer.issues, [issue]);
  }
});

test("an answer of megabytes is one frame of text", async (t) => {
  const { services, full } = await startHarness(t);
  const roots = Array.from({ length: 5000 }, (_, index) => ({ ...fakeRoot, rootId: `root-ä-${index}` }));
  services.roots.snapshot = async () => ({ items: roots });
  const peer = await Peer.connect(full);
  let isBinary: boolean | undefined;
  peer.socket.on("message", (_, binary) => {
    isBinary = binary;
  });
  const { result } = await peer.call("events/subscribe");
  assert.equal(isBinary, false);
  assert.deepEqual(result.snapshot.roots, roots);
});
