/**
 * Whether the store is put together as it should be: every layer and root with its documents, names that lead where their documents
 * say, kept documents that have their digest, and nothing else anywhere. Reads no tree.
 *
 * Beside running installs: whatever looks wrong is looked at again at the end, while no root and no name changes, and only then told.
 */
import { readlink } from "node:fs/promises";
import { basename } from "node:path";
import { systemErrorCode } from "../errors.js";
import type { FindingCode } from "../finding-codes.js";
import { MAX_FINDINGS_TOLD } from "../limits.js";
import { type DiffId, parseDiffId, parseDigest } from "../oci/digest.js";
import { layerMetaSchema, layerSchema, nameSchema, rootSchema } from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import { currentOf } from "./generations.js";
import type { StoreLayout } from "./layout.js";
import {
  below,
  documentAt,
  documentFault,
  isSame,
  type Look,
  OF_NO_LAYER,
  parsed,
  ROOT_ID,
  STRANGER,
  type StructureFinding,
  stands,
  stranger,
  told,
} from "./looks.js";
import type { Store } from "./store.js";

/** What the check is about; absent: everything, strangers too. */
export interface Selection {
  readonly layers: readonly DiffId[];
  readonly roots: readonly string[];
}

export class Structure {
  readonly #store: Store;
  readonly #layout: StoreLayout;
  /** Paths of others that may stand in the state directory. */
  readonly #guests: ReadonlySet<string>;
  /** Kept documents that were read. */
  documents = 0;

  constructor(store: Store, guests: readonly string[] = []) {
    this.#store = store;
    this.#layout = store.layout;
    this.#guests = new Set(guests);
  }

  /** The first MAX_FINDINGS_TOLD findings. Rejects with the signal's reason. */
  async findings(selection: Selection | undefined, signal: AbortSignal): Promise<StructureFinding[]> {
    const suspicious: Look[] = [];
    await eachConcurrently(selection === undefined ? this.#everything() : this.#selected(selection), async (look) => {
      signal.throwIfAborted();
      if (suspicious.length < MAX_FINDINGS_TOLD && (await look()).length > 0) suspicious.push(look);
    });
    const found: StructureFinding[] = [];
    for (const look of suspicious) found.push(...(await this.#store.atRest(look)));
    return found.slice(0, MAX_FINDINGS_TOLD);
  }

  *#selected({ layers, roots }: Selection): Generator<Look> {
    for (const diffId of layers) yield () => this.#layer(diffId);
    for (const rootId of roots) yield () => this.#root(rootId);
  }

  async *#everything(): AsyncGenerator<Look> {
    const { state, parts } = this.#layout;
    for await (const path of below(state))
      if (!parts.includes(path) && !this.#guests.has(path)) yield stranger(path, state);
    yield* this.#layers();
    yield* this.#roots();
    yield* this.#names();
    yield* this.#documents();
    yield* this.#beside();
    for await (const path of below(this.#layout.journal))
      if (this.#layout.journalSegmentNumber(basename(path)) === undefined) yield stranger(path, state);
  }

  async *#layers(): AsyncGenerator<Look> {
    for (const directory of this.#layout.layerDirectories) {
      const algorithm = basename(directory);
      for await (const path of below(directory)) {
        const diffId = parsed(() => parseDiffId(`${algorithm}:${basename(path)}`));
        if (diffId === undefined) yield stranger(path, this.#layout.state);
        else if (this.#store.layers.get(diffId) === undefined) yield () => this.#layer(diffId);
      }
    }
    for await (const path of below(this.#layout.layers))
      if (!this.#layout.layerDirectories.includes(path)) yield stranger(path, this.#layout.state);
    for (const { diffId } of this.#store.layers.all()) yield () => this.#layer(diffId);
  }

  /** Of a layer that the index has, and of one that it could not read. */
  async #layer(diffId: DiffId): Promise<readonly StructureFinding[]> {
    const directory = this.#layout.layer(diffId);
    const finding = (code: FindingCode, path: string, detail: string): StructureFinding => ({
      code,
      layer: diffId,
      path,
      detail,
    });
    if (!(await stands(directory))) {
      const isKnown = this.#store.layers.get(diffId) !== undefined;
      return isKnown ? [finding("MISSING", "", "the layer is not there")] : [];
    }
    const own = [this.#layout.layerTree(diffId), this.#layout.changeset(diffId), this.#layout.layerDocument(diffId)];
    const found: StructureFinding[] = [];
    for await (const path of below(directory))
      if (!own.includes(path)) found.push(finding("STRANGER", basename(path), STRANGER));
    for (const path of own.slice(0, 2))
      if (!(await stands(path))) found.push(finding("MISSING", basename(path), "it is not there"));
    const { document, fault } = await documentAt(this.#layout.layerDocument(diffId), layerSchema);
    const known = this.#store.layers.get(diffId)?.document;
    if (document === undefined) found.push(finding("DOCUMENT", "layer.json", fault));
    else if (document.diffId !== diffId)
      found.push(finding("DOCUMENT", "layer.json", `it is that of ${document.diffId}`));
    else if (known !== undefined && !isSame(known, document))
      found.push(finding("DOCUMENT", "layer.json", "it is not what the daemon read or wrote"));
    return found;
  }

  async *#roots(): AsyncGenerator<Look> {
    for await (const path of below(this.#layout.roots)) {
      const rootId = basename(path);
      if (!ROOT_ID.test(rootId)) yield stranger(path, this.#layout.state);
      else if (this.#store.roots.get(rootId) === undefined) yield () => this.#root(rootId);
    }
    for (const { rootId } of this.#store.roots.all()) yield () => this.#root(rootId);
  }

  async #root(rootId: string): Promise<readonly StructureFinding[]> {
    const directory = this.#layout.root(rootId);
    const finding = (code: FindingCode, path: string, detail: string): StructureFinding => ({
      code,
      root: rootId,
      path,
      detail,
    });
    const known = this.#store.roots.get(rootId);
    if (!(await stands(directory))) return known === undefined ? [] : [finding("MISSING", "", "the root is not there")];
    const [tree, plan, json] = [
      this.#layout.rootTree(rootId),
      this.#layout.rootPlan(rootId),
      this.#layout.rootDocument(rootId),
    ];
    const { document, fault } = await documentAt(json, rootSchema);
    const isPlanned = (document ?? known)?.planSha256 !== undefined;
    const found: StructureFinding[] = [];
    for await (const path of below(directory))
      if (path !== tree && path !== json && !(path === plan && (isPlanned || document === undefined)))
        found.push(finding("STRANGER", basename(path), STRANGER));
    if (!(await stands(tree))) found.push(finding("MISSING", "tree", "it is not there"));
    if (isPlanned && !(await stands(plan))) found.push(finding("MISSING", "plan", "it is not there"));
    if (document === undefined) found.push(finding("DOCUMENT", "root.json", fault));
    else if (document.rootId !== rootId) found.push(finding("DOCUMENT", "root.json", "it is that of another root"));
    else if (known !== undefined && !isSame(known, document))
      found.push(finding("DOCUMENT", "root.json", "it is not what the daemon read or wrote"));
    const { manifestDigest } = document ?? known ?? {};
    const lacks = manifestDigest && (await this.#store.documents.lacking(manifestDigest));
    if (lacks) found.push(finding("MISSING", lacks.what, `its ${lacks.what} ${lacks.digest} is not there`));
    for (const diffId of new Set(document?.layers ?? known?.layers ?? []))
      if (!(await stands(this.#layout.layer(diffId))))
        found.push({ code: "MISSING", root: rootId, path: "", detail: `its layer ${diffId} is not there` });
    return found;
  }

  async *#names(): AsyncGenerator<Look> {
    const { state, nameDocuments } = this.#layout;
    for await (const path of below(this.#layout.names)) {
      if (path === nameDocuments) continue;
      yield async () => {
        const isKnown = this.#store.names.get(basename(path)) !== undefined;
        return isKnown || !(await stands(path)) ? [] : [told("STRANGER", path, state, "no name has it")];
      };
    }
    for await (const path of below(nameDocuments)) {
      yield async () => {
        const isKnown = this.#store.names.get(basename(path, ".json")) !== undefined && path.endsWith(".json");
        return isKnown || !(await stands(path)) ? [] : [told("STRANGER", path, state, "no name has it")];
      };
    }
    for (const { name } of this.#store.names.all()) yield () => this.#name(name);
  }

  async #name(name: string): Promise<readonly StructureFinding[]> {
    const { state } = this.#layout;
    const known = this.#store.names.get(name);
    if (known === undefined) return [];
    const found: StructureFinding[] = [];
    const path = this.#layout.nameDocument(name);
    const { document, fault } = await documentAt(path, nameSchema);
    if (document === undefined) found.push(told("DOCUMENT", path, state, fault));
    else if (!isSame(document, known)) found.push(told("DOCUMENT", path, state, "it is not what the daemon wrote"));
    const link = this.#layout.name(name);
    const target = this.#layout.nameTarget(currentOf(known)?.rootId ?? "");
    const is = await readlink(link).catch((error: unknown) => systemErrorCode(error) ?? "EIO");
    if (is === target) return found;
    const detail = /^E[A-Z]+$/.test(is)
      ? is === "ENOENT"
        ? "it is not there"
        : "it is no symlink"
      : "it leads elsewhere";
    return [...found, told(is === "ENOENT" ? "MISSING" : "LINK_TARGET", link, state, detail)];
  }

  /** Manifests and configs, under their digests. */
  async *#documents(): AsyncGenerator<Look> {
    const { state, documents, keptDirectories } = this.#layout;
    for await (const path of below(documents)) if (!keptDirectories.includes(path)) yield stranger(path, state);
    for (const directory of keptDirectories) {
      const algorithm = basename(directory);
      for await (const path of below(directory)) {
        const digest = parsed(() => parseDigest(`${algorithm}:${basename(path)}`));
        if (digest === undefined) {
          yield stranger(path, state);
          continue;
        }
        yield async () => {
          this.documents += 1;
          const fault = await documentFault(path, digest);
          return fault === undefined ? [] : [told("DOCUMENT", path, state, fault)];
        };
      }
    }
  }

  /** What stands beside the layers: what changes about them, and further inodes of their files. */
  async *#beside(): AsyncGenerator<Look> {
    const { state, meta, rootMetas, spills } = this.#layout;
    for await (const path of below(rootMetas))
      yield async () => {
        const isKnown = this.#store.roots.get(basename(path, ".json")) !== undefined;
        return isKnown || (await stands(this.#layout.root(basename(path, ".json")))) ? [] : stranger(path, state)();
      };
    for await (const path of below(meta)) {
      if (path === rootMetas) continue;
      yield async () => {
        if (!(await this.#isOfLayer(basename(path, ".json")))) return stranger(path, state, OF_NO_LAYER)();
        const { document, fault } = await documentAt(path, layerMetaSchema);
        return document !== undefined || !(await stands(path)) ? [] : [told("DOCUMENT", path, state, fault)];
      };
    }
    for await (const path of below(spills))
      yield async () => ((await this.#isOfLayer(basename(path))) ? [] : stranger(path, state, OF_NO_LAYER)());
  }

  /** Also of one that the index could not read. */
  async #isOfLayer(hex: string): Promise<boolean> {
    for (const algorithm of ["sha256", "sha512"]) {
      const diffId = parsed(() => parseDiffId(`${algorithm}:${hex}`));
      if (diffId === undefined) continue;
      if (this.#store.layers.get(diffId) !== undefined || (await stands(this.#layout.layer(diffId)))) return true;
    }
    return false;
  }
}
