import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { formatSize, parseSize } from "../../src/byte-size.js";
import { formatAge, formatDuration, parseDuration } from "../../src/cli/duration.js";
import { RateMeter } from "../../src/cli/rate.js";
import { formatTable } from "../../src/cli/tables.js";
import { clip, columnsOf, paint, plural, shortDigest, shown } from "../../src/cli/text.js";

describe("a size that a person writes", () => {
  it("is a number of bytes, with or without a unit", () => {
    const sizes = { "0": 0, "1000000": 1e6, "500MB": 5e8, "500 kB": 5e5, "1.5GiB": 1.5 * 2 ** 30, "7B": 7 };
    for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseSize(text), bytes, text);
  });

  it("is nothing else", () => {
    for (const text of ["", "much", "-1", "1e9", "5 G", "5gib", "1,5GB", "9999999TiB", " 1", "GiB"])
      assert.equal(parseSize(text), undefined, text);
  });
});

describe("a duration on the command line", () => {
  const good: readonly [text: string, ms: number][] = [
    ["30s", 30_000],
    ["30", 30_000],
    ["5m", 300_000],
    ["5min", 300_000],
    ["1.5h", 5_400_000],
    ["250ms", 250],
    ["250 ms", 250],
    ["0.5", 500],
    ["24h", 86_400_000],
  ];
  for (const [text, ms] of good) it(`'${text}' is ${ms} ms`, () => assert.equal(parseDuration(text, "--timeout"), ms));

  const bad = [
    "",
    "0",
    "0s",
    "-1",
    "1d",
    "s",
    "1 2",
    "1e9",
    "Infinity",
    "NaN",
    "999999h",
    "1,5s",
    "0.4ms",
    "\u001b[2J",
  ];
  for (const text of bad) {
    it(`${JSON.stringify(text)} is refused`, () => {
      assert.throws(() => parseDuration(text, "--timeout"), {
        code: "USAGE",
        message: /^Cannot read --timeout: '[ -~]*' is no/,
      });
    });
  }
});

describe("a duration for people", () => {
  const cases: readonly [ms: number, text: string][] = [
    [0, "0 ms"],
    [-5, "0 ms"],
    [34.4, "34 ms"],
    [999, "999 ms"],
    [3000, "3 s"],
    [3449, "3.4 s"],
    [9960, "10 s"],
    [59_400, "59 s"],
    [59_900, "1 min"],
    [184_000, "3 min 4 s"],
    [3_600_000, "1 h"],
    [18_180_000, "5 h 3 min"],
    [1_036_800_000, "12 days"],
  ];
  for (const [ms, text] of cases) it(`${ms} ms is ${text}`, () => assert.equal(formatDuration(ms), text));

  const nowMs = Date.parse("2026-01-10T00:00:00Z");
  const ages: readonly [secondsAgo: number, text: string][] = [
    [-60, "just now"],
    [0, "just now"],
    [12, "12 s ago"],
    [300, "5 min ago"],
    [3 * 3600, "3 h ago"],
    [9 * 86_400, "9 days ago"],
  ];
  for (const [seconds, text] of ages) {
    it(`${seconds} s before now is ${text}`, () => {
      assert.equal(formatAge(new Date(nowMs - seconds * 1000).toISOString(), nowMs), text);
    });
  }
});

describe("a size for people", () => {
  const cases: readonly [bytes: number, text: string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [999_949, "999.9 kB"],
    [999_950, "1.0 MB"],
    [34_500_000, "34.5 MB"],
    [2_000_000_000_000_000_000, "2000.0 PB"],
  ];
  for (const [bytes, text] of cases) it(`${bytes} bytes are ${text}`, () => assert.equal(formatSize(bytes), text));
});

describe("text for a terminal", () => {
  it("is cut to columns, counting what is not ASCII as wide", () => {
    assert.equal(clip("abcdef", 6), "abcdef");
    assert.equal(clip("abcdef", 5), "abcd~");
    assert.equal(clip("日本語", 6), "日本語");
    assert.equal(clip("日本語", 5), "日本~");
    assert.equal(clip("日本語", 4), "日~");
    assert.equal(clip("abc", 1), "~");
    assert.equal(clip("abc", 0), "");
  });

  it("never gets wider than it may, for any text and width", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "grapheme" }),
        fc.nat(50),
        (text, columns) => columnsOf(clip(text, columns)) <= columns,
      ),
    );
  });

  it("keeps the backslashes of what is escaped, and escapes what is not", () => {
    assert.equal(shown("a\\x1b[2J"), "a\\x1b[2J");
    assert.equal(shown("a\u001b[2J\\n"), "a\\x1b[2J\\n");
    assert.equal(shown("x".repeat(20), 10), `${"x".repeat(10)}…`);
  });

  it("shows 12 digits of a digest, escaped", () => {
    assert.equal(shortDigest(`sha256:${"0123456789abcdef".repeat(4)}`), "0123456789ab");
    assert.equal(shortDigest("\u001b[31m"), "\\x1b[31m");
  });

  it("is coloured only where colours are wanted", () => {
    assert.equal(paint("x", "red", true), "\u001b[31mx\u001b[0m");
    assert.equal(paint("x", "red", false), "x");
    assert.equal(paint("x", undefined, true), "x");
  });

  it("counts with the right noun", () => {
    assert.deepEqual([plural(0, "layer"), plural(1, "layer"), plural(2, "layer")], ["0 layers", "1 layer", "2 layers"]);
  });
});

describe("a table", () => {
  it("is aligned, without borders, and keeps its columns where a cell is empty", () => {
    const rows = [
      ["gcc", "", "12"],
      ["日本", "x", "3"],
    ];
    assert.deepEqual(formatTable(["NAME", "GEN", "SIZE"], rows), ["NAME  GEN  SIZE", "gcc   -    12", "日本  x    3"]);
  });

  it("is only its rows without a header, and nothing without rows", () => {
    assert.deepEqual(formatTable(undefined, [["a", "b"]]), ["a  b"]);
    assert.deepEqual(formatTable(undefined, []), []);
  });
});

describe("the rate", () => {
  it("is unknown at first, then that of the last seconds", () => {
    const rate = new RateMeter();
    rate.add(0, 0);
    assert.equal(rate.bytesPerSecond, undefined);
    rate.add(400, 400);
    assert.equal(rate.bytesPerSecond, undefined);
    rate.add(1000, 2000);
    assert.equal(rate.bytesPerSecond, 2000);
    rate.add(10_000, 2000);
    rate.add(11_000, 2000);
    assert.equal(rate.bytesPerSecond, undefined);
  });

  it("begins anew when the count falls", () => {
    const rate = new RateMeter();
    rate.add(0, 5000);
    rate.add(1000, 10);
    assert.equal(rate.bytesPerSecond, undefined);
    rate.add(2000, 110);
    assert.equal(rate.bytesPerSecond, 100);
  });
});
