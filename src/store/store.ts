/**
 * The store as a whole: opened under its lock, swept, scanned into memory; then its layers, roots, names, documents and staging.
 *
 * Owns what concerns more than one of them: a root is only removed when no name holds it, a name only flips to a root that
 * stands. Collection, verification, journal and repair find their places beside the files here.
 */
import { readFile } from "node:fs/promises";
import { ensureDirectory } from "../ensure-directory.js";
import { StrataError, systemErrorCode } from "../errors.js";
import type { Log } from "../log.js";
import { type Folding, foldName } from "../overlap/name-folding.js";
import { printable } from "../printable.js";
import { SharedLook } from "../shared-look.js";
import { syncParent, writeAtomically } from "./documents.js";
import { type NewGeneration, rollbackError } from "./generations.js";
import { type Hold, Holds } from "./holds.js";
import { KeptDocuments } from "./kept-documents.js";
import { Layers } from "./layers.js";
import { LAYOUT_VERSION, StoreLayout } from "./layout.js";
import { Leases } from "./leases.js";
import { listStore, listStrays } from "./listing.js";
import { Mutex } from "./mutex.js";
import { type Named, Names, type RolledBack } from "./names.js";
import { probeFolding, probeLink, probeReflink } from "./probes.js";
import { Roots } from "./roots.js";
import { SharedFiles, type SharedFilesOptions } from "./shared-files.js";
import { Spares } from "./spares.js";
import { type RemoveTree, Staging } from "./staging.js";
import { type ScanWorkers, StoreScan } from "./store-scan.js";
import { type CheckTree, judgeSuspects } from "./suspects.js";
import { sweepStrays, sweepTemporaries } from "./sweep.js";
import { StoreUsage } from "./usage.js";

export interface StoreOptions extends SharedFilesOptions, ScanWorkers {
  readonly bootId: string;
  readonly removeTree: RemoveTree;
  /** As `removeTree`, of what nobody waits for. */
  readonly removeBehind: RemoveTree;
  /** Makes everything written so far survive a power cut; false where this machine cannot. */
  readonly syncFileSystem: () => Promise<boolean>;
  readonly checkTree: CheckTree;
  readonly log: Log;
}

export class Store {
  readonly layout: StoreLayout;
  readonly layers: Layers;
  readonly roots: Roots;
  readonly names: Names;
  readonly staging: Staging;
  readonly documents: KeptDocuments;
  readonly sharedFiles: SharedFiles;
  readonly spares: Spares;
  readonly holds: Holds;
  readonly leases = new Leases();
  /** Reckoned as layers and roots come, from the scan on. */
  readonly usage = new StoreUsage((diffId) => this.layers.bytesOf(diffId));
  /** What the file system makes no difference of; undefined where it keeps all names apart. */
  folding: Folding | undefined;
  /** Whether its file system lets two files share blocks. */
  canReflink = false;
  readonly #options: StoreOptions;
  /** Names and roots change one at a time: between looking whether a root stands and flipping a name to it, nothing else may. */
  readonly #changes = new Mutex();
  readonly #syncs = new SharedLook<boolean>();

  constructor(state: string, options: StoreOptions) {
    this.layout = new StoreLayout(state);
    this.layers = new Layers(this.layout, options);
    this.roots = new Roots(this.layout, options);
    this.names = new Names(this.layout, options.log);
    this.staging = new Staging(this.layout, options);
    this.documents = new KeptDocuments(this.layout, this.staging);
    this.sharedFiles = new SharedFiles(this.layout, this.staging, options);
    this.spares = new Spares(this.layout, { ...options, staging: this.staging });
    this.holds = new Holds(this.layout.holds, options);
    this.#options = options;
    const { usage, spares } = this;
    this.layers.watch({
      added: (layer) => usage.addLayer(layer),
      removed: (layer) => {
        usage.removeLayer(layer);
        void spares.drop(layer.diffId);
      },
    });
    this.roots.watch({ added: (root) => usage.addRoot(root), removed: (root) => usage.removeRoot(root) });
  }

  /** Makes what is missing, sweeps, scans; all of it may be cut short, and is done by the next. The caller holds the store's lock. STORE_VERSION, STORE_NOT_WRITABLE, STORE_SPLIT_MOUNT. */
  async open(): Promise<void> {
    for (const directory of this.layout.directories) await ensureDirectory(directory, 0o755);
    await this.sharedFiles.prepare();
    await this.#checkVersion();
    // Before anything is written: a disk that is full may be full of this.
    const staged = await this.staging.sweep();
    const listed = await listStore(this.layout, this.#options);
    const swept = await sweepTemporaries(this.layout, listed);
    await this.#probe();
    await this.holds.read();
    const scan = new StoreScan(this.layout, this.#options, this.#options.log);
    await scan.start();
    const [names] = await Promise.all([
      this.names.scan(scan, listed.names),
      this.layers.scan(scan, listed.layers),
      this.roots.scan(scan, listed.roots),
    ]);
    const strays = await listStrays(this.layout, listed, { strays: this.#options.strays, told: scan.metas });
    const orphans = await sweepStrays(this.staging, strays);
    const judged = await judgeSuspects(this, this.#options);
    if (judged.dropped.layers > 0) await this.sharedFiles.forget();
    await this.names.adopt(names, {
      standing: (rootId) => this.roots.get(rootId) !== undefined,
      folds: this.folding === undefined ? (name) => name : foldName(this.folding),
    });
    await scan.sweepMemos();
    await this.spares.open((diffId) => this.layers.get(diffId)?.document);
    this.#options.log.info("store.opened", {
      layers: this.layers.size,
      roots: this.roots.size,
      names: this.names.size,
      read: scan.read,
      recalled: scan.recalled,
      swept: staged + swept,
      orphans,
      ...judged,
    });
  }

  /** Points a name at a root that stands; undefined where the root was removed in the meantime. INVALID_NAME. */
  name(name: string, next: NewGeneration): Promise<Named | undefined> {
    return this.#changes.run(async () => {
      this.refuseFoldedName(name);
      const stands = this.names.leadsTo(name, next) || (await this.roots.stands(next.rootId));
      return stands && this.roots.get(next.rootId) !== undefined ? this.names.set(name, next) : undefined;
    });
  }

  /** INVALID_NAME where the file system takes it for another that is there: who follows one path would find the other's root. */
  refuseFoldedName(name: string): void {
    if (this.folding === undefined) return;
    const other = this.names.foldedLike(name);
    if (other === undefined) return;
    const fact = `to the file system it is the same as ${other}`;
    throw new StrataError("INVALID_NAME", `Cannot give a root the name ${name}: ${fact}`);
  }

  /**
   * Makes an earlier generation of a name current again, or `generation`, as far as its root stands; once for each call, in the
   * order of arrival. UNKNOWN_NAME, UNKNOWN_ROOT.
   */
  rollback(name: string, generation: number | undefined): Promise<RolledBack> {
    return this.#changes.run(async () => {
      const to = this.names.rollbackTarget(name, generation);
      if (!(await this.roots.stands(to.rootId)))
        throw rollbackError(name, `the root of generation ${to.generation} is gone`);
      return this.names.rollback(name, to);
    });
  }

  /** Removes a name with its generations, and every root that nothing else keeps. */
  removeName(name: string): Promise<void> {
    return this.#changes.run(async () => {
      const rootIds = new Set(this.names.get(name)?.generations.map(({ rootId }) => rootId));
      await this.names.remove(name);
      return this.#removeUnheld(rootIds);
    });
  }

  /** Removes a root, unless it is pinned, held or leased, and every name whose current generation it is. */
  removeRoot(rootId: string): Promise<void> {
    return this.#changes.run(async () => {
      const rootIds = new Set([rootId]);
      for (const { name } of this.names.of(rootId)) {
        for (const generation of this.names.get(name)?.generations ?? []) rootIds.add(generation.rootId);
        await this.names.remove(name);
      }
      return this.#removeUnheld(rootIds, rootId);
    });
  }

  /** Runs `look` while no name and no root changes. */
  atRest<Value>(look: () => Promise<Value>): Promise<Value> {
    return this.#changes.run(look);
  }

  /**
   * Takes a root that nothing needs into `staged`, as `Roots.take`; not where a name leads to it, or a client or running work holds it,
   * whatever was known when it was chosen.
   */
  takeRoot(rootId: string, staged: string, mayGo: () => boolean): Promise<boolean> {
    const isFree = () => mayGo() && !this.#isHeld(rootId) && this.names.of(rootId).length === 0;
    return this.#changes.run(() => this.roots.take(rootId, staged, isFree));
  }

  /** Pins a root that stands, or takes that back. UNKNOWN_ROOT, BUSY, STORE_CORRUPT. */
  pin(rootId: string, pinned: boolean): Promise<void> {
    return this.#changes.run(async () => {
      if (pinned) await this.#standing(rootId, "pin");
      await this.holds.pin(rootId, pinned);
    });
  }

  /** Holds a root that stands for a client, under the id that this one chose, if any. UNKNOWN_ROOT, INVALID_PARAMS, BUSY, STORE_CORRUPT. */
  hold(rootId: string, owner: string, holdId?: string): Promise<Hold> {
    return this.#changes.run(async () => {
      await this.#standing(rootId, "hold");
      return this.holds.hold(rootId, owner, holdId);
    });
  }

  /** False where there is no such hold any more. STORE_CORRUPT. */
  release(holdId: string): Promise<boolean> {
    return this.#changes.run(() => this.holds.release(holdId));
  }

  /**
   * Syncs the file system, once for all that ask while the last sync runs, and marks durable what was committed before. False where this
   * machine has no sync(1): nothing is marked, and `durable` stays false.
   */
  makeDurable(): Promise<boolean> {
    return this.#syncs.at("all", () => this.#syncOnce());
  }

  async #syncOnce(): Promise<boolean> {
    const [layers, roots] = [this.layers.notDurable(), this.roots.notDurable()];
    if (layers.length + roots.length === 0) return true;
    if (!(await this.#options.syncFileSystem())) return false;
    this.layers.markDurable(layers);
    await this.roots.markDurable(roots);
    await this.layers.flush();
    return true;
  }

  /** One that cannot be removed is said and left, unless it was asked for itself. */
  async #removeUnheld(rootIds: ReadonlySet<string>, asked?: string): Promise<void> {
    for (const rootId of rootIds) {
      if (this.roots.get(rootId) === undefined || this.names.holds(rootId)) continue;
      try {
        await this.staging.with(async (paths) => {
          if (!(await this.roots.take(rootId, paths.root, () => !this.#isHeld(rootId)))) return;
          await this.roots.sync();
        });
      } catch (error) {
        // Its name is gone already: what asked for that has happened, and the root is what a collection is for.
        if (rootId === asked) throw error;
        this.#options.log.warn("root.left", { rootId, error });
      }
    }
  }

  #isHeld(rootId: string): boolean {
    return this.holds.keeps(rootId) || this.leases.hasRoot(rootId);
  }

  /** UNKNOWN_ROOT. */
  async #standing(rootId: string, action: string): Promise<void> {
    if (await this.roots.stands(rootId)) return;
    throw new StrataError("UNKNOWN_ROOT", `Cannot ${action} root ${printable(rootId, 128)}: there is none`);
  }

  async #checkVersion(): Promise<void> {
    const { version, state } = this.layout;
    const found = await readFile(version, "utf8").catch((error: unknown) => {
      if (systemErrorCode(error) !== "ENOENT") throw error;
      return "";
    });
    // Empty where a power cut came before it was written.
    if (found === "") {
      await writeAtomically(version, `${LAYOUT_VERSION}\n`);
      await syncParent(version);
    } else if (found.trim() !== LAYOUT_VERSION) {
      const what = JSON.stringify(found.trim().slice(0, 32));
      throw new StrataError(
        "STORE_VERSION",
        `Cannot open ${state}: its layout version is ${what}, not ${LAYOUT_VERSION}`,
      );
    }
  }

  /**
   * What the file system cannot do is found here instead of halfway through a root. On one that is full nothing can be tried out, and a
   * daemon is wanted all the more, to remove something: then as little is taken for granted as can be.
   */
  async #probe(): Promise<void> {
    const { layerDirectories, roots, spills, staging, state } = this.layout;
    const { directory: files } = this.sharedFiles;
    try {
      for (const directory of [...layerDirectories, roots, spills, ...(files === undefined ? [] : [files])]) {
        if (await probeLink(staging, directory)) continue;
        const fact = `${directory} is on another mount than staging`;
        throw new StrataError("STORE_SPLIT_MOUNT", `Cannot open ${state}: ${fact}`);
      }
      this.folding = await probeFolding(staging);
      this.canReflink = await probeReflink(staging);
    } catch (error) {
      if (!(error instanceof StrataError) || error.code !== "NO_SPACE") throw error;
      this.folding = { case: true, unicode: true };
      this.#options.log.warn("store.full", {
        error,
        instead: "names that differ by case or accents alone are refused",
      });
    }
  }
}
