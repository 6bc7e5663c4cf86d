/**
 * Annotations of the descriptors in index.json: what an image is called there, and how `stratad export` says that its root was made.
 */

/** image-spec v1.1 annotations.md: the tag of a layout. */
export const REF_NAME = "org.opencontainers.image.ref.name";
/** The overlap policy and the link mode, in the words of the protocol. */
export const OVERLAP = "dev.stratad.overlap";
export const LINK = "dev.stratad.link";
