/** How many layers, and what stands beside them: `data`, annotations, labels. */
import { buildImage, type TestImage } from "../../support/registry.js";
import { tar } from "../../support/tar-builder.js";
import { diffIds } from "./digests.js";
import { type Edit, freshTars, hex, honest, layerDigest, withConfig, withDescriptor, withManifest } from "./images.js";
import { without } from "./mismatches.js";
import { type DocumentRow, no, yes } from "./row.js";

export const counts: DocumentRow[] = [
  ...no("a layer more than diffIDs", "LAYER_COUNT", () =>
    withConfig(
      honest(),
      diffIds(([first]) => [first]),
    ),
  ),
  ...no("a diffID more than layers", "LAYER_COUNT", () =>
    withConfig(
      honest(),
      diffIds((ids) => [...ids, `sha256:${hex}`]),
    ),
  ),
  ...no("no diffIDs", "LAYER_COUNT", () =>
    withConfig(
      honest(),
      diffIds(() => []),
    ),
  ),
  ...no("diffIDs that are null", "LAYER_COUNT", () =>
    withConfig(
      honest(),
      diffIds(() => null),
    ),
  ),
  ...no("diffIDs that are no list", "MANIFEST_INVALID", () =>
    withConfig(
      honest(),
      diffIds(() => ({ length: 2 })),
    ),
  ),
  ...[[], null, undefined].flatMap((layers) =>
    no(`layers that are ${JSON.stringify(layers)}`, "NO_LAYERS", () =>
      withManifest(
        withConfig(
          honest(),
          diffIds(() => []),
        ),
        (manifest) => ({ ...manifest, layers }),
      ),
    ),
  ),
  ...[{}, "layers", 5].flatMap((layers) =>
    no(`layers that are ${JSON.stringify(layers)}`, "MANIFEST_INVALID", () =>
      withManifest(honest(), (manifest) => ({ ...manifest, layers })),
    ),
  ),
  ...no("513 layers", "LIMIT_LAYERS", () => repeated(513)),
  ...no("15,000 layers", "LIMIT_LAYERS", () => repeated(15_000)),
  ...yes("512 layers, of which 510 are empty", () => repeated(512)),
];

/** `count` layers; but for the first two the same empty one. */
function repeated(count: number): TestImage {
  const empty = tar();
  const [one, two] = freshTars();
  const image = buildImage([one, two, empty], { codec: "none" });
  const fill = <Item>([first, second, last]: Item[]) => [first, second, ...Array<Item>(count - 2).fill(last as Item)];
  return withManifest(withConfig(image, diffIds(fill)), ({ layers, ...manifest }) => ({
    ...manifest,
    layers: fill(layers),
  }));
}

const dataOf =
  (text: string): Edit =>
  (descriptor) => ({ ...descriptor, data: Buffer.from(text).toString("base64") });

export const extras: DocumentRow[] = [
  ...yes("`data` that says something else", () =>
    withDescriptor(withDescriptor(honest(), "layer", dataOf("evil")), "config", dataOf("{}")),
  ),
  ...yes("`data` that is none", () =>
    withDescriptor(honest(), "layer", (layer) => ({ ...layer, data: { not: "text" } })),
  ),
  ...no("`data` of a blob that is not there", "BLOB_UNKNOWN", () => {
    const image = honest();
    const data = (image.blobs.get(layerDigest(image, 1)) as Buffer).toString("base64");
    const inlined = withDescriptor(image, "layer", (layer) => ({ ...layer, data }));
    return without(inlined, layerDigest(image, 1));
  }),
  ...yes("annotations and labels of every kind of key", () =>
    withConfig(
      withManifest(honest(), (manifest) => ({
        ...manifest,
        annotations: { constructor: "x", "": "y", "../../x": "\x1b[2J", "org.opencontainers.image.ref.name": "../.." },
      })),
      (config) => ({ ...config, config: { Labels: { Architecture: "x", OS: "y", rootfs: "z" } } }),
    ),
  ),
  ...no("annotations that are a list", "MANIFEST_INVALID", () =>
    withManifest(honest(), (manifest) => ({ ...manifest, annotations: ["x"] })),
  ),
  ...no("a descriptor's annotations that are numbers", "DESCRIPTOR_INVALID", () =>
    withDescriptor(honest(), "layer", (layer) => ({ ...layer, annotations: { x: 1 } })),
  ),
];
