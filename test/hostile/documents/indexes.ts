/** Indexes and platforms. */
import assert from "node:assert/strict";
import { buildImage, buildIndex, type TestImage } from "../../support/registry.js";
import { file, tar } from "../../support/tar-builder.js";
import type { Json } from "../../support/wire.js";
import { shown } from "./digests.js";
import { type Edit, honest, inIndex, OCI_INDEX, withConfig, withManifest } from "./images.js";
import { type DocumentRow, no, yes } from "./row.js";

const platformed =
  (os: unknown, architecture: unknown, more: object = {}): Edit =>
  (descriptor) => ({
    ...descriptor,
    platform: { os, architecture, ...more },
  });

const AMD64 = ["linux", "amd64"] as const;

/** Images in one index, each descriptor edited. */
function indexOf(...members: readonly (readonly [TestImage, Edit])[]): TestImage {
  return withManifest(buildIndex(members.map(([image]) => image)), ({ manifests, ...index }) => ({
    ...index,
    manifests: manifests.map((descriptor: Json, i: number) => members[i]?.[1](descriptor)),
  }));
}

const tower = (levels: number): TestImage =>
  Array.from({ length: levels }).reduce((image: TestImage) => buildIndex([image]), honest());

const other = (): TestImage => buildImage([tar(file("other"))]);

export const indexes: DocumentRow[] = [
  ...yes("4 indexes in one another", () => tower(4)),
  ...no("5 indexes in one another", "INDEX_DEPTH", () => tower(5)),
  ...no("50 indexes in one another", "INDEX_DEPTH", () => tower(50)),
  ...no("an index of 100,000 manifests", "MANIFEST_TOO_BIG", () =>
    withManifest(inIndex(honest()), ({ manifests: [descriptor], ...index }) => ({
      ...index,
      manifests: Array(100_000).fill(descriptor),
    })),
  ),
  ...yes("an index of 15,000 manifests, the last of which fits", () =>
    withManifest(inIndex(honest()), ({ manifests: [descriptor], ...index }) => ({
      ...index,
      manifests: [...Array(15_000).fill(platformed("linux", "s390x")(descriptor)), descriptor],
    })),
  ),
  ...no("an index that names itself", ["DIGEST_MISMATCH", "SIZE_MISMATCH"], () => {
    const index = inIndex(honest());
    const loop = withManifest(index, (own) => ({ ...own, manifests: [{ ...index.descriptor, platform: undefined }] }));
    return { ...loop, manifests: new Map([[index.descriptor.digest, { mediaType: OCI_INDEX, bytes: loop.bytes }]]) };
  }),
  ...no("an index without manifests", "NO_PLATFORM", () =>
    withManifest(inIndex(honest()), (own) => ({ ...own, manifests: [] })),
  ),
  ...no("an index whose manifests are null", "MANIFEST_INVALID", () =>
    withManifest(inIndex(honest()), (own) => ({ ...own, manifests: null })),
  ),
  ...yes("attestations before the image", () =>
    indexOf(
      [other(), platformed("unknown", "unknown")],
      [
        other(),
        (descriptor) => ({
          ...platformed(...AMD64)(descriptor),
          annotations: { "vnd.docker.reference.type": "attestation-manifest" },
        }),
      ],
      [honest(), platformed(...AMD64)],
    ),
  ),
  ...no("attestations alone", "NO_PLATFORM", () => indexOf([honest(), platformed("unknown", "unknown")])),
  ...no(
    "no platform that matches: what there is, is told",
    "NO_PLATFORM",
    () =>
      indexOf(
        [other(), platformed("linux", "s390x")],
        [other(), platformed("windows", "\x1b[2J\u202e", { variant: "v8" })],
      ),
    {
      check: ({ error }) => {
        const { available } = error.details;
        assert.equal(available[0], "linux/s390x");
        assert.equal(available.length, 2);
      },
    },
  ),
  ...no("1,000 platforms, none of which matches", "NO_PLATFORM", () =>
    withManifest(inIndex(honest()), ({ manifests: [descriptor], ...index }) => ({
      ...index,
      manifests: Array.from({ length: 1000 }, (_, i) => platformed("linux", `arch${i}`)(descriptor)),
    })),
  ),
  ...yes("two that match: the first", () => indexOf([honest(), platformed(...AMD64)], [other(), platformed(...AMD64)])),
  ...yes("a media type that nobody knows before the image", () =>
    indexOf(
      [
        other(),
        (descriptor) => ({ ...platformed(...AMD64)(descriptor), mediaType: "application/vnd.example.image.v9+json" }),
      ],
      [honest(), platformed(...AMD64)],
    ),
  ),
  ...no("a media type that nobody knows, alone", ["MEDIA_TYPE_UNSUPPORTED", "NO_PLATFORM"], () =>
    inIndex(honest(), (descriptor) => ({ ...descriptor, mediaType: "application/vnd.example.image.v9+json" })),
  ),
  ...no("a higher variant than was asked for", "NO_PLATFORM", () =>
    indexOf([honest(), platformed(...AMD64, { variant: "v4" })]),
  ),
  ...no("another spelling of the platform", "NO_PLATFORM", () => indexOf([honest(), platformed("Linux", "AMD64")])),
  ...[5, null, ["linux"], {}].flatMap((os) =>
    no(
      `a platform whose os is ${JSON.stringify(os)}`,
      "DESCRIPTOR_INVALID",
      () => inIndex(honest(), platformed(os, "amd64")),
      {
        ways: ["oci"],
      },
    ),
  ),
  ...no("another platform in the config, when one was asked for", "NO_PLATFORM", () =>
    withConfig(honest(), (config) => ({ ...config, architecture: "s390x" })),
  ),
  ...(["os", "architecture", "variant"] as const).flatMap((field) =>
    ["\x1b[2J", "a/../b", "li nux", "x".repeat(1000), "\u202e"].flatMap((text) =>
      no(
        `a config whose ${field} is ${shown(text)}`,
        ["MANIFEST_INVALID", "NO_PLATFORM"],
        () => withConfig(honest(), (config) => ({ ...config, [field]: text })),
        { ways: ["oci"], params: {} },
      ),
    ),
  ),
  ...yes("a config without a platform, in an index", () =>
    inIndex(withConfig(honest(), (config) => ({ ...config, os: "", architecture: "" }))),
  ),
];
