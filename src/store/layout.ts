/**
 * Every path of the store (store.md): nothing else builds one. Ids are parsed before they come here, so no path can leave the
 * state directory.
 */
import { join } from "node:path";
import { type DiffId, type Digest, type DigestAlgorithm, digestAlgorithm, digestHex } from "../oci/digest.js";
import type { ScanPlace } from "../scan-tasks.js";

export const LAYOUT_VERSION = "1";
export const ALGORITHMS = ["sha256", "sha512"] as const;

/** What a staging directory holds; each part leaves it by one rename, or is removed with it. */
export interface StagingPaths {
  readonly directory: string;
  /** A blob that is being fetched. */
  readonly blob: string;
  /** The future layers/…: tree, changeset, layer.json. */
  readonly layer: string;
  /** The future roots/…: tree, root.json. */
  readonly root: string;
  readonly rootTree: string;
  readonly rootPlan: string;
  /** What a repair takes out of its way. */
  readonly aside: string;
  /** Of the future layer. */
  readonly layerTree: string;
  readonly changeset: string;
  readonly layerDocument: string;
  /** Where things are moved that are removed with this directory. */
  removed(count: number): string;
}

export class StoreLayout {
  readonly state: string;

  constructor(state: string) {
    this.state = state;
  }

  get version(): string {
    return join(this.state, "version");
  }
  get lock(): string {
    return join(this.state, "lock");
  }
  /** Pins, and the leases that clients hold. */
  get holds(): string {
    return join(this.state, "holds.json");
  }
  get layers(): string {
    return join(this.state, "layers");
  }
  get meta(): string {
    return join(this.state, "meta");
  }
  get rootMetas(): string {
    return join(this.meta, "roots");
  }
  get roots(): string {
    return join(this.state, "roots");
  }
  get names(): string {
    return join(this.state, "names");
  }
  get nameDocuments(): string {
    return join(this.names, ".meta");
  }
  get spills(): string {
    return join(this.state, "spill");
  }
  /** One more link to each file that layers share, by content, mode and time; none where they do not share. */
  get files(): string {
    return join(this.state, "files");
  }
  /** Of layers: trees of links that no root has taken yet. */
  get spares(): string {
    return join(this.state, "spares");
  }
  get documents(): string {
    return join(this.state, "blobs");
  }
  get journal(): string {
    return join(this.state, "journal");
  }
  get staging(): string {
    return join(this.state, "staging");
  }
  /** What documents said when they were read last (workers/memo.ts); all of it may be removed. */
  get memos(): string {
    return join(this.state, "memos");
  }
  memo(name: string): string {
    return join(this.memos, name);
  }

  /** Directories that exist in every store, outermost first. */
  get directories(): string[] {
    const { state, meta, rootMetas, roots, names, nameDocuments, memos, staging, spills, spares, journal } = this;
    const perAlgorithm = [this.layers, ...this.layerDirectories, this.documents, ...this.keptDirectories];
    const others = [meta, rootMetas, spills, spares, roots, names, nameDocuments, memos, journal, staging];
    return [state, ...perAlgorithm, ...others];
  }
  /** By the digest's algorithm. */
  get layerDirectories(): string[] {
    return ALGORITHMS.map((name) => join(this.layers, name));
  }
  /** Of manifests and configs. */
  get keptDirectories(): string[] {
    return ALGORITHMS.map((name) => join(this.documents, name));
  }
  /** All that may stand in the state directory itself: `lost+found` is the file system's, where it is mounted there. */
  get parts(): string[] {
    const { version, lock, holds, layers, meta, roots, names, spills, spares, files, documents, memos } = this;
    const { journal, staging } = this;
    const others = ["daemon.log", "lost+found"].map((name) => join(this.state, name));
    // What takes the lock writes beside it who has it.
    const locks = [lock, `${lock}.pid`];
    return [
      version,
      ...locks,
      holds,
      layers,
      meta,
      roots,
      names,
      spills,
      spares,
      files,
      documents,
      memos,
      journal,
      staging,
      ...others,
    ];
  }

  layer(diffId: DiffId): string {
    return join(this.layers, digestAlgorithm(diffId), digestHex(diffId));
  }
  layerTree(diffId: DiffId): string {
    return join(this.layer(diffId), "tree");
  }
  layerDocument(diffId: DiffId): string {
    return join(this.layer(diffId), "layer.json");
  }
  changeset(diffId: DiffId): string {
    return join(this.layer(diffId), "changeset");
  }
  /** What leads to a layer's tree from a root's: relative, so that a moved state directory still works. */
  layerFromRoot(diffId: DiffId): string {
    return join("..", "..", "..", "layers", digestAlgorithm(diffId), digestHex(diffId), "tree");
  }
  /** Further inodes of the layer's files, where the file system gives one no more links. */
  spill(diffId: DiffId): string {
    return join(this.spills, digestHex(diffId));
  }
  spare(diffId: DiffId): string {
    return join(this.spares, digestHex(diffId));
  }
  spareDocument(diffId: DiffId): string {
    return `${this.spare(diffId)}.json`;
  }
  layerMeta(diffId: DiffId): string {
    return join(this.meta, `${digestHex(diffId)}.json`);
  }
  /** Where a scan finds layers of one algorithm. */
  layerPlace(algorithm: DigestAlgorithm): ScanPlace<"layers"> {
    return {
      kind: "layers",
      prefix: `${algorithm}:`,
      document: [`${join(this.layers, algorithm)}/`, "/layer.json"],
      meta: [`${this.meta}/`, ".json"],
    };
  }
  get rootPlace(): ScanPlace<"roots"> {
    return {
      kind: "roots",
      prefix: "",
      document: [`${this.roots}/`, "/root.json"],
      meta: [`${this.rootMetas}/`, ".json"],
    };
  }
  get namePlace(): ScanPlace<"names"> {
    return { kind: "names", prefix: "", document: [`${this.nameDocuments}/`, ".json"], link: [`${this.names}/`, ""] };
  }

  rootMeta(rootId: string): string {
    return join(this.rootMetas, `${rootId}.json`);
  }
  root(rootId: string): string {
    return join(this.roots, rootId);
  }
  rootTree(rootId: string): string {
    return join(this.root(rootId), "tree");
  }
  rootDocument(rootId: string): string {
    return join(this.root(rootId), "root.json");
  }
  /** Where the root was planned. */
  rootPlan(rootId: string): string {
    return join(this.root(rootId), "plan");
  }

  name(name: string): string {
    return join(this.names, name);
  }
  /** What `names/<name>` holds: relative, so that a moved state directory still works. */
  nameTarget(rootId: string): string {
    return join("..", "roots", rootId, "tree");
  }
  nameDocument(name: string): string {
    return join(this.nameDocuments, `${name}.json`);
  }

  /** Numbers count from 1, and so many digits that names sort as they do. */
  journalSegment(number: number): string {
    return join(this.journal, `${String(number).padStart(8, "0")}.ndjson`);
  }
  /** The number in the name of a file of the journal; undefined where it is none of its segments. */
  journalSegmentNumber(file: string): number | undefined {
    const digits = /^(\d{8,12})\.ndjson$/.exec(file)?.[1];
    return digits === undefined ? undefined : Number(digits);
  }

  documentsOf(algorithm: DigestAlgorithm): string {
    return join(this.documents, algorithm);
  }
  document(digest: Digest): string {
    return join(this.documentsOf(digestAlgorithm(digest)), digestHex(digest));
  }

  stagingPaths(process: string, count: number): StagingPaths {
    const directory = join(this.staging, process, String(count));
    const root = join(directory, "root");
    const layer = join(directory, "layer");
    return {
      directory,
      blob: join(directory, "blob"),
      aside: join(directory, "aside"),
      layer,
      layerTree: join(layer, "tree"),
      changeset: join(layer, "changeset"),
      layerDocument: join(layer, "layer.json"),
      root,
      rootTree: join(root, "tree"),
      rootPlan: join(root, "plan"),
      removed: (count) => join(directory, String(count)),
    };
  }
}
