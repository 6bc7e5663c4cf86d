import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { toJson } from "../../src/cli/context.js";
import { errorLines } from "../../src/cli/error-view.js";
import { errorOf, pathOf } from "../../src/cli/outcome.js";
import { parseErrorLine } from "../../src/cli/spawn.js";
import { StrataError } from "../../src/errors.js";
import { isOlder } from "../../src/version.js";
import { JOB_ID, makeJob, readyJob } from "./support.js";

const plain = { color: false };
const overlap = (details: object) =>
  new StrataError("LAYER_OVERLAP", "Cannot link the layers: 21 names are in two of them", {
    details: { policy: "c", complete: true, ...details },
    hint: "Do this.",
  }).toWire();

describe("an error for people", () => {
  it("is its message with its code, then the details, then the hint", () => {
    const error = new StrataError("ENTRY_TYPE", "Cannot unpack: a device", {
      details: { entry: "dev/null", layer: 2, platforms: ["linux/amd64", "linux/arm64"], inner: {} },
      retryAfterMs: 1500,
      hint: "Leave it out.",
    });
    assert.deepEqual(errorLines(error.toWire(), { ...plain, about: "oci:x" }), [
      "error: oci:x: Cannot unpack: a device [ENTRY_TYPE]",
      "  entry: dev/null",
      "  layer: 2",
      "  platforms: linux/amd64, linux/arm64",
      "  retry after: 1.5 s",
      "hint: Leave it out.",
    ]);
  });

  it("lists the conflicts of LAYER_OVERLAP with both layers, and how many more there are", () => {
    const sides = [
      { layer: 0, digest: `sha256:${"a".repeat(64)}`, type: "directory" },
      { layer: 2, digest: `sha256:${"b".repeat(64)}`, type: "file" },
    ];
    assert.deepEqual(errorLines(overlap({ total: 21, conflicts: [{ path: "bin", sides }] }), plain), [
      "error: Cannot link the layers: 21 names are in two of them [LAYER_OVERLAP]",
      "  bin: layer 0 sha256:aaaaaaaaaaaa… (directory), layer 2 sha256:bbbbbbbbbbbb… (file)",
      "  … and 20 conflicts more",
      "hint: Do this.",
    ]);
  });

  it("says that an early stop may not know them all", () => {
    const lines = errorLines(overlap({ complete: false, conflicts: [{ path: "bin", sides: [] }] }), plain);
    assert.deepEqual(lines.slice(1, 3), [
      "  bin",
      "  … and perhaps more: the install stopped at the first that it saw",
    ]);
  });

  it("survives details of any shape", () => {
    for (const conflicts of [null, 7, [null, 7, { path: 7 }, { path: "p", sides: [null, "x"] }]]) {
      assert.doesNotThrow(() => errorLines(overlap({ conflicts }), plain));
    }
  });

  it("escapes whatever an image may have put into it", () => {
    const hostile = "\u001b[2J\u202ex";
    const error = new StrataError("BAD_NAME", `Cannot unpack '${hostile}'`, {
      details: {
        [hostile]: hostile,
        list: [hostile],
        conflicts: [{ path: hostile, sides: [{ layer: hostile, type: hostile }] }],
      },
      hint: hostile,
    });
    for (const line of errorLines(error.toWire(), { ...plain, about: hostile })) {
      assert.doesNotMatch(line, /[\p{Cc}\u202e]/u);
    }
  });
});

describe("JSON for a terminal", () => {
  it("has no character that a terminal obeys, and says the same", () => {
    const value = { "\u009b2J": "\u007f\u202e\u2028\u001b日本" };
    assert.doesNotMatch(toJson(value, 0), /[\p{Cc}\u202e\u2028]/u);
    assert.deepEqual(JSON.parse(toJson(value, 2)), value);
  });
});

describe("a job that is over", () => {
  it("has no error when it is ready, and stands at the path of its name", () => {
    assert.equal(errorOf(readyJob()), undefined);
    assert.equal(pathOf(readyJob()), "/state/names/gcc-amd64");
    const { name: _, ...unnamed } = readyJob();
    assert.equal(pathOf(unnamed), "/state/roots/r1/tree");
  });

  it("has its own error with its id, or CANCELLED", () => {
    const error = new StrataError("NO_SPACE", "Cannot", { details: { free: 0 } }).toWire();
    assert.deepEqual(errorOf(makeJob({ state: "failed", error }))?.details, { free: 0, jobId: JOB_ID });
    assert.equal(errorOf(makeJob({ state: "cancelled" }))?.code, "CANCELLED");
  });
});

describe("a release", () => {
  const cases: readonly [version: string, own: string, older: boolean][] = [
    ["0.1.0", "0.1.0", false],
    ["0.0.9", "0.1.0", true],
    ["0.9.0", "0.10.0", true],
    ["1.0.0", "0.9.9", false],
    ["nonsense", "0.1.0", false],
  ];
  for (const [version, own, older] of cases) {
    it(`${version} is ${older ? "" : "not "}older than ${own}`, () => assert.equal(isOlder(version, own), older));
  }
});

describe("a line of the daemon's log", () => {
  it("is an error where it has a code of ours", () => {
    const line = JSON.stringify({
      level: "error",
      event: "serve.failed",
      code: "STORE_LOCKED",
      message: "Cannot lock",
      hint: "h",
    });
    assert.deepEqual(parseErrorLine(line)?.toWire().hint, "h");
    assert.equal(parseErrorLine(line)?.code, "STORE_LOCKED");
  });
  for (const line of [
    "",
    "{",
    "error: text",
    "null",
    '{"level":"info","code":"INTERNAL","message":"m"}',
    '{"level":"error","code":"X","message":"m"}',
  ]) {
    it(`${JSON.stringify(line)} is none`, () => assert.equal(parseErrorLine(line), undefined));
  }
});
