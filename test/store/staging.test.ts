/** What a piece of work leaves in staging, and who removes it. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { StagingPaths } from "../../src/store/layout.js";
import { lastFirst, Sandbox } from "../support/sandbox.js";
import { openStore } from "./opened-store.js";

test("a thread is asked to remove what is left, and not for a directory that all has left", async (t) => {
  const state = (await Sandbox.create(lastFirst(t))).stateDir;
  const asked: string[] = [];
  const removeTree = async (path: string): Promise<void> => {
    asked.push(path);
    await rm(path, { recursive: true });
  };
  const { store } = await openStore(state, { removeTree });
  const used: StagingPaths[] = [];
  await store.staging.with(async (paths) => {
    used.push(paths);
    await mkdir(paths.root);
    await rename(paths.root, join(state, "roots", "elsewhere"));
  });
  assert.deepEqual(asked, []);
  await store.staging.with(async (paths) => {
    used.push(paths);
    await writeFile(paths.blob, "a blob");
  });
  assert.deepEqual(asked, [used[1]?.directory]);
  for (const { directory } of used) assert.equal(existsSync(directory), false);
});
