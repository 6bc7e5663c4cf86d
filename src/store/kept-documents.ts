/**
 * Manifests and configs under blobs/: kept, read, removed; and which of them the roots that stay need. A root names its manifest, and
 * only that its config, so a manifest that cannot be read keeps all of them.
 */
import { readdir, readFile, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { StrataError, systemErrorCode } from "../errors.js";
import { MAX_DOCUMENT_BYTES } from "../limits.js";
import { type Digest, digestAlgorithm, digestOf, parseDigest } from "../oci/digest.js";
import { parseJson } from "../oci/json.js";
import { isImageConfig } from "../oci/media-types.js";
import { OCX_CONFIG } from "../oci/ocx-package.js";
import { succeeds } from "../succeeds.js";
import { type RootDocument, unlinkIfThere, writeAtomically } from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import type { StoreLayout } from "./layout.js";
import { KeyedMutex } from "./mutex.js";
import type { Staging } from "./staging.js";

export interface StoredDocument {
  readonly digest: Digest;
  readonly bytes: number;
}

export interface NeededDocument {
  readonly what: "manifest" | "config";
  readonly rootId: string;
}

export interface NeededDocuments {
  readonly needed: ReadonlyMap<Digest, NeededDocument>;
  /** A root whose manifest cannot be read: its config may be any. */
  readonly unread: string | undefined;
}

/** All that the store needs of a manifest. */
const manifestSchema = z.looseObject({
  config: z.looseObject({
    digest: z.string().transform((text) => parseDigest(text)),
    mediaType: z.string().optional(),
  }),
});

export class KeptDocuments {
  readonly #layout: StoreLayout;
  readonly #staging: Staging;
  /** One that is there is not written again: it must not be on its way out then. */
  readonly #changes = new KeyedMutex<Digest>();
  /** By manifest, what it was seen to name: it never changes. Of roots that stand. */
  #configs: ReadonlyMap<Digest, Digest> = new Map();

  constructor(layout: StoreLayout, staging: Staging) {
    this.#layout = layout;
    this.#staging = staging;
  }

  /** Undefined where it is not kept. STORE_CORRUPT where it is not what its name says. */
  async read(digest: Digest): Promise<Buffer | undefined> {
    const path = this.#layout.document(digest);
    let bytes: Buffer;
    try {
      const { size } = await stat(path);
      if (size > MAX_DOCUMENT_BYTES) throw notKept(digest);
      bytes = await readFile(path);
    } catch (error) {
      if (systemErrorCode(error) === "ENOENT") return undefined;
      throw error;
    }
    if (digestOf(bytes, digestAlgorithm(digest)) === digest) return bytes;
    throw notKept(digest);
  }

  keep(digest: Digest, bytes: Buffer): Promise<void> {
    const path = this.#layout.document(digest);
    return this.#changes.run(digest, async () => {
      if (!(await this.has(digest))) await writeAtomically(path, bytes);
    });
  }

  /** Whether anything stands under its name. */
  has(digest: Digest): Promise<boolean> {
    return succeeds(stat(this.#layout.document(digest)));
  }

  /** False where there is none, or it is not to go. What keeps it from being removed is thrown. */
  remove(digest: Digest, mayGo: () => boolean): Promise<boolean> {
    const path = this.#layout.document(digest);
    return this.#changes.run(digest, async () => mayGo() && unlinkIfThere(path));
  }

  /** Takes what stands at `path` (below the state directory) away: it is not what its name says. */
  async drop(path: string): Promise<void> {
    await this.#staging.with(async ({ aside }) => rename(join(this.#layout.state, path), aside));
  }

  /** What is named as a document is, with its bytes; strangers are nobody's to remove. */
  async all(): Promise<StoredDocument[]> {
    const digests: Digest[] = [];
    for (const algorithm of ["sha256", "sha512"] as const) {
      for (const hex of await readdir(this.#layout.documentsOf(algorithm))) {
        const digest = digestIfValid(`${algorithm}:${hex}`);
        if (digest !== undefined) digests.push(digest);
      }
    }
    const found: StoredDocument[] = [];
    await eachConcurrently(digests, async (digest) => {
      const stats = await stat(this.#layout.document(digest)).catch(() => undefined);
      if (stats?.isFile()) found.push({ digest, bytes: stats.size });
    });
    return found;
  }

  /** Of these roots; a manifest that is gone needs no config. */
  async neededBy(roots: readonly RootDocument[]): Promise<NeededDocuments> {
    const needed = new Map<Digest, NeededDocument>();
    const configs = new Map<Digest, Digest>();
    let unread: string | undefined;
    await eachConcurrently(roots, async ({ rootId, manifestDigest }) => {
      needed.set(manifestDigest, { what: "manifest", rootId });
      try {
        const config = this.#configs.get(manifestDigest) ?? (await this.#configOf(manifestDigest));
        if (config === undefined) return;
        configs.set(manifestDigest, config);
        needed.set(config, { what: "config", rootId });
      } catch {
        unread = rootId;
      }
    });
    this.#configs = configs;
    return { needed, unread };
  }

  /** What a root of this manifest misses: it, or its config, where that is one that is kept. One that cannot be read tells of nothing. */
  async lacking(manifest: Digest): Promise<{ what: NeededDocument["what"]; digest: Digest } | undefined> {
    if (!(await this.has(manifest))) return { what: "manifest", digest: manifest };
    const config = await this.#descriptorOf(manifest).catch(() => undefined);
    const isKept =
      config?.mediaType !== undefined && (isImageConfig(config.mediaType) || config.mediaType === OCX_CONFIG);
    if (config === undefined || !isKept || (await this.has(config.digest))) return undefined;
    return { what: "config", digest: config.digest };
  }

  async #configOf(manifest: Digest): Promise<Digest | undefined> {
    return (await this.#descriptorOf(manifest))?.digest;
  }

  async #descriptorOf(manifest: Digest) {
    const bytes = await this.read(manifest);
    return bytes === undefined ? undefined : manifestSchema.parse(parseJson(bytes, "the manifest")).config;
  }
}

const notKept = (digest: Digest): StrataError =>
  new StrataError("STORE_CORRUPT", `Cannot read document ${digest}: its content was changed`);

function digestIfValid(text: string): Digest | undefined {
  try {
    return parseDigest(text);
  } catch {
    return undefined;
  }
}
