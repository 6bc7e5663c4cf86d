/** The words for what is wrong with a store, on the wire and in the journal. */

/**
 * MISSING: not there. EXTRA: nothing that was unpacked or linked here. CONTENT: other bytes, or another type. MODE: other permissions
 * or another time. LINK_TARGET: a symlink that leads elsewhere. DOCUMENT: layer.json, changeset, root.json, plan and the like.
 * STRANGER: nothing of the store's.
 */
export const findingCodes = ["MISSING", "EXTRA", "CONTENT", "MODE", "LINK_TARGET", "DOCUMENT", "STRANGER"] as const;
export type FindingCode = (typeof findingCodes)[number];
