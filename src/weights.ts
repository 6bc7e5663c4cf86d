/** Which tasks of the pool go before others, and how many of a kind at once; an unpack weighs as many bytes as it has to read. */

/** Links and removals go before unpacks: they are short, and somebody's install ends with them, or waits for the room. */
export const LINK_WEIGHT = Number.MAX_SAFE_INTEGER;
/** What keeps the store tidy goes behind every unpack, however small. */
export const UPKEEP_WEIGHT = -1;

/** Layers that are unpacked side by side where nothing has to be waited for: each has two threads, and each thread compiles its code for itself. */
export const layersAtOnce = (threads: number): number => Math.ceil(threads / 2);
