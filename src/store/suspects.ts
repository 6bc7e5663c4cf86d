/**
 * After a power cut: what was not known to be on the disk is compared with what it was made of, before anybody is served. What is
 * damaged goes, with the roots that use it; what is not is durable after the next sync.
 *
 * Roots go before the layers that they use, and nothing is called durable before its sync: so this may be cut short anywhere, by a kill or
 * by the next power cut, and the next start finds whatever is left of it.
 */
import { isWritable } from "../choices.js";
import type { CheckedTree, VerifyResult } from "../findings.js";
import type { Log } from "../log.js";
import type { DiffId } from "../oci/digest.js";
import type { LayerDocument } from "../tasks.js";
import { checkedLayer, checkedRoot } from "./checked-trees.js";
import type { RootDocument } from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import type { KeptDocuments } from "./kept-documents.js";
import type { Layers } from "./layers.js";
import type { StoreLayout } from "./layout.js";
import type { Roots } from "./roots.js";
import type { Staging } from "./staging.js";

/** Compares a tree with what it was made of, every byte, off the main thread. */
export type CheckTree = (tree: CheckedTree) => Promise<Pick<VerifyResult, "findings" | "total">>;

export interface SuspectStore {
  readonly layout: StoreLayout;
  readonly layers: Layers;
  readonly roots: Roots;
  readonly documents: KeptDocuments;
  readonly staging: Staging;
}

export interface JudgeOptions {
  readonly checkTree: CheckTree;
  /** False where this machine cannot. STORE_IO. */
  readonly syncFileSystem: () => Promise<boolean>;
  readonly log: Log;
}

/** How many there were, and how many of all things are gone. */
export interface Judged {
  readonly suspect: { readonly layers: number; readonly roots: number };
  readonly dropped: { readonly layers: number; readonly roots: number; readonly documents: number };
}

/** Findings of one tree that the log names. */
const MAX_FINDINGS_LOGGED = 3;

export async function judgeSuspects(store: SuspectStore, options: JudgeOptions): Promise<Judged> {
  const [layers, roots] = [store.layers.suspect(), store.roots.suspect()];
  const suspect = { layers: layers.length, roots: roots.length };
  if (layers.length + roots.length === 0) return { suspect, dropped: { layers: 0, roots: 0, documents: 0 } };
  options.log.warn("store.unclean", suspect);
  const dropped = await new Judgement(store, options).run(layers, roots);
  return { suspect, dropped };
}

class Judgement {
  readonly #store: SuspectStore;
  readonly #options: JudgeOptions;

  constructor(store: SuspectStore, options: JudgeOptions) {
    this.#store = store;
    this.#options = options;
  }

  async run(layers: readonly LayerDocument[], roots: readonly RootDocument[]): Promise<Judged["dropped"]> {
    const badLayers = await this.#damagedLayers(layers);
    const badRoots = await this.#damagedRoots(roots, new Set(badLayers.map(({ diffId }) => diffId)));
    await this.#drop(badRoots, badLayers);
    const documents = await this.#dropDocuments();
    const isBad = new Set<object>([...badLayers, ...badRoots]);
    await this.#settle(
      layers.filter((layer) => !isBad.has(layer)),
      roots.filter((root) => !isBad.has(root)),
    );
    return { layers: badLayers.length, roots: badRoots.length, documents };
  }

  async #damagedLayers(layers: readonly LayerDocument[]): Promise<LayerDocument[]> {
    const damaged: LayerDocument[] = [];
    await eachConcurrently(layers, async (layer) => {
      const why = await this.#damage(checkedLayer(this.#store.layout, layer));
      if (why === undefined) return;
      damaged.push(layer);
      this.#options.log.warn("layer.damaged", { diffId: layer.diffId, ...why });
    });
    return damaged;
  }

  /** Those that use a damaged layer, suspect themselves or not, and those that are damaged. */
  async #damagedRoots(suspect: readonly RootDocument[], badLayers: ReadonlySet<DiffId>): Promise<RootDocument[]> {
    const { layout, layers, roots } = this.#store;
    const damaged = roots.all().filter((root) => root.layers.some((diffId) => badLayers.has(diffId)));
    for (const { rootId } of damaged) this.#options.log.warn("root.damaged", { rootId, because: "a layer is damaged" });
    const others = suspect.filter((root) => !damaged.includes(root));
    await eachConcurrently(others, async (root) => {
      const checked = checkedRoot(layout, root, (diffId) => layers.get(diffId)?.document);
      const why = checked === undefined ? { because: "a layer is not in the store" } : await this.#damage(checked);
      if (why === undefined) return;
      const { rootId } = root;
      if (isWritable(root.link) && !(await this.#bringToDisk())) {
        // Nothing here ever becomes durable, so that this may be of any age: rather its owner's changes than damage.
        this.#options.log.warn("root.changed", { rootId, ...why });
        return;
      }
      damaged.push(root);
      this.#options.log.warn("root.damaged", { rootId, ...why });
    });
    return damaged;
  }

  /** What is wrong; undefined where nothing is. What cannot be compared is not trusted either. */
  async #damage(checked: CheckedTree): Promise<Readonly<Record<string, unknown>> | undefined> {
    try {
      const { findings, total } = await this.#options.checkTree(checked);
      return total === 0 ? undefined : { total, findings: findings.slice(0, MAX_FINDINGS_LOGGED) };
    } catch (error) {
      return { error };
    }
  }

  async #drop(badRoots: readonly RootDocument[], badLayers: readonly LayerDocument[]): Promise<void> {
    if (badRoots.length + badLayers.length === 0) return;
    const { layers, roots, staging } = this.#store;
    await staging.with(async (paths) => {
      for (const [index, { rootId }] of badRoots.entries()) await roots.take(rootId, paths.removed(index));
      await roots.sync();
      for (const [index, { diffId }] of badLayers.entries())
        await layers.take(diffId, paths.removed(badRoots.length + index));
      await layers.sync();
    });
  }

  /** Manifests and configs are synced before they get their names; a disk that lied about that is believed no more. */
  async #dropDocuments(): Promise<number> {
    const { documents } = this.#store;
    let dropped = 0;
    await eachConcurrently(await documents.all(), async ({ digest }) => {
      try {
        await documents.read(digest);
      } catch (error) {
        this.#options.log.warn("document.damaged", { digest, error });
        const left = (failure: unknown): boolean => {
          this.#options.log.warn("document.left", { digest, error: failure });
          return false;
        };
        if (await documents.remove(digest, () => true).catch(left)) dropped += 1;
      }
    });
    return dropped;
  }

  async #settle(layers: readonly LayerDocument[], roots: readonly RootDocument[]): Promise<void> {
    if (await this.#bringToDisk()) {
      this.#store.layers.markDurable(layers);
      await this.#store.roots.markDurable(roots);
    } else {
      this.#store.layers.clear(layers);
      await this.#store.roots.clear(roots);
    }
    await this.#store.layers.flush();
  }

  async #bringToDisk(): Promise<boolean> {
    try {
      return await this.#options.syncFileSystem();
    } catch (error) {
      this.#options.log.warn("sync.failed", { error });
      return false;
    }
  }
}
