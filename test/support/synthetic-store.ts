/**
 * A store of many small layers, roots and names, written straight to the disk: what thousands of installs would leave, in seconds.
 *
 * Every document, changeset and link is what the daemon writes for these layers; a checker finds nothing wrong. Roots share their
 * lowest layers, and more layers stand than roots use.
 */
import { createHash } from "node:crypto";
import { linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type DiffId, parseDiffId, parseDigest } from "../../src/oci/digest.js";
import { type Changeset, encodeChangeset } from "../../src/overlap/changeset.js";
import type { LayerMeta, NameDocument, RootDocument, RootMeta } from "../../src/store/documents.js";
import { LAYOUT_VERSION, StoreLayout } from "../../src/store/layout.js";
import { rootIdOf } from "../../src/store/roots.js";
import type { LayerDocument } from "../../src/tasks.js";

export interface StoreSize {
  readonly layers: number;
  readonly roots: number;
  /** Names beyond the roots give some roots a further name. */
  readonly names: number;
  /** True: documents and symlinks alone, which is all that a start looks at; no trees and no changesets. */
  readonly bare?: boolean;
}

const LAYERS_PER_ROOT = 10;
/** The lowest layers of each root are among the first hundredth of all. */
const BASES_PER_ROOT = 3;
const FILE_BYTES = 100;
const MTIME = 1_700_000_000;
const BOOT_ID = "00000000-0000-4000-8000-000000000000";
const START_MS = Date.parse("2026-01-01T00:00:00Z");

/** Files of a layer by path, every second one's in a directory. */
const filesOf = (layer: number): string[] =>
  layer % 2 === 0 ? [`file-${layer}`] : [`package-${layer}/data`, `package-${layer}/list`];

const contentOf = (path: string): string => `${path}\n`.padEnd(FILE_BYTES, ".");
const hexOf = (content: string | Buffer): string => createHash("sha256").update(content).digest("hex");
const at = (count: number): string => new Date(START_MS + count * 1000).toISOString();

export const syntheticName = (name: number): string => `app-${name}`;
export const syntheticReference = (name: number): string => `oci:/images/app-${name}:latest`;
export const syntheticDiffId = (layer: number): DiffId => parseDiffId(`sha256:${hexOf(`layer ${layer}`)}`);

/** Fills the state directory, which must be empty or missing. */
export function writeSyntheticStore(state: string, { layers, roots, names, bare = false }: StoreSize): void {
  const layout = new StoreLayout(state);
  for (const directory of layout.directories) mkdirSync(directory, { recursive: true });
  writeFileSync(layout.version, `${LAYOUT_VERSION}\n`);
  const stored = Array.from({ length: layers }, (_, index) => writeLayer(layout, index, bare));
  const assembled = Array.from({ length: roots }, (_, index) => writeRoot(layout, index, { stored, bare }));
  for (let index = 0; index < names; index += 1) writeName(layout, index, assembled);
}

function writeLayer(layout: StoreLayout, index: number, bare: boolean): LayerDocument {
  const diffId = syntheticDiffId(index);
  const files = filesOf(index);
  const parent = dirname(files[0] as string);
  const entries: Changeset[number][] = parent === "." ? [] : [{ type: "dir", path: parent, mode: 0o755, mtime: MTIME }];
  for (const path of files)
    entries.push({ type: "file", path, mode: 0o644, mtime: MTIME, size: FILE_BYTES, sha256: hexOf(contentOf(path)) });
  const changeset = [...encodeChangeset(entries)].join("");
  mkdirSync(layout.layer(diffId));
  if (!bare) {
    writeTree(layout.layerTree(diffId), entries);
    writeFileSync(layout.changeset(diffId), changeset, "latin1");
  }
  const [{ path: top, type } = { path: "", type: "dir" as const }] = entries;
  const document: LayerDocument = {
    schema: 1,
    diffId,
    tarBytes: 1024 * (entries.length + 2),
    decoder: "node:zlib",
    entries: entries.length,
    files: files.length,
    bytes: files.length * FILE_BYTES,
    whiteouts: 0,
    unresolved: 0,
    escapingSymlinks: 0,
    splitLinks: 0,
    sharedFiles: 0,
    sharedFileBytes: 0,
    dropped: { setid: 0, ownership: 0, xattrs: 0, aufs: 0 },
    topLevel: [[top, type]],
    changesetSha256: hexOf(changeset),
    createdAt: at(index),
  };
  const digest = parseDigest(`sha256:${hexOf(`blob ${index}`)}`);
  const meta: LayerMeta = {
    schema: 1,
    blobs: [{ digest, size: 1000, codec: "gzip" }],
    durable: true,
    bootId: BOOT_ID,
    lastUsedAt: at(index),
  };
  writeFileSync(layout.layerDocument(diffId), `${JSON.stringify(document)}\n`);
  writeFileSync(layout.layerMeta(diffId), `${JSON.stringify(meta)}\n`);
  return document;
}

/** Directories get their times when nothing more is made in them. */
function writeTree(tree: string, entries: Changeset): void {
  mkdirSync(tree);
  for (const { type, path } of entries) {
    if (type === "dir") mkdirSync(join(tree, path), { mode: 0o755 });
    else {
      writeFileSync(join(tree, path), contentOf(path), { mode: 0o444 });
      utimesSync(join(tree, path), MTIME, MTIME);
    }
  }
  for (const { type, path } of entries) if (type === "dir") utimesSync(join(tree, path), MTIME, MTIME);
}

function writeRoot(
  layout: StoreLayout,
  index: number,
  { stored, bare }: { readonly stored: readonly LayerDocument[]; readonly bare: boolean },
): RootDocument {
  const manifestDigest = parseDigest(`sha256:${hexOf(`manifest ${index}`)}`);
  const overlap = "c";
  const link = "hardlink";
  const rootId = rootIdOf({ manifestDigest, overlap, link, placements: [], name: syntheticName(index) });
  const tree = layout.rootTree(rootId);
  const used = layersOf(index, stored.length);
  mkdirSync(tree, { recursive: true });
  for (const layer of bare ? [] : used) linkLayer(layer, layout.layerTree(syntheticDiffId(layer)), tree);
  const documents = used.map((layer) => stored[layer] as LayerDocument);
  const document: RootDocument = {
    schema: 1,
    rootId,
    manifestDigest,
    platform: "linux/amd64",
    overlap,
    link,
    layers: documents.map(({ diffId }) => diffId),
    bytes: documents.reduce((sum, { bytes }) => sum + bytes, 0),
    entries: documents.reduce((sum, { entries }) => sum + entries, 0),
    createdAt: at(stored.length + index),
  };
  writeFileSync(layout.rootDocument(rootId), `${JSON.stringify(document)}\n`);
  const meta: RootMeta = { schema: 1, durable: true, bootId: BOOT_ID };
  writeFileSync(layout.rootMeta(rootId), `${JSON.stringify(meta)}\n`);
  return document;
}

function linkLayer(layer: number, from: string, tree: string): void {
  const files = filesOf(layer);
  const parent = dirname(files[0] as string);
  if (parent !== ".") mkdirSync(join(tree, parent), { mode: 0o755 });
  for (const path of files) linkSync(join(from, path), join(tree, path));
  if (parent !== ".") utimesSync(join(tree, parent), MTIME, MTIME);
}

/** Shared ones first, then the root's own; where the store has too few layers, roots share those as well. */
function layersOf(root: number, layers: number): number[] {
  const bases = Math.min(layers, Math.max(BASES_PER_ROOT, Math.floor(layers / 100)));
  const own = LAYERS_PER_ROOT - BASES_PER_ROOT;
  const lower = Array.from({ length: BASES_PER_ROOT }, (_, index) => (root + index) % bases);
  const upper = Array.from({ length: own }, (_, index) => bases + ((root * own + index) % Math.max(1, layers - bases)));
  return [...new Set([...lower, ...upper])].filter((layer) => layer < layers);
}

/** Every second name was another root before. */
function writeName(layout: StoreLayout, index: number, roots: readonly RootDocument[]): void {
  const name = syntheticName(index);
  const root = (which: number): RootDocument => roots[which % roots.length] as RootDocument;
  const history = index % 2 === 0 ? [root(index)] : [root(index + 1), root(index)];
  const document: NameDocument = {
    schema: 1,
    name,
    generations: history.map(({ rootId, manifestDigest, platform }, generation) => ({
      generation: generation + 1,
      rootId,
      reference: syntheticReference(index),
      platform,
      manifestDigest,
      at: at(2 * roots.length + 2 * index + generation),
    })),
  };
  writeFileSync(layout.nameDocument(name), `${JSON.stringify(document)}\n`);
  symlinkSync(layout.nameTarget(root(index).rootId), layout.name(name));
}
