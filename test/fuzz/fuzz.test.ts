/** A short run of the fuzzer, always the same; `npm run fuzz` makes long ones. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { toolOrSkip } from "../support/tools.js";
import { fuzz } from "./fuzz.js";

const skip = toolOrSkip("tar").skip || toolOrSkip("python3").skip;

test("what the guard accepts of nearly right archives, GNU tar and Python list as it does", { skip }, async () => {
  const { accepted, refusedByThem, differences } = await fuzz({ runs: 1500, seed: 20261124 });
  assert.deepEqual(
    differences.map(({ reader, ours, theirs, archive }) => ({
      reader,
      ours,
      theirs,
      archive: archive.toString("base64"),
    })),
    [],
  );
  assert.ok(accepted > 300, `only ${accepted} were accepted`);
  assert.ok(refusedByThem < accepted / 10, `${refusedByThem} refusals of ${accepted}`);
});
