/**
 * A repair of what a verification found: documents from memory, trees from what they were made of, and only contents that nothing here
 * has are fetched again, layer by layer. What is not damaged is not touched, and each step leaves what the next repair can go on from.
 *
 * Installs go on meanwhile: a path is damaged or whole at any time. Roots that were being linked while a layer was mended are looked at
 * when they stand.
 */

import { rename } from "node:fs/promises";
import { isWritable } from "../choices.js";
import { ensureDirectories } from "../ensure-directory.js";
import { toStrataError } from "../errors.js";
import type { CheckedTree, MendResult } from "../findings.js";
import type { Log } from "../log.js";
import type { Finding } from "../messages/verification.js";
import { type DiffId, parseDiffId } from "../oci/digest.js";
import type { Pool } from "../pool.js";
import type { OpenOptions } from "../sources/open.js";
import type { RootDocument } from "../store/documents.js";
import { eachConcurrently } from "../store/each-concurrently.js";
import type { StagingPaths } from "../store/layout.js";
import type { Lease } from "../store/leases.js";
import type { Store } from "../store/store.js";
import { TaskProgress } from "../task-progress.js";
import type { LayerDocument } from "../tasks.js";
import { UPKEEP_WEIGHT } from "../weights.js";
import { type ImageInstaller, keepDocuments } from "./image-installer.js";
import type { LayerInstaller } from "./layer-installer.js";
import { originsOf, originsOfRoots, withLayerSource, withOrigin } from "./layer-source.js";
import type { SpareMaker } from "./spare-maker.js";
import type { Found, Verifier, VerifyRequest } from "./verifier.js";

export interface RepairerOptions {
  readonly store: Store;
  readonly pool: Pool;
  readonly verifier: Verifier;
  readonly layers: LayerInstaller;
  readonly images: ImageInstaller;
  readonly spares: SpareMaker;
  readonly sources: OpenOptions;
  readonly maxLayers: number;
  readonly log: Log;
}

export interface Repaired {
  readonly left: Finding[];
  readonly leftTotal: number;
  readonly repaired: Finding[];
  readonly repairedTotal: number;
}

export class Repairer {
  readonly #options: RepairerOptions;

  constructor(options: RepairerOptions) {
    this.#options = options;
  }

  /** CANCELLED on the request's signal; whatever else fails stands with the finding that is left. */
  async repair(found: Found, request: VerifyRequest): Promise<Repaired> {
    const lease = this.#options.store.leases.open();
    try {
      return await this.#repair(found, request, lease);
    } finally {
      lease.drop();
    }
  }

  /** What is being mended is not collected. */
  async #repair(found: Found, request: VerifyRequest, lease: Lease): Promise<Repaired> {
    const { store, images, spares, verifier } = this.#options;
    const { signal } = request;
    const why = new Map<string, string>();
    const layers = idsOf(found, "layer").map((text) => parseDiffId(text));
    for (const diffId of layers) lease.stored(diffId);
    // One that has links to what was damaged would bring it back, in the next daemon too.
    await spares.without(async () => {
      try {
        for (const diffId of layers) await this.#noting(why, diffId, signal, () => this.#layer(diffId, found, signal));
      } finally {
        // Also where somebody gives up: some may be mended.
        await images.settled();
      }
    });
    const roots = new Set([...idsOf(found, "root"), ...found.apart]);
    for (const { rootId, layers: own } of store.roots.all())
      if (layers.some((diffId) => own.includes(diffId))) roots.add(rootId);
    for (const rootId of roots) lease.root(rootId);
    for (const rootId of roots)
      await this.#noting(why, rootId, signal, () => this.#root(rootId, found, { why, signal }));
    await this.#documents(found);
    for (const root of await this.#bereft(request))
      await this.#noting(why, root.rootId, signal, () => this.#manifest(root, signal));
    // What was written has to reach the disk before it counts as durable.
    await store.makeDurable();
    const whole = await verifier.verify({ ...request, deep: false });
    const affected = await verifier.verify({ deep: true, selection: { layers, roots: [...roots] }, signal });
    const isAffected = ({ layer, root }: Finding): boolean =>
      layers.some((diffId) => diffId === layer) || (root !== undefined && roots.has(root));
    const others = whole.findings.filter((finding) => !isAffected(finding));
    const left = [...affected.findings, ...others].map((finding) => {
      const unrepaired = why.get(finding.layer ?? finding.root ?? "") ?? standingReason(finding);
      return unrepaired === undefined ? finding : { ...finding, unrepaired };
    });
    const leftTotal = affected.total + others.length;
    const still = new Set(left.map(keyOf));
    const repaired = found.findings.filter((finding) => !still.has(keyOf(finding)));
    const repairedTotal = Math.max(repaired.length, found.total - leftTotal);
    return { left, leftTotal, repaired, repairedTotal };
  }

  async #noting(why: Map<string, string>, id: string, signal: AbortSignal, work: () => Promise<string | undefined>) {
    signal.throwIfAborted();
    try {
      const reason = await work();
      if (reason !== undefined) why.set(id, reason);
    } catch (thrown) {
      signal.throwIfAborted();
      this.#options.log.warn("repair.failed", { id, error: thrown });
      why.set(id, toStrataError(thrown, "Cannot repair it").message);
    }
  }

  /** Undefined where it went well, else why not. */
  async #layer(diffId: DiffId, found: Found, signal: AbortSignal): Promise<string | undefined> {
    const { store } = this.#options;
    const known = store.layers.get(diffId)?.document;
    const lacking = found.findings.filter(
      ({ layer, code }) => layer === diffId && (code === "MISSING" || code === "DOCUMENT"),
    );
    if (known !== undefined && lacking.some(({ code, path }) => code === "DOCUMENT" && path === "layer.json"))
      await store.layers.rewriteDocument(diffId);
    const needsAll = known === undefined || lacking.some(({ code, path }) => isOfLayer(code, path));
    if (!needsAll) {
      const { left, because } = await store.staging.with((paths) => this.#mend(paths, known, undefined, signal));
      if (left.total === 0) return undefined;
      const reason = await this.#anew(diffId, known, signal);
      return reason === undefined || because === undefined ? reason : `${reason} (${because})`;
    }
    return this.#anew(diffId, known, signal);
  }

  /** From the first origin that gives it. */
  async #anew(diffId: DiffId, known: LayerDocument | undefined, signal: AbortSignal): Promise<string | undefined> {
    const { store, layers, sources, maxLayers, log } = this.#options;
    await store.sharedFiles.forget();
    let reason = "no name was installed from an image with this layer";
    for (const origin of originsOf(diffId, store)) {
      signal.throwIfAborted();
      try {
        return await withLayerSource(origin, { diffId, sources, maxLayers, signal }, (source, layer) =>
          store.staging.with(async (paths) => {
            const { document: fresh, blob } = await layers.unpackAnew(paths, source, { layer, signal });
            if (await store.layers.stands(diffId)) return this.#heal(paths, { fresh, known }, signal);
            await store.layers.commit(paths.layer, fresh, blob);
            return undefined;
          }),
        );
      } catch (thrown) {
        signal.throwIfAborted();
        const error = toStrataError(thrown, "Cannot fetch the layer again");
        log.warn("repair.source.failed", { layer: diffId, reference: origin.reference, error: thrown });
        reason = `${error.message} [${error.code}]`;
      }
    }
    return reason;
  }

  async #heal(
    paths: StagingPaths,
    { fresh, known }: { readonly fresh: LayerDocument; readonly known: LayerDocument | undefined },
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { store, verifier } = this.#options;
    const { layers, layout } = store;
    const { diffId } = fresh;
    const isOther = (await verifier.layer(fresh, false, signal)).some(({ total }) => total > 0);
    const isSame = known?.changesetSha256 === fresh.changesetSha256;
    if (isOther && known !== undefined && !isSame)
      return "unpacked again, it gives another changeset than the store has of it";
    if (isOther) await rename(paths.changeset, layout.changeset(diffId));
    if (!isSame) await rename(paths.layerDocument, layout.layerDocument(diffId));
    await layers.restored(isSame && known !== undefined ? known : fresh);
    const { because } = await this.#mend(paths, fresh, paths.layerTree, signal);
    return because === undefined ? undefined : `it cannot be written: ${because}`;
  }

  async #mend(
    paths: StagingPaths,
    document: LayerDocument,
    fresh: string | undefined,
    signal: AbortSignal,
  ): Promise<MendResult> {
    await this.#options.store.layers.mending(document.diffId);
    return this.#mendTree(paths, this.#options.verifier.layerTree(document), { fresh, signal });
  }

  async #mendTree(
    paths: StagingPaths,
    checked: CheckedTree,
    { fresh, signal }: { readonly fresh?: string | undefined; readonly signal: AbortSignal },
  ): Promise<MendResult> {
    await ensureDirectories(paths.aside);
    const progress = new TaskProgress();
    const task = { checked, aside: paths.aside, progress: progress.shared, ...(fresh === undefined ? {} : { fresh }) };
    return this.#options.pool.run("mend", task, { signal, progress, weight: UPKEEP_WEIGHT });
  }

  /** The root's manifest and config, from the first origin that gives them. Undefined where it went well, else why not. */
  async #manifest({ rootId, manifestDigest }: RootDocument, signal: AbortSignal): Promise<string | undefined> {
    const { store, sources, maxLayers } = this.#options;
    let reason = "no name was installed from its image";
    for (const origin of originsOfRoots(new Set([rootId]), store)) {
      if (origin.generation.manifestDigest !== manifestDigest) continue;
      try {
        await withOrigin(origin, { sources, maxLayers, signal }, (_source, image) =>
          keepDocuments(store.documents, image),
        );
        return undefined;
      } catch (thrown) {
        signal.throwIfAborted();
        const error = toStrataError(thrown, "Cannot fetch the image again");
        reason = `${error.message} [${error.code}]`;
      }
    }
    return reason;
  }

  async #root(
    rootId: string,
    found: Found,
    { why, signal }: { readonly why: ReadonlyMap<string, string>; readonly signal: AbortSignal },
  ): Promise<string | undefined> {
    const { store, verifier } = this.#options;
    const root = store.roots.get(rootId);
    if (root === undefined)
      return "what it is made of is lost with its document: remove its directory and install the image again";
    if (found.findings.some((finding) => finding.root === rootId && finding.path === "root.json"))
      await store.roots.rewrite(rootId);
    const damaged = root.layers.find((diffId) => why.has(diffId));
    if (damaged !== undefined) return `its layer ${damaged} is not repaired`;
    if (isWritable(root.link)) return "it is a root of copies: remove it and install the image again";
    if (!(await store.roots.isThere(rootId))) return "remove it and install the image again";
    const checked = verifier.rootTree(root);
    if (checked === undefined) return "a layer of it is not in the store";
    const { because } = await store.staging.with((paths) => this.#mendTree(paths, checked, { signal }));
    return because === undefined ? undefined : `it cannot be written: ${because}`;
  }

  /** Of what was to be repaired: roots whose manifest is not there, or whose config. */
  async #bereft({ selection }: VerifyRequest): Promise<RootDocument[]> {
    const { documents, roots } = this.#options.store;
    const bereft: RootDocument[] = [];
    await eachConcurrently(roots.all(), async (root) => {
      if (selection?.roots.includes(root.rootId) === false) return;
      if ((await documents.lacking(root.manifestDigest)) !== undefined) bereft.push(root);
    });
    return bereft;
  }

  /** Names and what changes about layers stand in memory; manifests and configs that are damaged are dropped. */
  async #documents(found: Found): Promise<void> {
    const { store } = this.#options;
    const paths = new Set(
      found.findings.flatMap(({ layer, root, path }) => ((layer ?? root) === undefined ? [path] : [])),
    );
    const below = (path: string): string => path.slice(store.layout.state.length + 1);
    for (const { name } of store.names.all())
      if (paths.has(below(store.layout.name(name))) || paths.has(below(store.layout.nameDocument(name))))
        await store.atRest(() => store.names.rewrite(name));
    for (const { diffId } of store.layers.all())
      if (paths.has(below(store.layout.layerMeta(diffId)))) await store.layers.rewriteMeta(diffId);
    const kept = found.findings.filter(
      ({ code, path }) => code === "DOCUMENT" && path.startsWith(`${below(store.layout.documents)}/`),
    );
    for (const { path } of kept) await store.documents.drop(path);
  }
}

/** What only a fresh unpack brings back. */
const isOfLayer = (code: Finding["code"], path: string): boolean =>
  (code === "MISSING" && path === "") || path === "changeset";

const idsOf = ({ findings }: Found, of: "layer" | "root"): string[] => [
  ...new Set(findings.flatMap((finding) => (finding.code === "STRANGER" ? [] : (finding[of] ?? [])))),
];

const standingReason = ({ code, root, path }: Finding): string | undefined => {
  if (code === "STRANGER") return "it may be somebody's; remove it by hand where it is not";
  if (root !== undefined && path === "plan") return "remove the root and install the image again";
  return undefined;
};

const keyOf = ({ code, layer, root, path }: Finding): string => [code, layer, root, path].join(" ");
