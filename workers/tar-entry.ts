/**
 * What the guard hands out and how it refuses: an entry of a tar, whoever takes it, and the codes of what is wrong with one.
 */

export type TarType = "file" | "dir" | "symlink" | "hardlink";

export interface TarEntry {
  readonly index: number;
  readonly type: TarType;
  /** As in the archive, not normalised. */
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  /** Seconds, clamped to [0, 2^33 - 1]. */
  readonly mtime: number;
  readonly size: number;
  readonly owned: boolean;
  readonly xattrs: number;
  /**
   * The header's blocks with their extensions, where the header is more than plain ustar: another reader must read them the
   * same (tar-entries.ts). Undefined for a plain header, which every reader reads alike.
   */
  readonly blocks: readonly Buffer[] | undefined;
}

/** What the guard feeds: `entry`, then the bytes of a file in any number of pieces, then `end`. All synchronous. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** A piece of the last entry's content; only valid during the call. */
  data(piece: Buffer): void;
  end(): void;
}

export type TarCode =
  | "BAD_LINK"
  | "BAD_NAME"
  | "ENTRY_TYPE"
  | "LIMIT_BYTES"
  | "LIMIT_ENTRIES"
  | "TAR_AMBIGUOUS"
  | "TAR_CHECKSUM"
  | "TAR_FORMAT"
  | "TAR_HEADER_TOO_BIG"
  | "TAR_MIXED_EXT"
  | "TAR_PAX"
  | "TAR_SIZE"
  | "TAR_SPARSE"
  | "TAR_TRAILING_DATA"
  | "TAR_TRUNCATED";

/** How the guard's helpers refuse: throws. */
export type Refuse = (code: TarCode, fact: string) => never;
