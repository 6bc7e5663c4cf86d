/**
 * What the store makes of an archive's permission bits (invariant 6): files are never writable, because every root shares their
 * inodes; the daemon itself must be able to read what it stored.
 */

/** What an implied directory gets, and every directory while it is being filled. */
export const IMPLIED_MODE = 0o755;

export const storedFileMode = (mode: number): number => (mode & 0o555) | 0o400;
export const storedDirectoryMode = (mode: number): number => (mode & 0o777) | 0o500;
