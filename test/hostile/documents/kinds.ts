/** What a document is: two things at once, something else than it is called, or nothing that can be installed. */
import { json, sha256, type TestImage } from "../../support/registry.js";
import type { Json } from "../../support/wire.js";
import {
  DOCKER_MANIFEST,
  type Edit,
  honest,
  inIndex,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  SCHEMA_1,
  withConfig,
  withDescriptor,
  withManifest,
} from "./images.js";
import { type DocumentRow, no, yes } from "./row.js";

const own =
  (mediaType: unknown): Edit =>
  (document) => ({ ...document, mediaType });

const renamed = (image: TestImage, mediaType: string): TestImage => ({
  ...image,
  descriptor: { ...image.descriptor, mediaType },
});

export const ambiguities: DocumentRow[] = [
  ...no("a manifest with manifests", "MANIFEST_AMBIGUOUS", () =>
    withManifest(honest(), (manifest) => ({ ...manifest, manifests: [] })),
  ),
  ...no("an index with layers", "MANIFEST_AMBIGUOUS", () =>
    withManifest(inIndex(honest()), (index) => ({ ...index, layers: [] })),
  ),
  ...no("an index with a config", "MANIFEST_AMBIGUOUS", () =>
    withManifest(inIndex(honest()), (index) => ({ ...index, config: null })),
  ),
  ...no("both at once, whole, and without a media type of its own", "MANIFEST_AMBIGUOUS", () => {
    const image = honest();
    const { manifests } = JSON.parse(inIndex(honest()).bytes.toString());
    return withManifest(image, ({ mediaType, ...manifest }) => ({ ...manifest, manifests }));
  }),
  ...no("both at once, one of them in another case", ["MANIFEST_AMBIGUOUS", "MANIFEST_INVALID"], () =>
    withManifest(inIndex(honest()), (index) => ({ ...index, Layers: [], Config: {} })),
  ),
  ...["layers", "config"].flatMap((key) =>
    no(`${key} once more in another case`, ["MANIFEST_AMBIGUOUS", "MANIFEST_INVALID"], () =>
      withManifest(honest(), (manifest) => ({ ...manifest, [key.toUpperCase()]: manifest[key] })),
    ),
  ),
  ...["digest", "size", "mediaType"].flatMap((key) =>
    no(
      `a layer's ${key} once more in another case`,
      ["DESCRIPTOR_INVALID", "MANIFEST_INVALID"],
      () => withDescriptor(honest(), "layer", (layer) => ({ ...layer, [key.replace("s", "\u017f").toUpperCase()]: 1 })),
      { ways: ["oci", "registry"] },
    ),
  ),
  ...no("a manifest that calls itself an index", "MANIFEST_AMBIGUOUS", () => withManifest(honest(), own(OCI_INDEX))),
  ...no("a manifest that calls itself Docker's", "MANIFEST_AMBIGUOUS", () =>
    withManifest(honest(), own(DOCKER_MANIFEST)),
  ),
  ...no("an index that calls itself a manifest", "MANIFEST_AMBIGUOUS", () =>
    withManifest(inIndex(honest()), own(OCI_MANIFEST)),
  ),
  ...no("a manifest in an index that calls itself an index", "MANIFEST_AMBIGUOUS", () =>
    inIndex(withManifest(honest(), own(OCI_INDEX))),
  ),
  ...no("a manifest that is named an index", ["MANIFEST_AMBIGUOUS", "MANIFEST_INVALID"], () =>
    inIndex(
      withManifest(honest(), ({ mediaType, ...manifest }) => manifest),
      (descriptor) => ({
        ...descriptor,
        mediaType: OCI_INDEX,
      }),
    ),
  ),
  ...[5, true, [], ["x"], { toString: 1, valueOf: 1 }, {}].flatMap((mediaType) =>
    no(
      `a manifest whose media type is ${JSON.stringify(mediaType)}`,
      ["MANIFEST_INVALID", "MANIFEST_AMBIGUOUS"],
      () => withManifest(honest(), own(mediaType)),
      { ways: ["oci", "registry"] },
    ),
  ),
  ...yes("a manifest and an index without a media type of their own", () =>
    withManifest(inIndex(withManifest(honest(), own(undefined))), own(undefined)),
  ),
  ...yes("Docker's media types, all through", () => {
    const image = withManifest(honest(), ({ config, layers, ...manifest }) => ({
      ...manifest,
      mediaType: DOCKER_MANIFEST,
      config: { ...config, mediaType: "application/vnd.docker.container.image.v1+json" },
      layers: layers.map((layer: Json) => ({
        ...layer,
        mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip",
      })),
    }));
    return renamed(image, DOCKER_MANIFEST);
  }),
];

const helm: Edit = (manifest) => ({
  ...manifest,
  config: { ...manifest.config, mediaType: "application/vnd.cncf.helm.config.v1+json" },
  layers: [{ ...manifest.layers[0], mediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip" }],
});

const wasm: Edit = (manifest) => ({
  ...manifest,
  config: { ...manifest.config, mediaType: "application/vnd.wasm.config.v0+json" },
  layers: [{ ...manifest.layers[0], mediaType: "application/wasm" }],
});

const EMPTY = { mediaType: "application/vnd.oci.empty.v1+json", digest: sha256(json({})), size: 2, data: "e30=" };

const artifact: Edit = (manifest) => ({
  ...manifest,
  artifactType: "application/vnd.example.sbom.v1",
  config: EMPTY,
  layers: [{ ...manifest.layers[0], mediaType: "application/spdx+json" }],
});

export const kinds: DocumentRow[] = [
  ...no("schema 1 by its version", "MEDIA_TYPE_UNSUPPORTED", () =>
    withManifest(honest(), () => ({ schemaVersion: 1, name: "app", tag: "v1", fsLayers: [], history: [] })),
  ),
  ...no("schema 1 by its media type", "MEDIA_TYPE_UNSUPPORTED", () =>
    renamed(
      withManifest(honest(), () => ({ schemaVersion: 1, fsLayers: [], signatures: [] })),
      SCHEMA_1,
    ),
  ),
  ...no("schema 1 in an index", "MEDIA_TYPE_UNSUPPORTED", () =>
    inIndex(honest(), (descriptor) => ({ ...descriptor, mediaType: SCHEMA_1 })),
  ),
  ...no("schema 3", "MANIFEST_INVALID", () => withManifest(honest(), (own) => ({ ...own, schemaVersion: 3 }))),
  ...no("no schema version", "MANIFEST_INVALID", () =>
    withManifest(honest(), ({ schemaVersion, ...manifest }) => manifest),
  ),
  ...no("a Helm chart", "NOT_AN_IMAGE", () => withManifest(honest(), helm)),
  ...no("a wasm module", "NOT_AN_IMAGE", () => withManifest(honest(), wasm)),
  ...no("an artifact with an empty config", "NOT_AN_IMAGE", () => withManifest(honest(), artifact)),
  ...no("an artifact with an empty config, in an index", "NOT_AN_IMAGE", () =>
    inIndex(withManifest(honest(), artifact)),
  ),
  ...no("an artifact without layers", "NOT_AN_IMAGE", () =>
    withManifest(honest(), (manifest) => ({ ...artifact(manifest), layers: [] })),
  ),
  ...no("a config of a type of ESC", "DESCRIPTOR_INVALID", () =>
    withManifest(honest(), ({ config, ...own }) => ({ ...own, config: { ...config, mediaType: "a/\x1b[2J" } })),
  ),
  ...no("an empty config under the type of an image's", "MANIFEST_INVALID", () => withConfig(honest(), () => ({}))),
  ...[
    "application/octet-stream",
    `${OCI_LAYER}+bzip2`,
    `${OCI_LAYER}+encrypted`,
    `${OCI_LAYER}+gzip+encrypted`,
  ].flatMap((mediaType) =>
    no(`a layer of type ${mediaType}`, "MEDIA_TYPE_UNSUPPORTED", () =>
      withDescriptor(honest(), "layer", (layer) => ({ ...layer, mediaType })),
    ),
  ),
  ...["Layers", "layers+base", "", " layers", null, 5, ["layers"], undefined].flatMap((type) =>
    no(
      `a rootfs of type ${JSON.stringify(type)}`,
      "ROOTFS_TYPE",
      () => withConfig(honest(), ({ rootfs, ...config }) => ({ ...config, rootfs: { ...rootfs, type } })),
      { ways: ["oci", "registry"] },
    ),
  ),
  ...[null, [], "layers", undefined].flatMap((rootfs) =>
    no(
      `a rootfs that is ${JSON.stringify(rootfs)}`,
      ["MANIFEST_INVALID", "ROOTFS_TYPE"],
      () => withConfig(honest(), (config) => ({ ...config, rootfs })),
      { ways: ["oci"] },
    ),
  ),
];
