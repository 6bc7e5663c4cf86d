/**
 * The one check between the bytes of a document and its use: they are those that the descriptor names.
 */
import { StrataError } from "../errors.js";
import { MAX_DOCUMENT_BYTES } from "../limits.js";
import { digestAlgorithm, digestOf } from "../oci/digest.js";
import type { Descriptor } from "../oci/documents.js";
import { printable } from "../printable.js";

/** The bytes themselves. SIZE_MISMATCH, DIGEST_MISMATCH. */
export function checkedDocument(descriptor: Descriptor, bytes: Buffer): Buffer {
  const { digest, size } = descriptor;
  if (bytes.byteLength !== size) throw sizeMismatch(descriptor, bytes.byteLength);
  const actual = digestOf(bytes, digestAlgorithm(digest));
  if (actual === digest) return bytes;
  throw new StrataError("DIGEST_MISMATCH", `Cannot use document ${digest}: its bytes have digest ${actual}`, {
    details: { expected: digest, actual },
  });
}

/** To be called before anything is read. MANIFEST_TOO_BIG. */
export function refuseBigDocument({ digest, size }: Descriptor): void {
  if (size <= MAX_DOCUMENT_BYTES) return;
  throw documentTooBig(digest, `it has ${size} bytes`);
}

/** MANIFEST_TOO_BIG, to be thrown. */
export function documentTooBig(name: string, fact: string): StrataError {
  return new StrataError("MANIFEST_TOO_BIG", `Cannot read ${printable(name)}: ${fact}, over ${MAX_DOCUMENT_BYTES}`);
}

/** SIZE_MISMATCH, to be thrown. */
export function sizeMismatch({ digest, size }: Pick<Descriptor, "digest" | "size">, actual: number): StrataError {
  return new StrataError("SIZE_MISMATCH", `Cannot use blob ${digest}: it has ${actual} bytes, not ${size}`, {
    details: { digest, expected: size, actual },
  });
}
