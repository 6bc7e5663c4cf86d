import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { printable, printableName } from "../src/printable.js";

/** What no terminal, log or editor may get: controls, bidi, invisible and private characters, lone surrogates. */
const DANGEROUS = /\p{C}|\p{Zl}|\p{Zp}/u;

suite("printable", () => {
  const rows: readonly [string, string][] = [
    ["plain text", "plain text"],
    ["\x1b[2J\n\r\0", "\\x1b[2J\\x0a\\x0d\\x00"],
    ["\x7f\x9b", "\\x7f\\x9b"],
    ["\u202e\u2066\u200f\u061c", "\\u{202e}\\u{2066}\\u{200f}\\u{61c}"],
    ["\u2028\u2029\ufeff\u00ad", "\\u{2028}\\u{2029}\\u{feff}\\xad"],
    ["\u{e0041}\u180e", "\\u{e0041}\\u{180e}"],
    ["\\x1b", "\\\\x1b"],
    ["\ud800", "\\u{d800}"],
    ["gr\u00fc\u00dfe \u{1f600}", "gr\u00fc\u00dfe \u{1f600}"],
  ];
  for (const [text, shown] of rows) {
    test(`${JSON.stringify(shown)} is what is shown`, () => assert.equal(printable(text), shown));
  }

  test("nothing dangerous comes through, and the result is bounded in UTF-8", () => {
    const unit = fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), fc.constant("\u{1f600}"));
    const text = fc.array(unit, { maxLength: 80 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(text, fc.integer({ min: 4, max: 300 }), (raw, maxBytes) => {
        const shown = printable(raw, maxBytes);
        assert.doesNotMatch(shown, DANGEROUS);
        assert.ok(Buffer.byteLength(shown) <= maxBytes);
      }),
    );
  });

  test("a name of any bytes is shown without danger, and bounded", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const shown = printableName(Buffer.from(bytes).toString("latin1"));
        assert.doesNotMatch(shown, DANGEROUS);
        assert.ok(Buffer.byteLength(shown) <= 256);
      }),
    );
  });

  test("what is cut never ends in half a character", () => {
    for (let maxBytes = 4; maxBytes < 40; maxBytes += 1)
      assert.doesNotMatch(printable("\u{1f600}".repeat(50), maxBytes), /\p{Cs}/u, `cut to ${maxBytes} bytes`);
  });

  test("different names stay different while they are not cut", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 20 }), (a, b) => {
        const [left, right] = [a, b].map((bytes) => Buffer.from(bytes).toString("latin1")) as [string, string];
        fc.pre(left !== right);
        assert.notEqual(printableName(left), printableName(right));
      }),
      { numRuns: 500 },
    );
  });

  test("UTF-8 is shown as UTF-8, other bytes as what they are", () => {
    assert.equal(printableName(Buffer.from("gr\u00fc\u00df").toString("latin1")), "gr\u00fc\u00df");
    assert.equal(printableName("a\xff\\"), "a\\xff\\x5c");
  });
});
