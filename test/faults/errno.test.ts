/** Some of the calls of a small install fail, one each time; `npm run faults errno` has every one of them fail. */
import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import { fileScope } from "../support/sandbox.js";
import { SweptNames } from "./change-sweep.js";
import { codeOf, SweptDaemon, type SweptErrno } from "./errno-sweep.js";
import { openWorkshop, skip } from "./workshop.js";

/** An install has about 150 calls: four of them for each errno, others for each. */
const STRIDE = 37;

suite("a file system call of a rollback or a removal fails", { skip }, () => {
  const scope = fileScope();
  let names: SweptNames;

  before(async () => {
    const { library, place } = await openWorkshop(scope);
    names = await SweptNames.start(scope, library, await place());
  });

  for (const change of ["rollback", "remove"] as const)
    test(`${change}: it is done, or answered with STORE_IO and nothing has changed`, async () => {
      const { faults, problems } = await names.sweep(change, "EIO", { first: 2, stride: 3 });
      assert.deepEqual(problems, []);
      assert.ok(faults >= 3, `only ${faults} calls were met`);
    });
});

suite("a file system call of an install fails", { skip }, () => {
  const scope = fileScope();
  let daemon: SweptDaemon;

  before(async () => {
    const { library, place } = await openWorkshop(scope);
    daemon = await SweptDaemon.start(scope, library, await place());
  });

  for (const [i, errno] of (Object.keys(codeOf) as SweptErrno[]).entries())
    test(`${errno}: the job says ${codeOf[errno]} or gets along, nothing half is left, and the same install works`, async () => {
      const { faults, problems } = await daemon.sweep({ errno, first: 3 + 7 * i, stride: STRIDE });
      assert.deepEqual(problems, []);
      assert.ok(faults >= 3, `only ${faults} calls were met`);
    });

  test("every call fails from one on: the job says so, and when the disk is well again the same install works", async () => {
    const { faults, problems } = await daemon.sweep({ errno: "EIO", first: 5, stride: STRIDE, fromThenOn: true });
    assert.deepEqual(problems, []);
    assert.ok(faults >= 3, `only ${faults} calls were met`);
  });

  test("behind all of it the store is sound, and nothing is left over", async () => {
    assert.deepEqual(await daemon.judge(), []);
  });
});
