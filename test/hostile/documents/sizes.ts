/** Sizes that are wrong, or are no sizes. */
import { type Edit, honest, instead, layerDigest, parts, withDescriptor, withManifest } from "./images.js";
import { type DocumentRow, no } from "./row.js";

const sized =
  (size: unknown): Edit =>
  (descriptor) => ({ ...descriptor, size });

const noSizes = {
  "-1": -1,
  "1.5": 1.5,
  '"5"': "5",
  "2^60": 2 ** 60,
  null: null,
  true: true,
  "[5]": [5],
  "": undefined,
};

const INFINITE = "1e400";

export const sizes: DocumentRow[] = [
  ...parts.flatMap((part) => [
    ...no(`a size one too short: ${part}`, "SIZE_MISMATCH", () =>
      withDescriptor(honest(), part, (descriptor) => ({ ...descriptor, size: descriptor.size - 1 })),
    ),
    ...no(`a size one too long: ${part}`, "SIZE_MISMATCH", () =>
      withDescriptor(honest(), part, (descriptor) => ({ ...descriptor, size: descriptor.size + 1 })),
    ),
    ...no(`a size of 0: ${part}`, "SIZE_MISMATCH", () => withDescriptor(honest(), part, sized(0))),
    ...Object.entries(noSizes).flatMap(([text, size]) =>
      no(
        `a size of ${text || "nothing at all"}: ${part}`,
        "DESCRIPTOR_INVALID",
        () => withDescriptor(honest(), part, sized(size)),
        { ways: ["oci", "registry"] },
      ),
    ),
    ...no(
      `a size of ${INFINITE}: ${part}`,
      "DESCRIPTOR_INVALID",
      () => {
        const image = withDescriptor(honest(), part, sized("BIG"));
        return withManifest(image, (document) => Buffer.from(JSON.stringify(document).replace('"BIG"', INFINITE)));
      },
      { ways: ["oci"] },
    ),
  ]),
  ...no("a layer's size of 2^50", "SIZE_MISMATCH", () => withDescriptor(honest(), "layer", sized(2 ** 50))),
  ...no("a config's size of 2^50", ["SIZE_MISMATCH", "MANIFEST_TOO_BIG"], () =>
    withDescriptor(honest(), "config", sized(2 ** 50)),
  ),
  ...no("sizes whose sum is beyond what is exact", "SIZE_MISMATCH", () =>
    withManifest(honest(), ({ layers, ...manifest }) => ({
      ...manifest,
      layers: layers.map(sized(Number.MAX_SAFE_INTEGER)),
    })),
  ),
  ...no("a blob one byte longer than its size", "SIZE_MISMATCH", () => {
    const image = honest();
    return instead(image, layerDigest(image, 0), (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]));
  }),
  ...no("a blob one byte shorter than its size", "SIZE_MISMATCH", () => {
    const image = honest();
    return instead(image, layerDigest(image, 0), (bytes) => bytes.subarray(0, -1));
  }),
];
