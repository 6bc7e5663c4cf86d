/**
 * Named roots into one oci-archive: each layer packed once, in parallel, in staging; then the archive beside its place, and one rename.
 *
 * What is exported is what the layers hold, under the names and with the policies of their roots; a root of copies that somebody
 * changed is not looked at.
 */
import { randomBytes } from "node:crypto";
import { link, lstat, open, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { StrataError, systemErrorCode } from "../errors.js";
import { MAX_RUNNING_EXPORTS } from "../limits.js";
import type { ParsedParams, Result } from "../messages/methods.js";
import type { DiffId, Digest } from "../oci/digest.js";
import { digestHex } from "../oci/digest.js";
import type { PackCodec } from "../oci/media-types.js";
import { keptManifest } from "../oci/packed-image.js";
import type { Pool } from "../pool.js";
import { printable } from "../printable.js";
import { Slots } from "../slots.js";
import { allowedPlace, isBelow, type OpenOptions, unfitPlace } from "../sources/open.js";
import type { Catalog } from "../store/catalog.js";
import { type RootDocument, syncDirectory } from "../store/documents.js";
import { changesetOf } from "../store/entries-files.js";
import type { StagingPaths } from "../store/layout.js";
import type { Store } from "../store/store.js";
import { TaskProgress } from "../task-progress.js";
import type { ArchiveMember, PackResult } from "../tasks.js";
import { together } from "../together.js";
import { type ExportedImage, exportedImage, exportedIndex, type NamedImage } from "./exported-image.js";

export interface ExporterOptions {
  readonly store: Store;
  readonly catalog: Catalog;
  readonly pool: Pool;
  /** Where archives may be written: where images may be read. */
  readonly importDirs: OpenOptions["importDirs"];
}

export type ExportRequest = ParsedParams<"store/export">;

export interface ExportWatch {
  readonly signal: AbortSignal;
  /** Bytes of the layers' tars that are packed, of how many there will be, nearly. */
  readonly progress: (done: number, total: number) => void;
}

const PROGRESS_MS = 200;

export class Exporter {
  readonly #options: ExporterOptions;
  readonly #slots = new Slots(MAX_RUNNING_EXPORTS);

  constructor(options: ExporterOptions) {
    this.#options = options;
  }

  /** UNKNOWN_NAME, UNKNOWN_ROOT, IMPORT_DENIED, INVALID_PARAMS (the place), STORE_CORRUPT, CANCELLED. */
  async export(request: ExportRequest, watch: ExportWatch): Promise<Result<"store/export">> {
    const { path, names, force = false } = request;
    const directory = await allowedPlace(path, this.#options.importDirs);
    await this.#refuseOwnStore(directory);
    const place = join(directory, basename(path));
    await refuseTaken(place, force);
    const roots = [...new Set(names)].map((name) => ({ name, root: this.#options.catalog.find({ name }) }));
    const lease = this.#options.store.leases.open();
    for (const { root } of roots) lease.root(root.rootId);
    const exported = this.#slots.run(0, watch.signal, () =>
      this.#options.store.staging.with(async (paths) => {
        const packed = await this.#pack(roots, paths, { codec: request.codec ?? "gzip", watch });
        const images: NamedImage[] = [];
        for (const { name, root } of roots) {
          const { platform, overlap, link } = root;
          images.push({ name, platform, overlap, link, image: await this.#image(root, packed, request) });
        }
        const bytes = await this.#write(place, images, { packed, watch, force });
        return { path, bytes, images: images.map(viewOf) };
      }),
    );
    return exported.finally(() => lease.drop());
  }

  /** Each layer once, the largest first. */
  async #pack(
    roots: readonly { readonly root: RootDocument }[],
    paths: StagingPaths,
    { codec, watch }: { readonly codec: PackCodec; readonly watch: ExportWatch },
  ): Promise<ReadonlyMap<DiffId, Packed>> {
    const { store, pool } = this.#options;
    const diffIds = [...new Set(roots.flatMap(({ root }) => root.layers))];
    const layers = diffIds.map((diffId) => store.layers.get(diffId)?.document ?? missing(diffId));
    const total = layers.reduce((sum, { tarBytes }) => sum + tarBytes, 0);
    const tasks = layers.map((layer, index) => ({ layer, index, progress: new TaskProgress() }));
    const tell = (): void =>
      watch.progress(
        tasks.reduce((sum, { progress }) => sum + progress.bytesWritten, 0),
        total,
      );
    tell();
    const ticker = setInterval(tell, PROGRESS_MS);
    try {
      const packed = await together(
        watch.signal,
        tasks.map(({ layer, index, progress }) => async (signal): Promise<[DiffId, Packed]> => {
          const { diffId, tarBytes } = layer;
          const entries = changesetOf(store.layout, layer);
          const file = `${paths.directory}/${index}`;
          const trees = [store.layout.layerTree(diffId)];
          const task = { entries, trees, codec, file, progress: progress.shared };
          return [diffId, { ...(await pool.run("pack", task, { signal, weight: tarBytes, progress })), file }];
        }),
      );
      tell();
      return new Map(packed);
    } finally {
      clearInterval(ticker);
    }
  }

  async #image(
    { manifestDigest, layers }: RootDocument,
    packed: ReadonlyMap<DiffId, Packed>,
    { codec = "gzip" }: ExportRequest,
  ): Promise<ExportedImage> {
    const { store } = this.#options;
    const manifest = await store.documents.read(manifestDigest);
    if (manifest === undefined)
      throw new StrataError("STORE_CORRUPT", `Cannot export the image: manifest ${manifestDigest} is missing`);
    const config = await store.documents.read(keptManifest(manifest).config.digest);
    const blobs = layers.map((diffId) => packed.get(diffId) ?? missing(diffId));
    return exportedImage({ manifest, config }, blobs, codec);
  }

  /** Beside its place first: whoever looks there finds the whole archive or none. */
  async #write(
    place: string,
    images: readonly NamedImage[],
    { packed, watch, force }: { packed: ReadonlyMap<DiffId, Packed>; watch: ExportWatch; force: boolean },
  ): Promise<number> {
    const temporary = join(dirname(place), `.stratad-${randomBytes(8).toString("hex")}`);
    const progress = new TaskProgress();
    try {
      await this.#create(temporary, place);
      const task = { file: temporary, members: membersOf(images, packed), progress: progress.shared };
      const { bytes } = await this.#options.pool.run("archive", task, { signal: watch.signal, progress });
      watch.signal.throwIfAborted();
      if (force) await rename(temporary, place);
      else await linkOrRename(temporary, place);
      await syncDirectory(dirname(place));
      return bytes;
    } catch (error) {
      throw placeError(place, error);
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** What is written below it would be damage, or the end of a document. */
  async #refuseOwnStore(directory: string): Promise<void> {
    const state = await realpath(this.#options.store.layout.state);
    if (!isBelow(directory, state)) return;
    const fact = `it is in the state directory ${printable(state, 1024)}`;
    throw new StrataError("INVALID_PARAMS", `Cannot export to ${printable(directory, 1024)}: ${fact}`, {
      hint: "Choose a directory outside of the store.",
    });
  }

  async #create(temporary: string, place: string): Promise<void> {
    try {
      await (await open(temporary, "wx", 0o644)).close();
    } catch (error) {
      const errno = systemErrorCode(error);
      if (errno !== "EACCES" && errno !== "EPERM" && errno !== "EROFS") throw error;
      const fact = `the daemon's user may not write to its directory (${errno})`;
      throw new StrataError("IMPORT_DENIED", `Cannot export to ${printable(place, 1024)}: ${fact}`, {
        hint: "Choose a directory that the daemon's user may write to.",
      });
    }
  }
}

type Packed = PackResult & { readonly file: string };

/** Blobs that are the same bytes stand there once, whatever layers they came from. */
function membersOf(images: readonly NamedImage[], packed: ReadonlyMap<DiffId, Packed>): ArchiveMember[] {
  const blobs = new Map<Digest, ArchiveMember>();
  for (const { image } of images)
    for (const { digest, text } of [image.manifest, image.config]) blobs.set(digest, { name: blobName(digest), text });
  for (const { digest, file } of packed.values()) blobs.set(digest, { name: blobName(digest), path: file });
  return [
    { name: "oci-layout", text: JSON.stringify({ imageLayoutVersion: "1.0.0" }) },
    { name: "index.json", text: exportedIndex(images) },
    ...[...blobs].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, member]) => member),
  ];
}

const blobName = (digest: Digest): string => `blobs/sha256/${digestHex(digest)}`;

const viewOf = ({ name, image: { manifest, layers } }: NamedImage) => ({
  name,
  manifestDigest: manifest.digest,
  layers: layers.map(({ digest, diffId, size }) => ({ digest, diffId, size })),
});

function missing(diffId: DiffId): never {
  throw new StrataError("STORE_CORRUPT", `Cannot export the image: layer ${diffId} is missing`);
}

/** A link never replaces anything; where the file system knows none, the name is taken first. */
async function linkOrRename(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    const errno = systemErrorCode(error) ?? "";
    if (!["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"].includes(errno)) throw error;
    await (await open(to, "wx")).close();
    await rename(from, to);
  }
}

/** Before anything is packed; what appears later is found when the archive gets its name. */
async function refuseTaken(place: string, force: boolean): Promise<void> {
  const standing = await lstat(place).catch(() => undefined);
  if (standing?.isDirectory()) throw isDirectory(place);
  if (standing !== undefined && !force) throw isTaken(place);
}

/** What is wrong with the place is the caller's to mend, not the store's. */
function placeError(place: string, error: unknown): unknown {
  const errno = error instanceof StrataError ? undefined : systemErrorCode(error);
  if (errno === "EEXIST") return isTaken(place);
  if (errno === "EISDIR" || errno === "ENOTEMPTY") return isDirectory(place);
  return errno === "ENOENT" || errno === "ENAMETOOLONG" ? unfitPlace(place, errno) : error;
}

const isTaken = (place: string): StrataError =>
  new StrataError("INVALID_PARAMS", `Cannot export to ${printable(place, 1024)}: there is something already`, {
    hint: "Choose another file, or replace it with --force.",
  });

const isDirectory = (place: string): StrataError =>
  new StrataError("INVALID_PARAMS", `Cannot export to ${printable(place, 1024)}: it is a directory`, {
    hint: "Name the file to write in it.",
  });
