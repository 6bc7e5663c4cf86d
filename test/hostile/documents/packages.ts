/** Packages: what their config claims of the layers binds nobody, and the digests of the blobs bind everybody. */
import assert from "node:assert/strict";
import { buildPackage, EMPTY_CONFIG, OCX_METADATA, OCX_PACKAGE, packageLayer } from "../../support/packages.js";
import type { TestImage } from "../../support/registry.js";
import { tar } from "../../support/tar-builder.js";
import type { Json } from "../../support/wire.js";
import {
  configDigest,
  damaged,
  type Edit,
  freshTars,
  hex,
  in512,
  inIndex,
  instead,
  layerDigest,
  OCI_LAYER,
  withConfig,
  withDescriptor,
  withManifest,
} from "./images.js";
import { without } from "./mismatches.js";
import { type DocumentRow, type More, no, yes } from "./row.js";

type Options = Parameters<typeof buildPackage>[1] & { readonly codec?: "gzip" | "none" };

/** An honest package of two layers that nobody has seen before. */
export const pack = ({ codec = "gzip", ...options }: Options = {}): TestImage =>
  buildPackage(
    freshTars().map((bytes) => packageLayer(bytes, codec)),
    options,
  );

export const oneWay = { ways: ["oci"] } as const;
export const asArtifact: Edit = (manifest) => ({ ...manifest, artifactType: OCX_PACKAGE });
export const layered = (type: unknown, at = 1): TestImage =>
  withManifest(pack(), ({ layers, ...manifest }) => ({
    ...manifest,
    layers: layers.with(at, { ...layers[at], mediaType: type }),
  }));

/** Claims of whatever config: another layer's diffIDs, and another platform. */
const claims = { os: "plan9", architecture: "s390x", rootfs: { type: "layers", diff_ids: [`sha256:${hex}`, hex, 5] } };

/** The diffIDs that the job tells were computed: no two layers had the same, and the claimed ones are not stored. */
const computed: NonNullable<More["check"]> = ({ layers }: Json, _image, { isStored }) => {
  for (const { diffId } of layers) assert.ok(isStored(diffId), diffId);
  assert.equal(isStored(`sha256:${hex}`), false);
};

/** The layer is told. */
const about =
  (index: number): NonNullable<More["check"]> =>
  ({ error }: Json, image) =>
    assert.equal(error.details.layerDigest, layerDigest(image, index));

export const packages: DocumentRow[] = [
  ...yes("a package", () => pack()),
  ...yes("a package in an index", () => inIndex(pack({ platform: { os: "linux", architecture: "amd64" } }))),
  ...yes("a package with an empty config", () => pack({ configType: EMPTY_CONFIG, config: {} })),
  ...yes("a package with an empty config that is nowhere", () => {
    const image = pack({ configType: EMPTY_CONFIG, config: {} });
    return without(image, configDigest(image));
  }),
  ...yes("a package of another artifactType than OCX's", () => pack({ manifest: { artifactType: "a/b" } })),
  ...yes("a package of Docker's layer types", () =>
    withManifest(pack(), ({ layers, ...manifest }) => ({
      ...manifest,
      layers: layers.map((layer: Json) => ({
        ...layer,
        mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip",
      })),
    })),
  ),
  ...yes("a package named by sha512 all through", () =>
    withManifest(in512({ diffIds: false }), ({ config, ...manifest }) => ({
      ...asArtifact(manifest),
      config: { ...config, mediaType: "a/b" },
    })),
  ),
  ...[OCX_METADATA, "application/vnd.example.config.v1+json"].flatMap((configType) =>
    yes(`a package whose config of type ${configType} claims diffIDs`, () => pack({ configType, config: claims }), {
      check: computed,
    }),
  ),
  ...yes("a package of 512 layers, of which 510 are empty", () => manyLayers(512), oneWay),
  ...no("a package of 513 layers", "LIMIT_LAYERS", () => manyLayers(513), oneWay),
  ...no("a package with one layer twice", "LAYER_OVERLAP", () =>
    withManifest(pack(), ({ layers: [first], ...manifest }) => ({ ...manifest, layers: [first, first] })),
  ),
  ...no("a package for another platform", "NO_PLATFORM", () =>
    inIndex(pack({ platform: { os: "linux", architecture: "s390x" } })),
  ),

  ...no("a package's first layer is damaged", "DIGEST_MISMATCH", () => damaged(pack(), 0), { check: about(0) }),
  ...no("a package's second layer is damaged", "DIGEST_MISMATCH", () => damaged(pack(), 1), { check: about(1) }),
  ...no("a package's plain layer is damaged", "DIGEST_MISMATCH", () => damaged(pack({ codec: "none" }), 1), {
    check: about(1),
  }),
  ...no("a package's layer is another tar of the same length", "DIGEST_MISMATCH", () => {
    const image = pack({ codec: "none" });
    return instead(image, layerDigest(image, 1), () => freshTars()[1]);
  }),
  ...no("a package's layer is missing", "BLOB_UNKNOWN", () => {
    const image = pack();
    return without(image, layerDigest(image, 1));
  }),
  ...[-1, 1].flatMap((more) =>
    no(`a package's layer is said to be ${more} longer than it is`, "SIZE_MISMATCH", () =>
      withDescriptor(pack(), "layer", (layer) => ({ ...layer, size: layer.size + more })),
    ),
  ),
  ...["+zstd", "+xz", ""].flatMap((suffix) =>
    no(
      `a package's gzip under the type of a tar${suffix}`,
      "MEDIA_TYPE_MISMATCH",
      () => layered(`${OCI_LAYER}${suffix}`),
      oneWay,
    ),
  ),

  ...no("OCX's config is damaged", "DIGEST_MISMATCH", () => damaged(pack(), "config")),
  ...no("OCX's config is missing", "BLOB_UNKNOWN", () => {
    const image = pack();
    return without(image, configDigest(image));
  }),
  ...no("OCX's config of 5 MiB", "MANIFEST_TOO_BIG", () => pack({ config: "x".repeat(5 * 1024 * 1024) })),
  ...[[], null, "bundle"].flatMap((config) =>
    no(`OCX's config is ${JSON.stringify(config)}`, "MANIFEST_INVALID", () => pack({ config }), oneWay),
  ),
  ...no("OCX's config is no JSON", "MANIFEST_INVALID", () =>
    withConfig(pack(), () => Buffer.from('{"version":1,"version":2}')),
  ),
  ...[256, -1, 1.5, "1", "\x1b[2J\u202e", [1], {}].flatMap((strip) =>
    no(
      `strip_components ${JSON.stringify(strip)} in OCX's config`,
      "PLACEMENT_INVALID",
      () => pack({ config: { type: "bundle", version: 1, strip_components: strip } }),
      oneWay,
    ),
  ),
];

/** But for the first two the same empty layer. */
function manyLayers(count: number): TestImage {
  const layers = [...freshTars(), tar()].map((bytes) => packageLayer(bytes, "none"));
  return withManifest(buildPackage(layers), ({ layers: [first, second, empty], ...manifest }) => ({
    ...manifest,
    layers: [first, second, ...Array(count - 2).fill(empty)],
  }));
}
