/**
 * Images into a repository of a registry: blobs first, several at a time, each only if it has to be; then the manifests, in order.
 *
 * Nothing names a blob before all of them are there, and a tag moves last. What failed may be pushed again: what is there by then
 * is not sent twice.
 */
import { StrataError } from "../../errors.js";
import { MAX_MOUNT_SOURCES, MAX_PUSHES } from "../../limits.js";
import type { Descriptor } from "../../oci/documents.js";
import { Slots } from "../../slots.js";
import { together } from "../../together.js";
import type { PushedBlob } from "./blob-content.js";
import { cancelled } from "./failures.js";
import { registryUrl } from "./hosts.js";
import type { RegistryOptions } from "./registry-source.js";
import { withRetries } from "./retry.js";
import { defaultTimings, type RegistryTimings } from "./timings.js";
import { UploadClient } from "./upload-client.js";

export interface PushedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  /** Put under each; under its digest where there is none, as what an index names is. */
  readonly tags: readonly string[];
}

export interface PushRequest {
  /** As a DockerReference has them. */
  readonly registry: string;
  readonly repository: string;
  /** Configs and layers of all images, in any order; one that several images have may come more than once. */
  readonly blobs: readonly PushedBlob[];
  /** An index behind the manifests that it names. */
  readonly manifests: readonly PushedManifest[];
  /** Repositories of the same registry that may have some of the blobs; the first MAX_MOUNT_SOURCES are asked. */
  readonly mountFrom: readonly string[];
}

export interface PushWatch {
  readonly signal: AbortSignal;
  /** Bytes of blobs that are where they belong, or on their way, of all; never falls. Called for every chunk. */
  readonly progress?: (done: number, total: number) => void;
}

export interface BlobSum {
  readonly blobs: number;
  readonly bytes: number;
}

/** Each blob counts once. */
export interface PushReport {
  /** Was there before. */
  readonly present: BlobSum;
  /** Came from another repository of the registry. */
  readonly mounted: BlobSum;
  readonly uploaded: BlobSum;
}

export interface PushOptions extends Omit<RegistryOptions, "fetches"> {
  /** Of an upload in chunks; absent: PUSH_CHUNK_BYTES. */
  readonly chunkBytes?: number | undefined;
}

/**
 *     const push = new RegistryPush({ insecureHosts, credentials: userCredentials(), userAgent: `stratad/${version}` });
 *     const report = await push.push(
 *       {
 *         ...{ registry, repository }, // of parseReference("docker://HOST/REPO:TAG")
 *         blobs: [{ digest, size, path }, { digest, size, bytes }],
 *         manifests: [{ descriptor: { mediaType, digest, size }, bytes, tags: ["TAG"] }],
 *         mountFrom: ["team/input"], // repositories of inputs whose registry is the same
 *       },
 *       { signal, progress: (done, total) => … },
 *     );
 */
export class RegistryPush {
  readonly #options: PushOptions;
  readonly #timings: RegistryTimings;

  constructor(options: PushOptions) {
    this.#options = options;
    this.#timings = { ...defaultTimings, ...options.timings };
  }

  /**
   * The first failure ends the rest. PUSH_REFUSED, AUTH_*, REGISTRY_*, TLS_UNTRUSTED, DIGEST_MISMATCH (the registry calls what it
   * took something else), SIZE_MISMATCH and STORE_* (a file is not what it was said to be), CANCELLED.
   */
  async push(request: PushRequest, { signal: caller, progress = () => {} }: PushWatch): Promise<PushReport> {
    const blobs = new Map(request.blobs.map((blob) => [blob.digest, blob]));
    const client = this.#client(request);
    const pushes = new Slots(MAX_PUSHES);
    const { tell, sums } = ledger([...blobs.values()], progress);
    const sources = new Set(
      request.mountFrom.filter((from) => from !== request.repository).slice(0, MAX_MOUNT_SOURCES),
    );
    const send = (blob: PushedBlob) => (signal: AbortSignal) =>
      pushes.run(0, signal, async () => {
        const way = new BlobWay(blob, { client, sources, told: (sent) => tell(blob, sent), signal });
        sums[await this.#tried(() => way.go(), signal)].push(blob);
        tell(blob, blob.size);
      });
    try {
      await together(caller, [...blobs.values()].map(send));
    } catch (error) {
      throw caller.aborted ? cancelled() : error;
    }
    for (const { descriptor, bytes, tags } of request.manifests)
      for (const name of tags.length === 0 ? [descriptor.digest] : tags)
        await this.#tried(() => client.putManifest(descriptor, bytes, name, caller), caller);
    const { present, mounted, uploaded } = sums;
    return { present: sumOf(present), mounted: sumOf(mounted), uploaded: sumOf(uploaded) };
  }

  #client({ registry, repository }: PushRequest): UploadClient {
    const { insecureHosts, credentials, userAgent, chunkBytes } = this.#options;
    const url = registryUrl(registry, insecureHosts);
    const timings = this.#timings;
    return new UploadClient({ registry, repository, url, credentials, insecureHosts, userAgent, timings, chunkBytes });
  }

  #tried<Value>(attempt: () => Promise<Value>, signal: AbortSignal): Promise<Value> {
    return withRetries(attempt, this.#timings, signal);
  }
}

interface BlobContext {
  readonly client: UploadClient;
  /** Those that may still be asked: shared by all blobs. */
  readonly sources: Set<string>;
  readonly told: (sent: number) => void;
  readonly signal: AbortSignal;
}

/** How one blob gets there, over all tries. */
class BlobWay {
  readonly #blob: PushedBlob;
  readonly #context: BlobContext;
  #sent = false;

  constructor(blob: PushedBlob, context: BlobContext) {
    this.#blob = blob;
    this.#context = context;
  }

  /** One try. What an earlier one sent without hearing of its end may be there by now. */
  async go(): Promise<keyof PushReport> {
    const { client, told, signal } = this.#context;
    if (await client.hasBlob(this.#blob, signal)) return this.#sent ? "uploaded" : "present";
    const mounted = await this.#mount();
    if (mounted === "mounted") return "mounted";
    const session = mounted ?? (await client.begin(this.#blob, signal));
    this.#sent = true;
    await client.upload(session, this.#blob, told, signal);
    return "uploaded";
  }

  /** Only a saving: a repository that we may not read, or that is not there, is not asked again. */
  async #mount(): ReturnType<UploadClient["mount"]> {
    const { client, sources, signal } = this.#context;
    for (const from of sources) {
      try {
        const mounted = await client.mount(this.#blob, from, signal);
        if (mounted !== undefined) return mounted;
      } catch (error) {
        if (!(error instanceof StrataError) || !NOT_OURS.has(error.code)) throw error;
        sources.delete(from);
      }
    }
    return undefined;
  }
}

const NOT_OURS: ReadonlySet<string> = new Set(["AUTH_REQUIRED", "AUTH_DENIED", "PUSH_REFUSED"]);

/** How far each blob is, told as one number that never falls. */
function ledger(blobs: readonly PushedBlob[], progress: NonNullable<PushWatch["progress"]>) {
  const furthest = new Map<PushedBlob, number>();
  const total = blobs.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  const tell = (blob: PushedBlob, sent: number): void => {
    const before = furthest.get(blob) ?? 0;
    if (sent <= before) return;
    furthest.set(blob, sent);
    done += sent - before;
    progress(done, total);
  };
  const sums: Record<keyof PushReport, PushedBlob[]> = { present: [], mounted: [], uploaded: [] };
  return { tell, sums };
}

const sumOf = (blobs: readonly PushedBlob[]): BlobSum => ({
  blobs: blobs.length,
  bytes: blobs.reduce((sum, { size }) => sum + size, 0),
});
