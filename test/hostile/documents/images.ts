/**
 * Images of which one document, digest or blob is not what it should be: an honest image, and what may be done to it.
 *
 * Every image is another one: layers that the store has already would not be read again. Documents are edited as data and get the
 * digest and size of what they then are; `instead` breaks what stands under a digest and lets the digest stand.
 */
import { createHash } from "node:crypto";
import { layerDigests } from "../../support/images.js";
import { buildImage, buildIndex, type ImageOptions, json, sha256, type TestImage } from "../../support/registry.js";
import { file, tar } from "../../support/tar-builder.js";
import type { Json } from "../../support/wire.js";

export const HONEST_TREE = { a: "file one", b: "file two" };

let serial = 0;

/** Two plain tars that no image had before. */
export function freshTars(): [Buffer, Buffer] {
  serial += 1;
  return [tar(file("a", "one", { mtime: serial })), tar(file("b", "two", { mtime: serial }))];
}

export const honest = (options: ImageOptions = {}): TestImage => buildImage(freshTars(), options);

/** The document as it shall be, or its very bytes. */
export type Edit = (document: Json) => Json;

const bytesOf = (document: Json): Buffer => (Buffer.isBuffer(document) ? document : json(document));
const parsed = (bytes: Buffer | undefined): Json => JSON.parse(String(bytes));

/** The image with another manifest, or another index. */
export function withManifest(image: TestImage, edit: Edit): TestImage {
  const bytes = bytesOf(edit(parsed(image.bytes)));
  return { ...image, bytes, descriptor: { ...image.descriptor, digest: sha256(bytes), size: bytes.length } };
}

export function withConfig(image: TestImage, edit: Edit): TestImage {
  const bytes = bytesOf(edit(parsed(image.blobs.get(configDigest(image)))));
  const digest = sha256(bytes);
  const blobs = new Map([...image.blobs, [digest, bytes] as const]);
  const renamed = (manifest: Json) => ({ ...manifest, config: { ...manifest.config, digest, size: bytes.length } });
  return withManifest({ ...image, blobs }, renamed);
}

/** The image's descriptor in an index of its own, edited. */
export const inIndex = (image: TestImage, edit: Edit = (descriptor) => descriptor): TestImage =>
  withManifest(buildIndex([image]), (index) => ({ ...index, manifests: [edit(index.manifests[0])] }));

export const configDigest = (image: TestImage): string => parsed(image.bytes).config.digest;
export const layerDigest = (image: TestImage, index: number): string => layerDigests(image)[index] ?? "";

/** The descriptor of one blob of the image, edited. `manifest` stands in an index around the image. */
export const parts = ["manifest", "config", "layer"] as const;
export type Part = (typeof parts)[number];
export function withDescriptor(image: TestImage, part: Part, edit: Edit): TestImage {
  if (part === "manifest") return inIndex(image, edit);
  if (part === "config") return withManifest(image, (manifest) => ({ ...manifest, config: edit(manifest.config) }));
  return withManifest(image, ({ layers: [first, second], ...manifest }) => ({
    ...manifest,
    layers: [first, edit(second)],
  }));
}

/** Other bytes under a digest that stays. */
export function instead(image: TestImage, digest: string, change: (bytes: Buffer) => Buffer): TestImage {
  const { descriptor, bytes, manifests, blobs } = image;
  const below = manifests.get(digest);
  const blob = blobs.get(digest);
  return {
    descriptor,
    bytes: digest === descriptor.digest ? change(bytes) : bytes,
    manifests:
      below === undefined ? manifests : new Map([...manifests, [digest, { ...below, bytes: change(below.bytes) }]]),
    blobs: blob === undefined ? blobs : new Map([...blobs, [digest, change(blob)]]),
  };
}

export const flipped = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1] = (copy[copy.length >> 1] as number) ^ 0x10;
  return copy;
};

export const sha512 = (bytes: Uint8Array): string => `sha512:${createHash("sha512").update(bytes).digest("hex")}`;

/** The same image, everything in it (and it itself) named by sha512. */
export function in512({ diffIds = true } = {}): TestImage {
  const tars = freshTars();
  const image = buildImage(tars, diffIds ? { config: { rootfs: { type: "layers", diff_ids: tars.map(sha512) } } } : {});
  const renamed = (descriptor: Json) => ({
    ...descriptor,
    digest: sha512(image.blobs.get(descriptor.digest) as Buffer),
  });
  const { config, layers, ...manifest } = parsed(image.bytes);
  const bytes = json({ ...manifest, config: renamed(config), layers: layers.map(renamed) });
  return {
    ...image,
    bytes,
    descriptor: { ...image.descriptor, digest: sha512(bytes), size: bytes.length },
    blobs: new Map([...image.blobs.values()].map((blob) => [sha512(blob), blob])),
  };
}

/** What the rows speak of. */
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_LAYER = "application/vnd.oci.image.layer.v1.tar";
export const DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
export const DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json";
export const SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
export const MAX_DOCUMENT = 4 * 1024 * 1024;
export const hex = "0123456789abcdef".repeat(4);
export const TERABYTE = 2 ** 40;

/** Other bytes of the same length for a part of the image. */
export function damaged(image: TestImage, part: "root" | "config" | number): TestImage {
  const digest =
    part === "root" ? image.descriptor.digest : part === "config" ? configDigest(image) : layerDigest(image, part);
  return instead(image, digest, flipped);
}
