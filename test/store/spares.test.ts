/** Spares in a store without a daemon: what of them is out of the way when. */
import assert from "node:assert/strict";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryDirectory } from "../protocol/harness.js";
import { commitLayer, layerDocument, openStore } from "./opened-store.js";

test("who gives up spares that another is removing waits for their room, too", async (t) => {
  let goOn = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const { store } = await openStore(await temporaryDirectory(t), {
    removeTree: async (path) => {
      if (path.includes("/spares/")) await gate;
      await rm(path, { recursive: true });
    },
  });
  const layer = layerDocument("base", 1);
  await commitLayer(store, layer);
  await store.staging.with(async ({ rootTree }) => {
    await mkdir(join(rootTree, "base"), { recursive: true });
    await writeFile(join(rootTree, "base/file"), "");
    const linked = { files: 1, copied: 0, copiedBytes: 0 };
    await store.spares.put(rootTree, { layer, linked, signal: new AbortController().signal });
  });
  const ended: string[] = [];
  const giveUp = async (who: string) => {
    await store.spares.shrink(0);
    ended.push(who);
  };
  const both = [giveUp("first"), giveUp("second")];
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual([store.spares.has(layer.diffId), ended], [false, []]);
  goOn();
  await Promise.all(both);
  assert.deepEqual(await readdir(store.layout.spares), []);
});
