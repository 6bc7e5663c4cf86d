/** Digests and diffIDs: wrong ones, those that are none, and sha512. */
import { buildImage, type TestImage } from "../../support/registry.js";
import {
  damaged,
  type Edit,
  freshTars,
  hex,
  honest,
  in512,
  inIndex,
  layerDigest,
  parts,
  sha512,
  withConfig,
  withDescriptor,
  withManifest,
} from "./images.js";
import { aboutLayer, type DocumentRow, no, yes } from "./row.js";

export const diffIds =
  (change: (ids: string[]) => unknown): Edit =>
  ({ rootfs, ...config }) => ({ ...config, rootfs: { ...rootfs, diff_ids: change(rootfs.diff_ids) } });

export const diffIdRows: DocumentRow[] = [
  ...no(
    "a wrong diffID of the first layer",
    "DIFF_ID_MISMATCH",
    () =>
      withConfig(
        honest(),
        diffIds(([, second]) => [`sha256:${hex}`, second]),
      ),
    { check: aboutLayer(0) },
  ),
  ...no(
    "a wrong diffID of the second layer",
    "DIFF_ID_MISMATCH",
    () =>
      withConfig(
        honest(),
        diffIds(([first]) => [first, `sha256:${hex}`]),
      ),
    { check: aboutLayer(1) },
  ),
  ...no(
    "diffIDs in the other order",
    "DIFF_ID_MISMATCH",
    () =>
      withConfig(
        honest(),
        diffIds((ids) => ids.toReversed()),
      ),
    { check: aboutLayer(0) },
  ),
  ...no("the blob's digest as diffID", "DIFF_ID_MISMATCH", () => {
    const image = honest();
    return withConfig(
      image,
      diffIds(([first]) => [first, layerDigest(image, 1)]),
    );
  }),
  ...no(
    "one blob twice, under two diffIDs",
    "DIFF_ID_MISMATCH",
    () => twice(honest(), ([first = ""]) => [first, `sha256:${hex}`]),
    { check: aboutLayer(1) },
  ),
  ...no("one layer twice", "LAYER_OVERLAP", () => twice(honest(), ([first = ""]) => [first, first])),
  ...no("a wrong diffID in sha512", "DIFF_ID_MISMATCH", () =>
    withConfig(
      honest(),
      diffIds(([first]) => [first, `sha512:${hex}${hex}`]),
    ),
  ),
];

const twice = (image: TestImage, ids: (ids: string[]) => string[]): TestImage =>
  withManifest(withConfig(image, diffIds(ids)), ({ layers: [first], ...manifest }) => ({
    ...manifest,
    layers: [first, first],
  }));

const noDigests = [
  "sha256:../../x",
  "../../../outside/canary",
  `sha256:${hex.toUpperCase()}`,
  `SHA256:${hex}`,
  `sha256:${hex.slice(1)}`,
  `sha256:${hex}0`,
  `sha256:${hex}\n`,
  ` sha256:${hex}`,
  `sha256:${hex.slice(3)}/..`,
  `sha256:${hex.slice(2)}\0\0`,
  `sha512:${hex}`,
  `sha256:${hex}${hex}`,
  `sha384:${hex}${hex.slice(32)}`,
  `sha256+b64u:${hex}`,
  `md5:${hex.slice(32)}`,
  hex,
  `sha256${hex}`,
  "sha256:",
  ":",
  "",
  "\x1b]0;owned\x07\u202e",
  `sha256:${"a".repeat(100_000)}`,
];

export const shown = (text: string): string => JSON.stringify(text.slice(0, 40));

export const digests: DocumentRow[] = [
  ...noDigests.flatMap((digest) => [
    ...parts.flatMap((part) =>
      no(
        `the digest ${shown(digest)}: ${part}`,
        "DIGEST_FORMAT",
        () => withDescriptor(honest(), part, (descriptor) => ({ ...descriptor, digest })),
        { ways: [part === "layer" ? "registry" : "oci"] },
      ),
    ),
    ...no(
      `the diffID ${shown(digest)}`,
      "DIGEST_FORMAT",
      () =>
        withConfig(
          honest(),
          diffIds(([first]) => [first, digest]),
        ),
      { ways: ["oci"] },
    ),
  ]),
  ...[undefined, null, 5, {}, [`sha256:${hex}`]].flatMap((digest) =>
    parts.flatMap((part) =>
      no(
        `the digest ${JSON.stringify(digest)}: ${part}`,
        "DESCRIPTOR_INVALID",
        () => withDescriptor(honest(), part, (descriptor) => ({ ...descriptor, digest })),
        { ways: ["oci"] },
      ),
    ),
  ),
  ...no("a diffID that is a number", "MANIFEST_INVALID", () =>
    withConfig(
      honest(),
      diffIds(() => [1, 2]),
    ),
  ),
  ...yes("every digest in sha512", () => in512()),
  ...yes("every digest in sha512, in an index", () => inIndex(in512())),
  ...yes("blobs in sha512, diffIDs in sha256", () => in512({ diffIds: false })),
  ...yes("blobs in sha256, diffIDs in sha512", () => {
    const tars = freshTars();
    return buildImage(tars, { config: { rootfs: { type: "layers", diff_ids: tars.map(sha512) } } });
  }),
  ...no("a layer's sha512 is another's", "DIGEST_MISMATCH", () => damaged(in512(), 1), {
    check: aboutLayer(1),
  }),
  ...no("a config's sha512 is another's", "DIGEST_MISMATCH", () => damaged(in512(), "config")),
];
