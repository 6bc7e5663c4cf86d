/**
 * The pull half of distribution-spec v1.1 for one repository: manifests and blobs, with authentication.
 *
 * Each method is one try, and says by a TransientError that another may help; how often is the caller's. Statuses become
 * codes here.
 */
import { StrataError } from "../../errors.js";
import { MAX_DOCUMENT_BYTES } from "../../limits.js";
import type { Digest } from "../../oci/digest.js";
import type { Descriptor } from "../../oci/documents.js";
import { manifestTypes } from "../../oci/media-types.js";
import { printable } from "../../printable.js";
import { documentTooBig, sizeMismatch } from "../checked-document.js";
import type { AuthOptions } from "./auth.js";
import { type Answer, announcedLength, readBody } from "./exchange.js";
import { registryError, transientStatus } from "./failures.js";
import { Requests } from "./requests.js";

export interface ServedManifest {
  readonly bytes: Buffer;
  /** As the headers have them. */
  readonly contentType: string | undefined;
  readonly contentDigest: string | undefined;
}

export class RegistryClient {
  readonly #options: AuthOptions;
  readonly #requests: Requests;

  constructor(options: AuthOptions) {
    this.#options = options;
    this.#requests = new Requests(options);
  }

  get host(): string {
    return this.#options.url.host;
  }

  /** By tag, by digest, or by a descriptor whose size bounds what is read. MANIFEST_UNKNOWN, MANIFEST_TOO_BIG, SIZE_MISMATCH, REGISTRY_*, AUTH_*. */
  async manifest(named: string | Descriptor, signal: AbortSignal): Promise<ServedManifest> {
    const name = typeof named === "string" ? named : named.digest;
    const answer = await this.#get(`manifests/${name}`, { accept: manifestTypes.join(", ") }, signal);
    if (answer.status !== 200) throw this.#unexpected(answer, `manifest ${name}`, "MANIFEST_UNKNOWN");
    return {
      bytes: typeof named === "string" ? await this.#document(answer, name) : await this.#described(answer, named),
      contentType: answer.header("content-type"),
      contentDigest: answer.header("docker-content-digest"),
    };
  }

  /** A small blob in memory. BLOB_UNKNOWN, SIZE_MISMATCH, REGISTRY_*, AUTH_*. */
  async smallBlob(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer> {
    const { digest } = descriptor;
    const answer = await this.#get(`blobs/${digest}`, {}, signal);
    if (answer.status !== 200) throw this.#unexpected(answer, `blob ${digest}`, "BLOB_UNKNOWN");
    return this.#described(answer, descriptor);
  }

  /** The bytes from `offset` on, or all of them where the registry does not do ranges: 206 or 200. BLOB_UNKNOWN, REGISTRY_*, AUTH_*. */
  async blob(digest: Digest, offset: number, signal: AbortSignal): Promise<Answer> {
    const path = `blobs/${digest}`;
    const answer = await this.#get(path, offset === 0 ? {} : { range: `bytes=${offset}-` }, signal);
    if (answer.status === 200 || (answer.status === 206 && startsAt(answer, offset))) return answer;
    if (offset === 0 || (answer.status !== 206 && answer.status !== 416)) {
      throw this.#unexpected(answer, `blob ${digest}`, "BLOB_UNKNOWN");
    }
    answer.discard();
    const whole = await this.#get(path, {}, signal);
    if (whole.status === 200) return whole;
    throw this.#unexpected(whole, `blob ${digest}`, "BLOB_UNKNOWN");
  }

  #get(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer> {
    const { url, repository } = this.#options;
    return this.#requests.ask(new URL(`${repository}/${path}`, url), { headers }, signal);
  }

  async #document(answer: Answer, name: string): Promise<Buffer> {
    const bytes =
      (announcedLength(answer) ?? 0) > MAX_DOCUMENT_BYTES ? undefined : await readBody(answer, MAX_DOCUMENT_BYTES);
    if (bytes !== undefined) return bytes;
    answer.discard();
    throw documentTooBig(name, "the registry sends more bytes");
  }

  /** Of a document whose size is known no more is read than that. */
  async #described(answer: Answer, descriptor: Descriptor): Promise<Buffer> {
    const { size } = descriptor;
    refuseOtherLength(answer, descriptor, size);
    const bytes = await readBody(answer, size);
    if (bytes !== undefined) return bytes;
    throw sizeMismatch(descriptor, size + 1);
  }

  #unexpected(answer: Answer, what: string, missing: "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN"): Error {
    answer.discard();
    const { status, url } = answer;
    const transient = transientStatus(status, url.host, answer.header("retry-after"));
    if (transient !== undefined) return transient;
    if (status === 401 || status === 403) return this.#requests.refused(status);
    if (status !== 404)
      return registryError("REGISTRY_BAD_RESPONSE", url.host, `it answered ${status} for ${printable(what)}`, {
        // What servers of TLS answer to plain HTTP.
        ...(status === 400 && url.protocol === "http:" ? { hint: ASKED_PLAINLY } : {}),
      });
    const { registry, repository } = this.#options;
    return new StrataError(missing, `Cannot find ${printable(what)}: ${registry}/${repository} does not have it`);
  }
}

/** Before the first byte is read: a body of another length cannot become the blob. SIZE_MISMATCH. */
export function refuseOtherLength(answer: Answer, descriptor: Descriptor, expected: number): void {
  const length = announcedLength(answer);
  if (length === undefined || length === expected) return;
  answer.discard();
  throw sizeMismatch(descriptor, descriptor.size - expected + length);
}

function startsAt(answer: Answer, offset: number): boolean {
  const range = /^bytes (\d+)-/.exec(answer.header("content-range") ?? "");
  return range !== null && Number(range[1]) === offset;
}

const ASKED_PLAINLY =
  "It was asked over plain HTTP, as every registry on loopback is; one that speaks TLS has to be named by another address.";
