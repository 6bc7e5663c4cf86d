/** Images that speak of themselves in the words of our own documents. */
import { layoutFiles } from "../../support/images.js";
import type { TestImage } from "../../support/registry.js";
import type { Json } from "../../support/wire.js";
import { honest, withManifest } from "./images.js";
import type { DocumentRow } from "./row.js";
import { yes } from "./scene-row.js";
import { inFiles } from "./scenes.js";

const IMITATION = "imitation-of-our-own-keys";

/** What an image says of itself in the words of our own documents. */
function imitating(): TestImage {
  const keys = [
    "schema",
    "rootId",
    "diffId",
    "manifestDigest",
    "overlap",
    "link",
    "layers",
    "bytes",
    "entries",
    "createdAt",
    "durable",
    "digests",
    "name",
    "generation",
    "pinned",
    "decoder",
    "changesetSha256",
  ];
  const annotations = Object.fromEntries(
    keys.flatMap((key) =>
      ["", "stratad.", "dev.stratad.", "io.stratad/"].map((prefix) => [`${prefix}${key}`, IMITATION]),
    ),
  );
  const image = honest();
  return withManifest(image, ({ layers, config, ...manifest }) => ({
    ...manifest,
    ...Object.fromEntries(keys.filter((key) => key !== "layers").map((key) => [key, IMITATION])),
    annotations,
    config: { ...config, annotations },
    layers: layers.map((layer: Json) => ({ ...layer, annotations, diffId: IMITATION, rootId: IMITATION })),
  }));
}

export const imitations: DocumentRow[] = [
  {
    ...yes("annotations that imitate our own keys", async (ground) =>
      inFiles(layoutFiles([["app", imitating()]]))(ground),
    ),
    absent: IMITATION,
  },
];
