/**
 * Digests: `algorithm:hex` texts that are safe to put into a path once they are parsed.
 *
 * A `Digest` names bytes as served, a `DiffId` an uncompressed tar; the two are different types because mixing them up is
 * the classic mistake of this field. Both are made by parsing or by hashing only.
 */
import { createHash } from "node:crypto";
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";

declare const brand: unique symbol;
export type Digest = string & { readonly [brand]: "Digest" };
export type DiffId = string & { readonly [brand]: "DiffId" };
export type DigestAlgorithm = "sha256" | "sha512";

/** image-spec v1.1 descriptor.md, Registered Algorithms: lower-case hex of the exact length. DIGEST_FORMAT. */
export function parseDigest(text: string): Digest {
  return checked(text, "digest") as Digest;
}

/** The same grammar for the digest of an uncompressed tar. DIGEST_FORMAT. */
export function parseDiffId(text: string): DiffId {
  return checked(text, "diffID") as DiffId;
}

/** Of the parts of one that was parsed. */
export const joinedDiffId = (algorithm: DigestAlgorithm, hex: string): DiffId => `${algorithm}:${hex}` as DiffId;

export function digestAlgorithm(digest: Digest | DiffId): DigestAlgorithm {
  return digest.startsWith("sha512:") ? "sha512" : "sha256";
}

export function digestHex(digest: Digest | DiffId): string {
  return digest.slice(digest.indexOf(":") + 1);
}

/** For documents only: bulk data is hashed on workers. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = "sha256"): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}` as Digest;
}

/** A blob that is an uncompressed tar is named by its diffID (docker-archive, media types without a codec). */
export const diffIdAsDigest = (diffId: DiffId): Digest => diffId as string as Digest;

const FORM = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

function checked(text: string, what: string): string {
  if (FORM.test(text)) return text;
  throw new StrataError(
    "DIGEST_FORMAT",
    `Cannot read the ${what} '${printable(text)}': it is not sha256: or sha512: and lower-case hex of the right length`,
  );
}
