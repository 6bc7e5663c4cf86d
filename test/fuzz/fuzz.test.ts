/** A short run of the fuzzer, always the same; `npm run fuzz` makes long ones. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { toolOrSkip } from "../support/tools.js";
import { fuzz } from "./fuzz.js";

const skip = ["tar", "bsdtar", "python3"].map((name) => toolOrSkip(name).skip).find(Boolean) ?? false;

test("what the guard accepts of nearly right archives, those of real writers among them, GNU tar, bsdtar and Python list as it does", {
  skip,
}, async () => {
  const { accepted, refusedByThem, differences } = await fuzz({ runs: 2000, seed: 20261124 });
  assert.deepEqual(
    differences.map(({ reader, ours, theirs, archive }) => ({
      reader,
      ours,
      theirs,
      archive: archive.toString("base64"),
    })),
    [],
  );
  assert.ok(accepted > 600, `only ${accepted} were accepted`);
  assert.ok(refusedByThem < accepted / 10, `${refusedByThem} refusals of ${accepted}`);
});
