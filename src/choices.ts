/** What an install may choose between. Messages, the daemon's configuration and the store's documents use the same words. */
export const overlaps = ["c", "b", "a"] as const;
export type Overlap = (typeof overlaps)[number];
export const linkModes = ["hardlink", "reflink", "copy", "symlink"] as const;
export type LinkMode = (typeof linkModes)[number];
export const priorities = ["interactive", "normal", "background"] as const;
export type Priority = (typeof priorities)[number];

/** A root so linked is of copies: its files are its own. */
export const isWritable = (link: LinkMode): boolean => link === "copy" || link === "reflink";
