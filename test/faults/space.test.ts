/** Some sizes of a disk that is too small; `npm run faults space` goes through all of them, page by page and inode by inode. */
import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import { smallTmpfs } from "../support/file-systems.js";
import { fileScope } from "../support/sandbox.js";
import { SmallDisk } from "./space-sweep.js";

const scope = fileScope();
const place = await smallTmpfs(scope, { megabytes: 64, inodes: 10_000 });

suite("a disk that ends anywhere in an install", { skip: place.skip }, () => {
  let disk: SmallDisk;

  before(async () => {
    disk = await SmallDisk.start(scope, place.directory ?? "");
  });

  for (const sweep of [
    { of: "pages", first: 1, stride: 43 },
    { of: "inodes", first: 1, stride: 9 },
  ] as const)
    test(`after so many ${sweep.of}: NO_SPACE or ready, nothing half is left, and with room the same install works`, async () => {
      const { refused, problems } = await disk.sweep(sweep);
      assert.deepEqual(problems, []);
      assert.ok(refused >= 3, `${refused} were refused`);
    });

  test("behind all of it the store is sound, and nothing is left over", async () => {
    assert.deepEqual(await disk.judge(), []);
  });
});
