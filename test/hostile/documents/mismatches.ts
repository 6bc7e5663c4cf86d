/** Bytes that are not those that a digest names: the manifest's, the config's, each layer's, in turn. */
import type { TestImage } from "../../support/registry.js";
import {
  configDigest,
  damaged,
  flipped,
  honest,
  inIndex,
  instead,
  layerDigest,
  OCI_LAYER,
  withManifest,
} from "./images.js";
import { aboutLayer, type DocumentRow, no } from "./row.js";

const local = ["oci", "oci-archive"] as const;

export const mismatches: DocumentRow[] = [
  ...no("the manifest's bytes are others", "DIGEST_MISMATCH", () => damaged(honest(), "root"), {
    ways: local,
  }),
  ...no("the bytes of a manifest in an index are others", "DIGEST_MISMATCH", () => {
    const image = honest();
    return instead(inIndex(image), image.descriptor.digest, flipped);
  }),
  ...no("the index's bytes are others", "DIGEST_MISMATCH", () => damaged(inIndex(honest()), "root"), {
    ways: local,
  }),
  ...no("the config's bytes are others", "DIGEST_MISMATCH", () => damaged(honest(), "config")),
  ...no("the first layer's bytes are others", "DIGEST_MISMATCH", () => damaged(honest(), 0), {
    check: aboutLayer(0),
  }),
  ...no("the second layer's bytes are others", "DIGEST_MISMATCH", () => damaged(honest(), 1), {
    check: aboutLayer(1),
  }),
  ...no(
    "both layers' bytes are others: the lower one is told",
    "DIGEST_MISMATCH",
    () => {
      const image = damaged(honest(), 1);
      return instead(image, layerDigest(image, 0), flipped);
    },
    { check: aboutLayer(0) },
  ),
  ...no(
    "a plain layer's bytes are others, so that no codec sees it",
    "DIGEST_MISMATCH",
    () => damaged(honest({ codec: "none" }), 1),
    { check: aboutLayer(1) },
  ),
  ...no("a layer under another's digest", ["DIGEST_MISMATCH", "SIZE_MISMATCH"], () => {
    const image = honest();
    return instead(image, layerDigest(image, 0), () => image.blobs.get(layerDigest(image, 1)) as Buffer);
  }),
  ...no("a blob of zeros of the right length", "DIGEST_MISMATCH", () => {
    const image = honest();
    return instead(image, layerDigest(image, 1), (bytes) => Buffer.alloc(bytes.length));
  }),
  ...no("an empty blob", "SIZE_MISMATCH", () => {
    const image = honest();
    return instead(image, layerDigest(image, 1), () => Buffer.alloc(0));
  }),
  ...no("a config that is missing", "BLOB_UNKNOWN", () => {
    const image = honest();
    return without(image, configDigest(image));
  }),
  ...no("a layer that is missing", "BLOB_UNKNOWN", () => {
    const image = honest();
    return without(image, layerDigest(image, 1));
  }),
  ...no("a layer that is the config", ["TAR_TRUNCATED", "TAR_CHECKSUM", "TAR_FORMAT", "MEDIA_TYPE_MISMATCH"], () =>
    withManifest(honest(), ({ layers: [first], config, ...manifest }) => ({
      ...manifest,
      config,
      layers: [first, { ...config, mediaType: OCI_LAYER }],
    })),
  ),
];

export function without(image: TestImage, digest: string): TestImage {
  return { ...image, blobs: new Map([...image.blobs].filter(([key]) => key !== digest)) };
}
