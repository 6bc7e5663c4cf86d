/**
 * What the first bytes of a file say about its compression.
 */
import type { Codec } from "../oci/media-types.js";

/** As many bytes as the longest of the marks. */
export const MAGIC_BYTES = 6;

const marks: readonly (readonly [Codec, Buffer])[] = [
  ["gzip", Buffer.from([0x1f, 0x8b])],
  ["zstd", Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
  ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
];

export function compressionOf(start: Buffer): Codec {
  return marks.find(([, mark]) => start.subarray(0, mark.length).equals(mark))?.[0] ?? "none";
}
