/**
 * The ways in which an image comes to the daemon: each is prepared on a ground of its own and gives the reference to install.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { blobPath, layoutFiles, writeFiles } from "../../support/images.js";
import { json, type Script, sha256, startRegistry, type TestImage, type TestRegistry } from "../../support/registry.js";
import { file, pax, tar } from "../../support/tar-builder.js";
import type { Json } from "../../support/wire.js";
import { freshTars, honest } from "./images.js";

/** Where a row may put what it needs. */
export interface Ground {
  /** A path of its own, at which nothing stands. */
  readonly path: string;
  /** A directory with a canary that no row may reach. */
  readonly outside: string;
  readonly after: (cleanUp: () => unknown) => void;
  /** Whether the store has a layer of this diffID now. */
  readonly isStored: (diffId: string) => boolean;
}

export interface Offer {
  readonly reference: string;
  /** Of the request. */
  readonly params?: object;
  /** What else must hold when the job is over. */
  readonly check?: (job: Json) => unknown;
}

export type Scene = (ground: Ground) => Offer | Promise<Offer>;
export type ImageScene = (image: TestImage) => Scene;

/** Tagged `app`. */
export const inLayout: ImageScene = (image) => inFiles(layoutFiles([["app", image]]));
export const inLayoutArchive: ImageScene = (image) => inArchivedFiles(layoutFiles([["app", image]]));
export const inRegistry: ImageScene = (image) => fromRegistry(image);
export const ways = { oci: inLayout, "oci-archive": inLayoutArchive, registry: inRegistry } as const;
export type Way = keyof typeof ways;

export const inFiles =
  (files: ReadonlyMap<string, Buffer>, tag = ":app"): Scene =>
  async ({ path }) => {
    await writeFiles(path, files);
    return { reference: `oci:${path}${tag}` };
  };

export const inArchivedFiles =
  (files: ReadonlyMap<string, Buffer>, tag = ":app"): Scene =>
  async ({ path }) => {
    await writeFile(path, tar(...[...files].map(([name, bytes]) => longFile(name, bytes))));
    return { reference: `oci-archive:${path}${tag}` };
  };

const MAX_USTAR_NAME = 100;
const longFile = (name: string, bytes: Buffer): Buffer =>
  name.length <= MAX_USTAR_NAME ? file(name, bytes) : Buffer.concat([pax({ path: name }), file("long", bytes)]);

export interface LayoutGround extends Ground {
  readonly image: TestImage;
  readonly blob: (digest: string) => string;
}

/** An honest layout, altered on the disk. */
export const inAlteredLayout =
  (alter: (ground: LayoutGround) => unknown, tag = ":app"): Scene =>
  async (ground) => {
    const image = honest();
    const { reference } = await inFiles(layoutFiles([["app", image]]), tag)(ground);
    await alter({ ...ground, image, blob: (digest) => blobPath(ground.path, digest) });
    return { reference };
  };

export interface RegistryRow {
  readonly script?: (registry: () => TestRegistry, image: TestImage) => Script;
  /** Behind the repository; `:v1` is the image. */
  readonly name?: string;
  readonly check?: (job: Json, registry: TestRegistry) => unknown;
}

export const fromRegistry =
  (image: TestImage, { script, name = ":v1", check }: RegistryRow = {}): Scene =>
  async ({ after }) => {
    let registry: TestRegistry | undefined;
    const own = script?.(() => registry as TestRegistry, image);
    registry = await startRegistry({ images: { "team/app:v1": image }, ...(own === undefined ? {} : { script: own }) });
    const { host, close } = registry;
    after(close);
    return {
      reference: `${host}/team/app${name}`,
      check: (job) => check?.(job, registry as TestRegistry),
    };
  };

export interface DockerParts {
  readonly tars: readonly [Buffer, Buffer];
  readonly layers: readonly [Buffer, Buffer];
  readonly config: Buffer;
  readonly manifest: Buffer;
  /** manifest.json with other fields in its one entry, or with other bytes. */
  readonly listing: (change: object | Buffer) => Buffer;
  /** A config with other fields. */
  readonly configured: (change: object) => Buffer;
  readonly outside: string;
  /** Where the archive will stand. */
  readonly path: string;
}

/** What `docker save` writes, members as the row arranges them. */
export const inDockerArchive =
  (arrange: (parts: DockerParts) => readonly Buffer[], tag = ""): Scene =>
  async ({ path, outside }) => {
    const tars = freshTars();
    const [one, two] = tars;
    const config = { os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: tars.map(sha256) } };
    const entry = { Config: "config.json", RepoTags: ["app:v1"], Layers: ["1/layer.tar", "2/layer.tar"] };
    const listing = (change: object | Buffer) =>
      file("manifest.json", Buffer.isBuffer(change) ? change : json([{ ...entry, ...change }]));
    const configured = (change: object) => file("config.json", json({ ...config, ...change }));
    const members = arrange({
      tars,
      layers: [file("1/layer.tar", one), file("2/layer.tar", two)],
      config: configured({}),
      manifest: listing({}),
      listing,
      configured,
      outside,
      path,
    });
    await writeFile(path, tar(...members));
    return { reference: `docker-archive:${path}${tag}` };
  };

/** A directory of the row's own, for what is not an image. */
export async function directoryAt({ path }: Ground, ...below: string[]): Promise<string> {
  const directory = join(path, ...below);
  await mkdir(directory, { recursive: true });
  return directory;
}
