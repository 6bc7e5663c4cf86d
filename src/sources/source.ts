/**
 * What every origin of images gives: a layout directory, an archive, a registry (cli.md, References).
 *
 * A source answers with documents (bytes, already checked against their descriptor) and with blobs that stand in a file.
 * A blob may still be growing: a download and the unpacking of the same bytes overlap. Whoever opens a source closes it.
 * Sources know nothing of the store, of layers that are unpacked, or of policies.
 */
import type { Descriptor } from "../oci/documents.js";
import type { Reference } from "../oci/reference.js";

export interface ImageSource {
  readonly reference: Reference;

  /**
   * The descriptor and the bytes that the reference names: an index or a manifest. The tag is resolved once; the digest is
   * computed over the very bytes that are returned. MANIFEST_UNKNOWN, LAYOUT_INVALID, ARCHIVE_LAYOUT, REGISTRY_*, AUTH_*.
   */
  root(signal: AbortSignal): Promise<ResolvedDocument>;

  /** A manifest, index or config by its descriptor: at most MAX_DOCUMENT_BYTES, size and digest checked (SIZE_MISMATCH, DIGEST_MISMATCH). */
  document(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer>;

  /**
   * The bytes of a layer as a file. A source that has to fetch writes them to `partial` (an absolute path of the caller's,
   * whose directory exists; the caller removes it) and returns as soon as the first byte may be read; `done` then settles
   * when all bytes are there or none will follow. Digest and size are the reader's to check.
   */
  blob(descriptor: Descriptor, partial: string, signal: AbortSignal): Promise<Blob>;

  close(): Promise<void>;
}

export interface ResolvedDocument {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/** `length` bytes at `offset` of the file at `path`. `growth` is absent where all of them are there already. */
export interface Blob {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
  /**
   * False where the digest is not known to be that of the bytes in the file (a docker-archive, which names a layer by its tar
   * however it is compressed): then only the diffID checks them.
   */
  readonly digestIsOfBytes: boolean;
  readonly growth?: SharedArrayBuffer;
  /** Rejects with the reason when the blob will not be complete (REGISTRY_*, CANCELLED, SIZE_MISMATCH). */
  readonly done: Promise<void>;
}
