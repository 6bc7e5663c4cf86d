import assert from "node:assert/strict";
import { openSync } from "node:fs";
import { suite, test } from "node:test";
import { codeTable, errorCodes, isErrorCode, StrataError, systemErrorCode, toStrataError } from "../src/errors.js";

const exits: Readonly<Record<string, readonly number[]>> = {
  request: [64, 69, 75, 76, 77, 78, 79, 130],
  registry: [69, 75, 79, 80, 81],
  content: [65],
  store: [74, 75, 77],
  internal: [70],
};

suite("errors", () => {
  test("each code has an exit code of its kind, and is retryable where its exit code says so", () => {
    for (const code of errorCodes) {
      const { kind, exitCode, retryable } = codeTable[code];
      assert.ok(exits[kind]?.includes(exitCode), `${code}: ${exitCode} is no exit code of ${kind}`);
      assert.equal(retryable, exitCode === 75 || code === "WORKER_CRASHED", code);
      assert.match(code, /^[A-Z][A-Z_]+$/);
    }
  });

  test("only the table's own keys are codes", () => {
    for (const text of ["constructor", "__proto__", "toString", "", "store_io"]) assert.equal(isErrorCode(text), false);
    assert.equal(isErrorCode("STORE_IO"), true);
  });

  test("an error crosses the wire and comes back the same, without its cause", () => {
    const error = new StrataError("BUSY", "Cannot start the job: too many", {
      details: { active: 3 },
      retryAfterMs: 250,
      phase: "queue",
      hint: "later",
      cause: new Error("secret"),
    });
    const wire = JSON.parse(JSON.stringify(error.toWire()));
    assert.deepEqual(StrataError.fromWire(wire).toWire(), error.toWire());
    assert.doesNotMatch(JSON.stringify(wire), /secret|stack/);
  });

  test("details are added, never lost", () => {
    const error = new StrataError("TAR_PAX", "x", { details: { entryIndex: 1 } }).with({ layerDigest: "d" });
    assert.deepEqual(error.options.details, { entryIndex: 1, layerDigest: "d" });
  });

  const system = [
    ["ENOSPC", "NO_SPACE", "Cannot write: no space or no inodes are left (ENOSPC)"],
    ["EDQUOT", "NO_SPACE", "Cannot write: the quota is used up (EDQUOT)"],
    ["EACCES", "STORE_NOT_WRITABLE", "Cannot write: EACCES"],
    ["EROFS", "STORE_NOT_WRITABLE", "Cannot write: EROFS"],
    ["EIO", "STORE_IO", "Cannot write: EIO"],
  ] as const;
  for (const [errno, code, said] of system) {
    test(`${errno} becomes ${code} and names itself`, () => {
      const thrown = Object.assign(new Error("/secret/path"), { code: errno, errno: -1 });
      const error = toStrataError(thrown, "Cannot write");
      assert.deepEqual([error.code, error.message, error.options.details], [code, said, { errno }]);
    });
  }

  test("a real failure of the system is one, and an argument that Node refuses is none", () => {
    assert.throws(
      () => openSync("/nowhere/at/all", "r"),
      (error) => systemErrorCode(error) === "ENOENT",
    );
    assert.throws(
      () => openSync("a\0b", "r"),
      (error) => systemErrorCode(error) === undefined && toStrataError(error).code === "INTERNAL",
    );
  });

  test("whatever is thrown becomes an error with a code", () => {
    for (const thrown of [undefined, null, 5, "text", {}, new Error("x"), Object.create(null), Symbol("s")])
      assert.equal(toStrataError(thrown).code, "INTERNAL");
  });
});
