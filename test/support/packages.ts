/**
 * Packages as OCX publishes them: an artifactType, a config of its own, layers of any codec in any order, no diffIDs; and an index
 * in which only the descriptors tell the platforms.
 */
import { execFileSync } from "node:child_process";
import { gzipSync } from "node:zlib";
import type { Codec } from "../../src/oci/media-types.js";
import { buildIndex, json, sha256, type TestDescriptor, type TestImage } from "./registry.js";

export const OCX_PACKAGE = "application/vnd.sh.ocx.package.v1";
export const OCX_METADATA = `${OCX_PACKAGE}+json`;
export const EMPTY_CONFIG = "application/vnd.oci.empty.v1+json";

export interface PackageLayer {
  readonly codec: Codec;
  readonly blob: Buffer;
}

/** The tar in this codec; xz and zstd by the programs of these names. */
export function packageLayer(tar: Buffer, codec: Codec): PackageLayer {
  return { codec, blob: compress[codec](tar) };
}

const by = (program: string) => (tar: Buffer) =>
  execFileSync(program, ["--quiet", "--stdout"], { input: tar, maxBuffer: 2 ** 28 });
const compress: Readonly<Record<Codec, (tar: Buffer) => Buffer>> = {
  none: (tar) => tar,
  gzip: (tar) => gzipSync(tar),
  zstd: by("zstd"),
  xz: by("xz"),
};

export interface PackageOptions {
  readonly platform?: { os: string; architecture: string };
  readonly configType?: string;
  /** The config as data. */
  readonly config?: unknown;
  /** Of each layer's descriptor. */
  readonly annotations?: readonly (Readonly<Record<string, string>> | undefined)[];
  /** Merged into the manifest last, so that a test may break it. */
  readonly manifest?: object;
}

/** The lowest layer first. */
export function buildPackage(layers: readonly PackageLayer[], options: PackageOptions = {}): TestImage {
  const { platform, configType = OCX_METADATA, config = { type: "bundle", version: 1 } } = options;
  const blobs = new Map<string, Buffer>();
  const put = (mediaType: string, bytes: Buffer): TestDescriptor => {
    const digest = sha256(bytes);
    blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.byteLength };
  };
  const descriptors = layers.map(({ codec, blob }, index) => ({
    ...put(`application/vnd.oci.image.layer.v1.tar${codec === "none" ? "" : `+${codec}`}`, blob),
    annotations: options.annotations?.[index],
  }));
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const bytes = json({
    schemaVersion: 2,
    mediaType,
    artifactType: OCX_PACKAGE,
    config: put(configType, json(config)),
    layers: descriptors,
    ...options.manifest,
  });
  const descriptor = { mediaType, digest: sha256(bytes), size: bytes.byteLength };
  return {
    descriptor: platform === undefined ? descriptor : { ...descriptor, platform },
    bytes,
    manifests: new Map(),
    blobs,
  };
}

/** As `ocx package push` leaves a tag: an index with its own artifactType. */
export function ocxIndex(...packages: readonly TestImage[]): TestImage {
  const index = buildIndex(packages);
  const bytes = json({ ...JSON.parse(index.bytes.toString()), artifactType: OCX_PACKAGE });
  return { ...index, bytes, descriptor: { ...index.descriptor, digest: sha256(bytes), size: bytes.length } };
}
