import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MAX_DOCUMENT_BYTES, MAX_JSON_CONTAINERS, MAX_JSON_DEPTH, MAX_JSON_KEYS } from "../../src/limits.js";
import { parseJson } from "../../src/oci/json.js";

test("what JSON.stringify writes is read back", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      const text = JSON.stringify(value);
      fc.pre(!text.includes('"__proto__"'));
      assert.deepEqual(parseJson(Buffer.from(text), "it"), JSON.parse(text));
    }),
  );
});

test("any bytes are JSON for us and for JSON.parse, or are refused with a code", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[[\]{}",:\\a1 ]*$/)), (text) => {
      try {
        assert.deepEqual(parseJson(Buffer.from(text), "it"), JSON.parse(text));
      } catch (error) {
        assert.equal((error as { code?: string }).code, "MANIFEST_INVALID");
      }
    }),
  );
});

const nested = (levels: number) => Buffer.from("[".repeat(levels) + "]".repeat(levels));

const keyed = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, index]));

test("nesting, keys and lists up to their limits are read", () => {
  parseJson(nested(MAX_JSON_DEPTH), "it");
  parseJson(Buffer.from(JSON.stringify(keyed(MAX_JSON_KEYS))), "it");
  parseJson(Buffer.from(JSON.stringify(Array(MAX_JSON_CONTAINERS - 1).fill([]))), "it");
});

const refused: readonly (readonly [string, Buffer])[] = [
  ["nesting beyond the limit", nested(MAX_JSON_DEPTH + 1)],
  ["a million levels", nested(1_000_000)],
  ["more keys than the limit", Buffer.from(JSON.stringify(keyed(MAX_JSON_KEYS + 1)))],
  ["more lists than the limit", Buffer.from(JSON.stringify(Array(MAX_JSON_CONTAINERS).fill([])))],
  ["a byte order mark", Buffer.from('\ufeff{"a":1}')],
  ["a key twice", Buffer.from('{"a":1,"a":1}')],
  ["a key twice, once with an escape", Buffer.from('{"layers":[],"\\u006cayers":[]}')],
  ["a key twice, deep within", Buffer.from('[{"a":{"b":[1,{"c":",","c":2}]}}]')],
  ["a key __proto__", Buffer.from('{"__proto__":{"polluted":true}}')],
  ["a key __proto__ with an escape", Buffer.from('{"\\u005f_proto__":{"polluted":true}}')],
  ["bytes that are not UTF-8", Buffer.from([0x22, 0xff, 0x22])],
  ["a string without an end", Buffer.from('{"a')],
  ["4 MB of quotes that escape each other", Buffer.from(`"${'\\"'.repeat(2_000_000)}`)],
  ["nothing", Buffer.alloc(0)],
  ["a comment", Buffer.from("{} // x")],
];
for (const [what, bytes] of refused) {
  test(`${what} is refused`, () => {
    assert.throws(() => parseJson(bytes, "it"), { code: "MANIFEST_INVALID" });
    assert.equal("polluted" in {}, false);
  });
}

test("the same key in two objects, and a value that equals a key, are fine", () => {
  assert.deepEqual(parseJson(Buffer.from('{"a":{"a":"a"},"b":[{"a":1},{"a":2}]}'), "it"), {
    a: { a: "a" },
    b: [{ a: 1 }, { a: 2 }],
  });
});

test("a document over the limit is too big, whatever it says", () => {
  assert.throws(() => parseJson(Buffer.alloc(MAX_DOCUMENT_BYTES + 1, " "), "it"), { code: "MANIFEST_TOO_BIG" });
});
