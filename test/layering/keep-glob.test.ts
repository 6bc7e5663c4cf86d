/** Which paths a glob of --no-hoist names. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { keepGlobs } from "../../src/layering/keep-glob.js";

const rows: readonly (readonly [globs: readonly string[], path: string, keeps: boolean])[] = [
  [[], "a", false],
  [["usr"], "usr", true],
  [["usr"], "usr/lib/x", true],
  [["usr"], "usrx", false],
  [["usr/lib"], "usr", false],
  [["/usr/./lib/"], "usr/lib", true],
  [["usr/*/x"], "usr/lib/x", true],
  [["usr/*/x"], "usr/lib/y/x", false],
  [["usr/*.so"], "usr/lib.so/below", true],
  [["**/lib"], "lib", true],
  [["**/lib"], "a/b/lib/c", true],
  [["usr/**"], "usr", false],
  [["usr/**"], "usr/a", true],
  [["a/**/b"], "a/b", true],
  [["a/**/b"], "a/x/y/b", true],
  [["a/**/b"], "a/xb", false],
  [["l?b"], "lib", true],
  [["l?b"], "l/b", false],
  [["a.c", "b+"], "abc", false],
  [["a.c", "b+"], "b+", true],
  [["[a]"], "a", false],
  [["é"], "\u00c3\u00a9", true],
  [["a\nb"], "a\nb", true],
];

suite("globs", () => {
  for (const [globs, path, keeps] of rows)
    test(`${JSON.stringify(globs)} ${keeps ? "keeps" : "does not keep"} ${JSON.stringify(path)}`, () => {
      assert.equal(keepGlobs(globs)(path), keeps);
    });
});
