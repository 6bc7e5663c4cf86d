import assert from "node:assert/strict";
import { test } from "node:test";
import { pairLayers, parseConfig, parseIndex, parseLayout, parseManifest } from "../../src/oci/documents.js";
import { isForeignLayer, layerCodec, OCI_INDEX, OCI_MANIFEST } from "../../src/oci/media-types.js";

const digest = `sha256:${"1".repeat(64)}`;
const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: 2 };
const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest, size: 3 };
const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] };
const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [{ ...layer, mediaType: OCI_MANIFEST }] };
const empty = { ...config, mediaType: "application/vnd.oci.empty.v1+json" };
const pack = { ...manifest, artifactType: "application/vnd.sh.ocx.package.v1", config: empty };
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

test("a manifest is read, fields that are not known are no error and do not come along", () => {
  const read = parseManifest(bytes({ ...manifest, extra: 1, layers: [{ ...layer, data: "eA==" }] }), OCI_MANIFEST);
  assert.deepEqual(read, { config, layers: [layer], annotations: {} });
});

test("null stands for an absent field, as Go writes it", () => {
  const read = parseManifest(bytes({ ...manifest, annotations: null, artifactType: null }), OCI_MANIFEST);
  assert.deepEqual(read.annotations, {});
});

test("an artifact whose layers are all tars is a package, whatever its config is but an image's", () => {
  for (const mediaType of [empty.mediaType, "application/vnd.sh.ocx.package.v1+json", "text/plain"]) {
    const own = { ...pack, config: { ...config, mediaType } };
    const { artifactType } = pack;
    assert.deepEqual(parseManifest(bytes(own), OCI_MANIFEST), {
      config: own.config,
      layers: [layer],
      annotations: {},
      artifactType,
    });
  }
});

const manifests: readonly (readonly [string, string, unknown])[] = [
  ["layers and manifests at once", "MANIFEST_AMBIGUOUS", { ...manifest, manifests: [] }],
  ["another mediaType than its descriptor", "MANIFEST_AMBIGUOUS", { ...manifest, mediaType: OCI_INDEX }],
  ["schema 1", "MEDIA_TYPE_UNSUPPORTED", { schemaVersion: 1, fsLayers: [] }],
  ["schema 3", "MANIFEST_INVALID", { ...manifest, schemaVersion: 3 }],
  ["no config", "MANIFEST_INVALID", { ...manifest, config: undefined }],
  ["a list instead of an object", "MANIFEST_INVALID", [manifest]],
  ["null instead of an object", "MANIFEST_INVALID", null],
  ["a size that is negative", "DESCRIPTOR_INVALID", { ...manifest, layers: [{ ...layer, size: -1 }] }],
  ["a size that is a text", "DESCRIPTOR_INVALID", { ...manifest, layers: [{ ...layer, size: "3" }] }],
  ["a size that is a fraction", "DESCRIPTOR_INVALID", { ...manifest, config: { ...config, size: 1.5 } }],
  ["a size beyond what is exact", "DESCRIPTOR_INVALID", { ...manifest, config: { ...config, size: 2 ** 60 } }],
  ["a descriptor without digest", "DESCRIPTOR_INVALID", { ...manifest, layers: [{ ...layer, digest: undefined }] }],
  ...["\n$", "$\n", `${"a".repeat(128)}/b`, `a/${"b".repeat(128)}`].map(
    (type) =>
      [
        `a media type of another form, ${JSON.stringify(type.slice(0, 4))}`,
        "DESCRIPTOR_INVALID",
        { ...manifest, layers: [{ ...layer, mediaType: type.replace("$", layer.mediaType) }] },
      ] as const,
  ),
  ["an artifactType that is too long", "MANIFEST_INVALID", { ...manifest, artifactType: "a".repeat(1025) }],
  ["a digest of another form", "DIGEST_FORMAT", { ...manifest, layers: [{ ...layer, digest: "sha256:../x" }] }],
  ["layers once more in another case", "MANIFEST_INVALID", { ...manifest, Layers: [] }],
  ["layers once more, with the s that only looks like one", "MANIFEST_INVALID", { ...manifest, "layer\u017f": [] }],
  ["manifests in another case", "MANIFEST_INVALID", { ...manifest, MANIFESTS: [] }],
  ["a digest once more in another case", "DESCRIPTOR_INVALID", { ...manifest, layers: [{ ...layer, Digest: digest }] }],
  ["a media type that is no text", "MANIFEST_INVALID", { ...manifest, mediaType: { toString: 1, valueOf: 1 } }],
  ["annotations that are no texts", "MANIFEST_INVALID", { ...manifest, annotations: { a: 1 } }],
  ["layers that are none, too many to look at each", "LIMIT_LAYERS", { ...manifest, layers: Array(1_000_000).fill(0) }],
  ["urls that are none", "DESCRIPTOR_INVALID", { ...manifest, layers: [{ ...layer, urls: Array(1_000_000).fill(0) }] }],
  ["no layers", "NO_LAYERS", { ...manifest, layers: [] }],
  ["null layers", "NO_LAYERS", { ...manifest, layers: null }],
  ["too many layers", "LIMIT_LAYERS", { ...manifest, layers: Array(513).fill(layer) }],
  [
    "a chart",
    "NOT_AN_IMAGE",
    { ...manifest, config: { ...config, mediaType: "application/vnd.cncf.helm.config.v1+json" } },
  ],
  [
    "an artifact",
    "NOT_AN_IMAGE",
    {
      ...manifest,
      layers: [],
      artifactType: "a/b",
      config: { ...config, mediaType: "application/vnd.oci.empty.v1+json" },
    },
  ],
  [
    "a layer that is no tar",
    "MEDIA_TYPE_UNSUPPORTED",
    { ...manifest, layers: [{ ...layer, mediaType: "text/plain" }] },
  ],
  [
    "an artifactType, an image config and a layer that is no tar",
    "MEDIA_TYPE_UNSUPPORTED",
    { ...pack, config, layers: [{ ...layer, mediaType: "text/plain" }] },
  ],
  ["a package's form and no artifactType", "NOT_AN_IMAGE", { ...pack, artifactType: undefined }],
  ["a package's form and an artifactType of no letter", "NOT_AN_IMAGE", { ...pack, artifactType: "" }],
  ["a package's form and null layers", "NOT_AN_IMAGE", { ...pack, layers: null }],
  ["a package's form and layers that are none", "NOT_AN_IMAGE", { ...pack, layers: [layer, 0, null, "layer"] }],
  ["a package's form and too many layers", "LIMIT_LAYERS", { ...pack, layers: Array(513).fill(layer) }],
  ["a package's form and a layer without size", "DESCRIPTOR_INVALID", { ...pack, layers: [{ ...layer, size: null }] }],
];
for (const [what, code, document] of manifests) {
  test(`a manifest with ${what} is ${code}`, () => {
    assert.throws(() => parseManifest(bytes(document), OCI_MANIFEST), { code });
  });
}

test("an index is read with platforms and annotations", () => {
  const platform = { os: "linux", architecture: "arm64", variant: "v8" };
  const read = parseIndex(bytes({ ...index, manifests: [{ ...layer, mediaType: OCI_MANIFEST, platform }] }), OCI_INDEX);
  assert.deepEqual(read.manifests, [{ ...layer, mediaType: OCI_MANIFEST, platform }]);
});

test("an index with layers is ambiguous", () => {
  assert.throws(() => parseIndex(bytes({ ...index, layers: [] }), OCI_INDEX), { code: "MANIFEST_AMBIGUOUS" });
});

test("a config gives platform and diffIDs, or says what is wrong", () => {
  const good = { os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [digest] }, history: null };
  assert.deepEqual(parseConfig(bytes(good)), { platform: { os: "linux", architecture: "amd64" }, diffIds: [digest] });
  const rootfs = { type: "base", diff_ids: [] };
  assert.throws(() => parseConfig(bytes({ ...good, rootfs })), { code: "ROOTFS_TYPE" });
  assert.throws(() => parseConfig(bytes({ ...good, rootfs: { diff_ids: [] } })), { code: "ROOTFS_TYPE" });
  const flood = { type: "layers", diff_ids: Array(1_000_000).fill(0) };
  assert.throws(() => parseConfig(bytes({ ...good, rootfs: flood })), { code: "MANIFEST_INVALID" });
  for (const odd of [{ variant: "\x1b[2J" }, { architecture: "a/../b" }, { os: "li nux" }]) {
    assert.throws(() => parseConfig(bytes({ ...good, ...odd })), { code: "MANIFEST_INVALID" });
  }
  const short = { type: "layers", diff_ids: ["sha256:1"] };
  assert.throws(() => parseConfig(bytes({ ...good, rootfs: short })), { code: "DIGEST_FORMAT" });
  assert.throws(() => parseConfig(bytes({})), { code: "MANIFEST_INVALID" });
});

test("layers and diffIDs must be as many", () => {
  const read = parseManifest(bytes(manifest), OCI_MANIFEST);
  const platform = { os: "linux", architecture: "amd64" };
  assert.throws(() => pairLayers(read, { platform, diffIds: [] }), { code: "LAYER_COUNT" });
});

test("a layout is of version 1", () => {
  assert.equal(parseLayout(bytes({ imageLayoutVersion: "1.0.0" })).imageLayoutVersion, "1.0.0");
  const odd = ["2.0.0", "../1.0.0", "1.0.0\n", "1.00000.0", "1.0.00000", 1].map((version) => ({
    imageLayoutVersion: version,
  }));
  for (const value of [...odd, {}, []]) {
    assert.throws(() => parseLayout(bytes(value)), { code: "LAYOUT_INVALID" });
  }
});

test("a layer's media type names its codec", () => {
  for (const [mediaType, codec, foreign] of [
    ["application/vnd.oci.image.layer.v1.tar", "none", false],
    ["application/vnd.oci.image.layer.v1.tar+gzip", "gzip", false],
    ["application/vnd.oci.image.layer.v1.tar+zstd", "zstd", false],
    ["application/vnd.oci.image.layer.v1.tar+xz", "xz", false],
    ["application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip", false],
    ["application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip", true],
    ["application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip", true],
  ] as const) {
    assert.equal(layerCodec(mediaType), codec);
    assert.equal(isForeignLayer(mediaType), foreign);
  }
});
