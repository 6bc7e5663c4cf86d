/**
 * A store on the disk without a daemon: opened over a directory, with roots and layers that hold next to nothing.
 */
import { createHash } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { StrataError } from "../../src/errors.js";
import { createLog, type LogFields } from "../../src/log.js";
import { parseDiffId, parseDigest } from "../../src/oci/digest.js";
import type { ScanTask } from "../../src/scan-tasks.js";
import type { RootDocument } from "../../src/store/documents.js";
import { Store, type StoreOptions } from "../../src/store/store.js";
import type { ScanWorkers } from "../../src/store/store-scan.js";
import type { LayerDocument, Outcome } from "../../src/tasks.js";
import list from "../../workers/list.js";
import scan from "../../workers/scan.js";
import strays from "../../workers/strays.js";

export interface OpenedStore {
  readonly store: Store;
  readonly logged: LogFields[];
}

/** Opens what stands in `state`, as a daemon does at its start; on a machine without sync(1), unless `options` say otherwise. */
export async function openStore(state: string, options: Partial<StoreOptions> = {}): Promise<OpenedStore> {
  const logged: LogFields[] = [];
  const store = new Store(state, {
    bootId: "boot",
    removeTree: (path) => rm(path, { recursive: true, force: true }),
    removeBehind: (path) => rm(path, { recursive: true, force: true }),
    list: listing,
    strays: (task) => onThisThread(strays(task)),
    scan: scanning,
    syncFileSystem: async () => false,
    dedup: "off",
    sweepFiles: async () => ({ kept: 0, removed: 0, removedBytes: 0, strangers: 0 }),
    checkTree: async () => ({ findings: [], total: 0 }),
    log: createLog("debug", (line) => logged.push(JSON.parse(line))),
    ...options,
  });
  await store.open();
  return { store, logged };
}

export const listing: ScanWorkers["list"] = (task) => onThisThread(list(task));
/** However lately they were changed: a test cannot make documents older. */
export const settled = (task: ScanTask): ScanTask =>
  task.memo === undefined ? task : { ...task, memo: { ...task.memo, settledBeforeMs: Number.POSITIVE_INFINITY } };
export const scanning: ScanWorkers["scan"] = (task) => onThisThread(scan(task));

/** What a worker gave, as the pool hands it on. */
async function onThisThread<Result>(working: Promise<Outcome<Result>>): Promise<Result> {
  const outcome = await working;
  if (!outcome.ok) throw StrataError.fromWire(outcome.error);
  return outcome.value;
}

const hexOf = (text: string): string => createHash("sha256").update(text).digest("hex");
export const digestOf = (text: string) => parseDigest(`sha256:${hexOf(text)}`);
export const diffIdOf = (text: string) => parseDiffId(`sha256:${hexOf(text)}`);

let instants = Date.parse("2026-01-01T00:00:00Z");
/** Each later than the one before. */
const nextTime = (): string => {
  instants += 1000;
  return new Date(instants).toISOString();
};

export function layerDocument(name: string, bytes: number): LayerDocument {
  return {
    schema: 1,
    diffId: diffIdOf(name),
    tarBytes: bytes,
    bytes,
    entries: 1,
    files: 1,
    topLevel: [[name, "file"]],
    whiteouts: 0,
    unresolved: 0,
    dropped: { setid: 0, ownership: 0, xattrs: 0, aufs: 0 },
    escapingSymlinks: 0,
    splitLinks: 0,
    sharedFiles: 0,
    sharedFileBytes: 0,
    decoder: "none",
    changesetSha256: hexOf("changeset"),
    createdAt: nextTime(),
  };
}

export function rootDocument(rootId: string, fields: Partial<RootDocument> = {}): RootDocument {
  return {
    schema: 1,
    rootId,
    manifestDigest: digestOf(rootId),
    platform: "linux/amd64",
    overlap: "c",
    link: "hardlink",
    layers: [],
    bytes: 0,
    entries: 0,
    createdAt: nextTime(),
    ...fields,
  };
}

/** Publishes a root as an install does; nothing where it stands. */
export async function commitRoot(store: Store, document: RootDocument): Promise<void> {
  if (await store.roots.stands(document.rootId)) return;
  await store.staging.with(async (paths) => {
    await mkdir(paths.rootTree, { recursive: true });
    await store.roots.commit(paths.root, document);
  });
}

export async function commitLayer(store: Store, document: LayerDocument): Promise<void> {
  await store.staging.with(async (paths) => {
    await mkdir(`${paths.layer}/tree`, { recursive: true });
    await writeFile(`${paths.layer}/layer.json`, JSON.stringify(document));
    await store.layers.commit(paths.layer, document, { digest: digestOf(document.diffId), size: 1, codec: "gzip" });
  });
}

/** Installs the root of that id under a name. */
export async function install(store: Store, name: string, rootId: string, reference = `oci:/images:${rootId}`) {
  const document = rootDocument(rootId);
  await commitRoot(store, document);
  const { platform, manifestDigest } = document;
  return store.name(name, { rootId, reference, platform, manifestDigest });
}
