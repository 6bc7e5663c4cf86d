/**
 * Images for tests, as OCI image layouts on the disk: tars from entries or from real directories, in any codec, right or wrong
 * in one place.
 */
import { execFile } from "node:child_process";
import { createCipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { buildImage, json, sha256, type TestDescriptor, type TestImage } from "./registry.js";

export interface TarFile {
  readonly name: string;
  readonly type?: "file" | "directory" | "symlink" | "link";
  readonly mode?: number;
  readonly mtime?: Date;
  readonly content?: string | Buffer;
  readonly linkname?: string;
}

const MTIME = new Date("2026-02-03T04:05:06Z");

/** One tar of these entries, in this order, always the same bytes. */
export async function tarOf(entries: readonly TarFile[]): Promise<Buffer> {
  const tar = pack();
  for (const { name, type = "file", mode, mtime = MTIME, content = "", linkname } of entries) {
    const defaultMode = type === "directory" ? 0o755 : 0o644;
    // tar-stream takes 0 for no mode; of this it writes the lower twelve bits.
    const header = { name, type, mode: (mode ?? defaultMode) || 0o10000, mtime };
    if (type === "file") tar.entry(header, content);
    else tar.entry(linkname === undefined ? header : { ...header, linkname });
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** What gzip cannot shrink, different at each call and the same in each run. */
export function noise(bytes: number): Buffer {
  noises += 1;
  const key = Buffer.alloc(16);
  key.writeUInt32LE(noises);
  return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
}
let noises = 0;

/** `files` files of `bytes` bytes each below the top-level directory `top`: something that takes a while to unpack. */
export async function bulkyTar(top: string, files: number, bytes: number): Promise<Buffer> {
  const entries: TarFile[] = [{ name: `${top}/`, type: "directory" }];
  for (let i = 0; i < files; i += 1) entries.push({ name: `${top}/file-${i}`, content: noise(bytes) });
  return tarOf(entries);
}

/** An image of one layer that is this blob; its diffID is that of what gzip makes of it, and of nothing for other codecs. */
export function layerImage(blob: Buffer, codec: "gzip" | "zstd"): TestImage {
  const descriptor = {
    mediaType: `application/vnd.oci.image.layer.v1.tar+${codec}`,
    digest: sha256(blob),
    size: blob.length,
  };
  const diffId = sha256(codec === "gzip" ? gunzipSync(blob) : Buffer.alloc(0));
  const config = { rootfs: { type: "layers", diff_ids: [diffId] } };
  const image = buildImage([], { config, manifest: { layers: [descriptor] } });
  return { ...image, blobs: new Map([...image.blobs, [descriptor.digest, blob]]) };
}

/** An image whose layer descriptors carry annotations; a layer without any has undefined. */
export function annotatedImage(
  layers: readonly Buffer[],
  annotations: readonly (Readonly<Record<string, string>> | undefined)[],
): TestImage {
  const { layers: plain } = JSON.parse(buildImage(layers).bytes.toString()) as { layers: TestDescriptor[] };
  const annotated = plain.map((descriptor, i) =>
    annotations[i] === undefined ? descriptor : { ...descriptor, annotations: annotations[i] },
  );
  return buildImage(layers, { manifest: { layers: annotated } });
}

/** The files of an OCI image layout, by name; an image without a tag stands in the index all the same. */
export function layoutFiles(images: readonly (readonly [tag: string | undefined, TestImage])[]): Map<string, Buffer> {
  const manifests = images.map(([tag, { descriptor }]) => {
    const { mediaType, digest, size } = descriptor;
    const annotations = { "org.opencontainers.image.ref.name": tag };
    return { mediaType, digest, size, ...(tag === undefined ? {} : { annotations }) };
  });
  const files = new Map([
    ["oci-layout", json({ imageLayoutVersion: "1.0.0" })],
    ["index.json", json({ schemaVersion: 2, manifests })],
  ]);
  for (const [, image] of images) {
    files.set(blobName(image.descriptor.digest), image.bytes);
    for (const [digest, { bytes }] of image.manifests) files.set(blobName(digest), bytes);
    for (const [digest, bytes] of image.blobs) files.set(blobName(digest), bytes);
  }
  return files;
}

/** Files and the directories above them. */
export async function writeFiles(directory: string, files: ReadonlyMap<string, Buffer>): Promise<void> {
  for (const [name, bytes] of files) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), bytes);
  }
}

/** An OCI image layout with each image under its tag. */
export async function writeLayout(directory: string, images: Readonly<Record<string, TestImage>>): Promise<void> {
  await writeFiles(directory, layoutFiles(Object.entries(images)));
}

/** The name of a blob in a layout. */
export const blobName = (digest: string): string => `blobs/${digest.replace(":", "/")}`;
export const blobPath = (layout: string, digest: string): string => join(layout, blobName(digest));

/** The digests of an image's layers, the lowest first. */
export const layerDigests = (image: TestImage): string[] =>
  (JSON.parse(image.bytes.toString()) as { layers: { digest: string }[] }).layers.map(({ digest }) => digest);

/** What GNU tar makes of `paths` below `directory`, with numeric owners; real files of this machine. */
export async function realTar(file: string, directory: string, paths: readonly string[]): Promise<void> {
  const args = ["--create", "--file", file, "--format=posix", "--numeric-owner", "--sort=name", "-C", directory];
  await promisify(execFile)("tar", [...args, "--warning=no-file-ignored", "--", ...paths]);
}

/** The image of a layout that some tool wrote, for who wants to serve it. */
export function readImage(layout: string, tag: string): TestImage {
  const read = (digest: string): Buffer => readFileSync(blobPath(layout, digest));
  const { manifests } = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as {
    manifests: (TestDescriptor & { annotations?: Record<string, string> })[];
  };
  const descriptor = manifests.find(({ annotations }) => annotations?.["org.opencontainers.image.ref.name"] === tag);
  if (descriptor === undefined) throw new Error(`no image ${tag} in ${layout}`);
  const bytes = read(descriptor.digest);
  const { config, layers } = JSON.parse(bytes.toString()) as { config: TestDescriptor; layers: TestDescriptor[] };
  const blobs = new Map([config, ...layers].map(({ digest }) => [digest, read(digest)]));
  return { descriptor, bytes, manifests: new Map(), blobs };
}
