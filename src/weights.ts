/** Which tasks of the pool go before others, and how many of a kind at once; an unpack weighs as many bytes as it has to read. */

/** Links, and removals that somebody may wait for, go before unpacks: they are short, and an install ends with them. */
export const LINK_WEIGHT = Number.MAX_SAFE_INTEGER;
/** What keeps the store tidy goes behind every unpack, however small. */
export const UPKEEP_WEIGHT = -1;

/** Layers that are unpacked side by side where nothing has to be waited for: each has two threads, and each thread compiles its code for itself. */
export const layersAtOnce = (threads: number): number => Math.ceil(threads / 2);
