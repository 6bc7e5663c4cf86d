/** Which tasks of the pool go before others; an unpack weighs as many bytes as it has to read. */

/** Links go before unpacks: they are short, and somebody's install ends with them. */
export const LINK_WEIGHT = Number.MAX_SAFE_INTEGER;
/** What keeps the store tidy goes behind every unpack, however small. */
export const UPKEEP_WEIGHT = -1;
