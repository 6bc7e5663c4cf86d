/**
 * A repository of a registry as a source of images.
 *
 * The tag is resolved once; from then on everything is asked for by digest, so a tag that moves in between changes nothing.
 * `urls` of descriptors are never fetched.
 */
import { StrataError } from "../../errors.js";
import { type Digest, digestAlgorithm, digestOf, parseDigest } from "../../oci/digest.js";
import type { Descriptor } from "../../oci/documents.js";
import { parseJson } from "../../oci/json.js";
import { isForeignLayer, isIndex, isManifest, isSchema1, unsupported } from "../../oci/media-types.js";
import type { DockerReference } from "../../oci/reference.js";
import { printable } from "../../printable.js";
import type { SharedSlots } from "../../slots.js";
import { checkedDocument, refuseBigDocument } from "../checked-document.js";
import type { Blob, ImageSource, ResolvedDocument } from "../source.js";
import { RegistryClient, type ServedManifest } from "./client.js";
import type { CredentialSource } from "./credentials.js";
import { download } from "./download.js";
import { registryError } from "./failures.js";
import { registryUrl } from "./hosts.js";
import { withRetries } from "./retry.js";
import { defaultTimings, type RegistryTimings } from "./timings.js";

export interface RegistryOptions {
  /** Hosts (`host` or `host:port`) asked over plain HTTP besides loopback. */
  readonly insecureHosts: readonly string[];
  readonly credentials: CredentialSource;
  readonly userAgent: string;
  /** For blobs that are fetched; owners are registries. Shared by all sources of a daemon. */
  readonly fetches: SharedSlots;
  readonly timings?: Partial<RegistryTimings> | undefined;
}

/** See ImageSource; nothing is asked before the first call. */
export function registrySource(reference: DockerReference, options: RegistryOptions): ImageSource {
  return new RegistrySource(reference, options);
}

class RegistrySource implements ImageSource {
  readonly reference: DockerReference;
  readonly #client: RegistryClient;
  readonly #timings: RegistryTimings;
  readonly #fetches: SharedSlots;
  #root: ResolvedDocument | undefined;

  constructor(reference: DockerReference, options: RegistryOptions) {
    const { insecureHosts, credentials, userAgent } = options;
    const { registry, repository } = reference;
    this.reference = reference;
    this.#timings = { ...defaultTimings, ...options.timings };
    this.#fetches = options.fetches;
    const url = registryUrl(registry, insecureHosts);
    const timings = this.#timings;
    this.#client = new RegistryClient({ registry, repository, url, credentials, insecureHosts, userAgent, timings });
  }

  async root(signal: AbortSignal): Promise<ResolvedDocument> {
    if (this.#root !== undefined) return this.#root;
    const { digest, tag } = this.reference;
    const name = digest ?? tag ?? "latest";
    const served = await withRetries(() => this.#client.manifest(name, signal), this.#timings, signal);
    this.#root ??= resolved(served, digest, this.#client.host);
    return this.#root;
  }

  async document(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer> {
    refuseBigDocument(descriptor);
    const { mediaType } = descriptor;
    const isManifestLike = isManifest(mediaType) || isIndex(mediaType);
    const bytes = await withRetries(
      async () =>
        isManifestLike
          ? typedBytes(await this.#client.manifest(descriptor, signal), descriptor)
          : await this.#client.smallBlob(descriptor, signal),
      this.#timings,
      signal,
    );
    return checkedDocument(descriptor, bytes);
  }

  blob(descriptor: Descriptor, partial: string, signal: AbortSignal): Promise<Blob> {
    return new Promise((resolve, reject) => {
      const fetch = async (): Promise<void> => {
        const blob = await download(descriptor, partial, { client: this.#client, timings: this.#timings, signal });
        resolve(blob);
        // It has its slot until all of it is here.
        await blob.done.catch(() => undefined);
      };
      this.#fetches
        .run(this.reference.registry, 0, signal, fetch)
        .catch((error: unknown) => reject(isForeignLayer(descriptor.mediaType) ? foreign(descriptor, error) : error));
    });
  }

  async close(): Promise<void> {}
}

/** The digest is computed over the bytes that came; what headers and fields say about them must agree. */
function resolved(served: ServedManifest, asked: Digest | undefined, host: string): ResolvedDocument {
  const { bytes } = served;
  const claimed = claimedDigest(served, host);
  const digest = digestOf(bytes, digestAlgorithm(asked ?? claimed ?? digestOf(Buffer.alloc(0))));
  for (const expected of [asked, claimed]) {
    if (expected === undefined || digestOf(bytes, digestAlgorithm(expected)) === expected) continue;
    throw new StrataError(
      "DIGEST_MISMATCH",
      `Cannot use the manifest of ${host}: its digest is ${digest}, not ${expected}`,
      {
        details: { expected, actual: digest },
      },
    );
  }
  return { descriptor: { mediaType: mediaTypeOf(served, host), digest, size: bytes.byteLength }, bytes };
}

function claimedDigest({ contentDigest }: ServedManifest, host: string): Digest | undefined {
  try {
    return contentDigest === undefined ? undefined : parseDigest(contentDigest);
  } catch {
    throw registryError("REGISTRY_BAD_RESPONSE", host, "its Docker-Content-Digest is not a digest");
  }
}

/** Types of servers that do not know what they serve: then the document says it itself. */
const GENERIC = new Set(["", "application/json", "application/octet-stream", "text/plain"]);

function mediaTypeOf({ bytes, contentType }: ServedManifest, host: string): string {
  const served = bareType(contentType);
  if (isSchema1(served)) throw unsupported("the manifest", served);
  const known = isManifest(served) || isIndex(served);
  if (!known && !GENERIC.has(served)) {
    throw registryError("REGISTRY_BAD_RESPONSE", host, `it answered with '${printable(served)}', not a manifest`);
  }
  const { mediaType: own } = Object(parseJson(bytes, "the manifest")) as { readonly mediaType?: unknown };
  // parseManifest and parseIndex compare with what the document calls itself.
  if (known) return served;
  if (typeof own === "string" && (isManifest(own) || isIndex(own))) return own;
  throw registryError("REGISTRY_BAD_RESPONSE", host, "neither it nor the document says what the manifest is");
}

const bareType = (contentType = ""): string => contentType.split(";")[0]?.trim().toLowerCase() ?? "";

/** A manifest that an index names: its digest says which bytes, and the registry must not call them another kind. MANIFEST_AMBIGUOUS. */
function typedBytes({ bytes, contentType }: ServedManifest, { digest, mediaType }: Descriptor): Buffer {
  const served = bareType(contentType);
  if (served === mediaType || !(isManifest(served) || isIndex(served) || isSchema1(served))) return bytes;
  const fact = `the index calls it '${mediaType}', the registry '${printable(served)}'`;
  throw new StrataError("MANIFEST_AMBIGUOUS", `Cannot use manifest ${digest}: ${fact}`);
}

function foreign({ digest }: Descriptor, error: unknown): unknown {
  if (!(error instanceof StrataError) || error.code !== "BLOB_UNKNOWN") return error;
  return new StrataError("FOREIGN_LAYER", `Cannot read layer ${digest}: it is foreign and the registry has no blob`);
}
