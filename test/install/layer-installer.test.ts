/** Which layers are unpacked at once and which unpacks are shared, and what is left of one that never began. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { MessagePort } from "node:worker_threads";
import type { HeldSource } from "../../src/install/held-source.js";
import type { LayerProgress } from "../../src/install/image-progress.js";
import { LayerInstaller } from "../../src/install/layer-installer.js";
import type { LayerDescriptor } from "../../src/oci/documents.js";
import type { Pool } from "../../src/pool.js";
import type { Blob, ImageSource } from "../../src/sources/source.js";
import type { StagingPaths } from "../../src/store/layout.js";
import type { Store } from "../../src/store/store.js";
import type { UnpackTask } from "../../src/tasks.js";
import { until, within } from "../support/deadline.js";

const MB = 1024 * 1024;

/** Unpacks that end when they are told to; with `growth`, of downloads that have not ended. */
function stage(threads: number) {
  const work = mkdtempSync(join(tmpdir(), "layer-installer-"));
  let blobs = 0;
  const running = new Map<string, () => void>();
  const run = (_name: string, { blob }: { blob: Blob }) =>
    new Promise((resolve) => running.set(blob.path, () => resolve({ layer: {} }))).finally(() =>
      running.delete(blob.path),
    );
  const installer = new LayerInstaller({
    store: { sharedFiles: {} } as Store,
    pool: { threads, sharedBusy: new SharedArrayBuffer(4), run } as unknown as Pool,
    limits: { maxLayerBytes: 100 * MB } as never,
    decoders: "native",
  });
  const unpack = (name: string, length: number, growth?: SharedArrayBuffer): Promise<unknown> => {
    const blob = { path: name, offset: 0, length, digestIsOfBytes: true, done: Promise.resolve() };
    const source = {
      blob: async () => {
        blobs += 1;
        return growth === undefined ? blob : { ...blob, growth };
      },
    };
    const descriptor = { mediaType: "application/vnd.oci.image.layer.v1.tar", size: length };
    return installer.unpackAnew({ layer: join(work, name) } as StagingPaths, source as unknown as ImageSource, {
      layer: { descriptor } as Required<LayerDescriptor>,
      signal: new AbortController().signal,
    });
  };
  /** So many are unpacked, or wait until they may be. */
  const asked = async (layers: number): Promise<void> => {
    await until(`${layers} blobs are asked for`, () => blobs === layers);
    // From there on nothing is waited for but a turn to unpack.
    await nextTurn();
  };
  return { unpack, running, asked, end: () => rmSync(work, { recursive: true }) };
}

suite("layers at once", () => {
  test("large layers that are there have two threads of the pool each, the largest first", async () => {
    const { unpack, running, asked, end } = stage(3);
    const all = [unpack("a", 9 * MB), unpack("b", 8 * MB)];
    await asked(2);
    all.push(unpack("c", 6 * MB), unpack("d", 7 * MB));
    await asked(4);
    assert.deepEqual([...running.keys()].sort(), ["a", "b"]);
    running.get("a")?.();
    await all[0];
    assert.deepEqual([...running.keys()].sort(), ["b", "d"]);
    running.get("b")?.();
    await all[1];
    assert.deepEqual([...running.keys()].sort(), ["c", "d"]);
    for (const over of running.values()) over();
    await Promise.all(all);
    end();
  });

  test("small layers, and those that are still downloaded, are not held up by a large one", async () => {
    const { unpack, running, asked, end } = stage(2);
    const all = [unpack("large", 9 * MB)];
    await asked(1);
    all.push(unpack("small", MB - 1), unpack("growing", 9 * MB, new SharedArrayBuffer(64)));
    await asked(3);
    assert.deepEqual([...running.keys()].sort(), ["growing", "large", "small"]);
    for (const over of running.values()) over();
    await Promise.all(all);
    end();
  });
});

/** One layer, asked for as often as a test likes; its unpacks end when they are told to. */
function oneLayer() {
  const work = mkdtempSync(join(tmpdir(), "layer-installer-"));
  let staged = 0;
  const unpacks: { port: MessagePort; end: (failure?: Error) => void }[] = [];
  const run = (_name: string, { topLevel: port }: UnpackTask) =>
    new Promise((resolve, reject) => {
      unpacks.push({ port, end: (failure) => (failure === undefined ? resolve({ layer: {} }) : reject(failure)) });
    });
  const installer = new LayerInstaller({
    store: {
      sharedFiles: {},
      layers: { find: () => undefined, commit: async () => undefined },
      staging: {
        with: (use: (paths: object) => Promise<unknown>) => use({ layer: join(work, String(staged++)) }),
      },
    } as unknown as Store,
    pool: { threads: 2, sharedBusy: new SharedArrayBuffer(4), run } as unknown as Pool,
    limits: { maxLayerBytes: 100 * MB } as never,
    decoders: "native",
  });
  const blob = { path: "blob", offset: 0, length: 1, digestIsOfBytes: true, done: Promise.resolve() };
  const source = { blob: async () => blob };
  const install = (signal = new AbortController().signal) => {
    const told: Partial<LayerProgress>[] = [];
    const descriptor = { mediaType: "application/vnd.oci.image.layer.v1.tar", size: 1 };
    const installed = installer.install({
      layer: { descriptor } as LayerDescriptor,
      source: { use: (use: (open: object) => Promise<unknown>) => use(source) } as unknown as HeldSource,
      from: "here",
      signal,
      progress: (change) => told.push(change),
      topLevel: () => undefined,
    });
    return { installed, told };
  };
  return { unpacks, install, end: () => rmSync(work, { recursive: true }) };
}

suite("one layer, asked for more than once", () => {
  test("who joins an unpack is told of it, also where one that was given up ended after that began", async () => {
    const { unpacks, install, end } = oneLayer();
    const giving = new AbortController();
    const first = install(giving.signal);
    await until("the first is unpacked", () => unpacks.length === 1);
    giving.abort();
    await nextTurn();
    const second = install();
    await until("the second is unpacked", () => unpacks.length === 2);
    unpacks[0]?.end(new Error("given up"));
    await assert.rejects(first.installed);
    const third = install();
    unpacks[1]?.end();
    await Promise.all([second.installed, third.installed]);
    assert.equal(unpacks.length, 2);
    assert.deepEqual([second.told[0]?.reused, third.told[0]?.reused], [false, true]);
    end();
  });

  test("the port of an unpack that no thread got is closed", async () => {
    const { unpacks, install, end } = oneLayer();
    const { installed } = install();
    await until("it waits for a thread", () => unpacks.length === 1);
    const { port, end: over } = unpacks[0] as (typeof unpacks)[0];
    const closed = once(port, "close");
    over(new Error("cancelled while it waited"));
    await assert.rejects(installed);
    await within("the port is closed", closed);
    end();
  });
});
