/**
 * The OCI image layout that a repack writes to: a new directory, or one whose other images stay.
 *
 * Blobs appear by one rename each, and nothing leads to them before index.json does, which is replaced by one rename last. Blobs that
 * nothing leads to any more stay: another program may be about to. Of several repacks one at a time publishes, so that none loses a name
 * of another's, and none takes a blob away that another has come to lead to.
 */

import { constants } from "node:fs";
import {
  access,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rmdir,
  stat,
  unlink,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ensureDirectories } from "../ensure-directory.js";
import { StrataError, systemErrorCode } from "../errors.js";
import { REF_NAME } from "../oci/annotations.js";
import { type Digest, digestAlgorithm, digestHex } from "../oci/digest.js";
import { parseIndex, parseLayout } from "../oci/documents.js";
import { parseJson } from "../oci/json.js";
import { OCI_INDEX } from "../oci/media-types.js";
import { printable } from "../printable.js";
import { syncDirectory } from "../store/documents.js";
import { aloneInLayout } from "./layout-lock.js";
import type { OutputDescriptor } from "./repacked-documents.js";

/** A name of the layout, and what it leads to. */
export interface OutputName {
  readonly name: string;
  readonly descriptor: OutputDescriptor;
}

/** A blob's bytes: a file, which is moved, or a text. */
export type OutputBlob = { readonly digest: Digest } & Content;
type Content = { readonly file: string } | { readonly text: string };

const MARKER = "oci-layout";
const INDEX = "index.json";

export class OutputLayout {
  readonly directory: string;
  readonly #isNew: boolean;

  private constructor(directory: string, isNew: boolean) {
    this.directory = directory;
    this.#isNew = isNew;
  }

  /**
   * Makes the directory where there is none. INVALID_PARAMS where it cannot be made or is something else than a layout; IMPORT_DENIED
   * where this user may not write there; LAYOUT_INVALID, and those of documents.ts.
   */
  static async prepare(directory: string): Promise<OutputLayout> {
    const layout = new OutputLayout(directory, await made(directory));
    await layout.#index();
    return layout;
  }

  /** Makes the directory, in one of the caller's own: the layout as it will be, before anybody else sees it. */
  static async fill(
    directory: string,
    blobs: readonly OutputBlob[],
    names: readonly OutputName[],
  ): Promise<OutputLayout> {
    await mkdir(directory);
    const layout = new OutputLayout(directory, true);
    await layout.#write(blobs, names, directory);
    return layout;
  }

  /** Takes a directory away that was made for nothing. */
  async abandon(): Promise<void> {
    if (this.#isNew) await rmdir(this.directory).catch(() => undefined);
  }

  blob(digest: Digest): string {
    return join(this.directory, "blobs", digestAlgorithm(digest), digestHex(digest));
  }

  /**
   * Everything is on the disk when the names lead to it. `work` is a directory of the same file system, for what is written beside its place
   * first. What fails before the names lead there takes the new blobs away again. The codes of aloneInLayout besides.
   */
  async publish(
    blobs: readonly OutputBlob[],
    names: readonly OutputName[],
    { work, signal }: { readonly work: string; readonly signal: AbortSignal },
  ): Promise<void> {
    await aloneInLayout(this.directory, signal, () => this.#write(blobs, names, work));
  }

  async #write(blobs: readonly OutputBlob[], names: readonly OutputName[], work: string): Promise<void> {
    const places = join(this.directory, "blobs", "sha256");
    await ensureDirectories(places);
    const published: string[] = [];
    const put = async (place: string, content: Content): Promise<void> => {
      if ((await lstat(place).catch(() => undefined)) === undefined) published.push(place);
      await replace(place, content, work);
    };
    try {
      for (const blob of blobs) await put(this.blob(blob.digest), blob);
      await syncDirectory(places);
      const index = withNames(await this.#index(), names);
      await put(join(this.directory, MARKER), { text: JSON.stringify({ imageLayoutVersion: "1.0.0" }) });
      await replace(join(this.directory, INDEX), { text: index }, work);
    } catch (error) {
      for (const place of published) await unlink(place).catch(() => undefined);
      // Others' blobs keep them.
      for (const place of [places, dirname(places)]) await rmdir(place).catch(() => undefined);
      throw error;
    }
    await syncDirectory(this.directory);
  }

  /** index.json as it stands; undefined where there is none yet. The names come first: what appears meanwhile does so in their order. */
  async #index(): Promise<Buffer | undefined> {
    if ((await readdir(this.directory)).every(isMadeFirst)) return undefined;
    const [marker, index] = await Promise.all([this.#read(MARKER), this.#read(INDEX)]);
    if (marker === undefined || index === undefined)
      throw placeError(this.directory, "it has files and is no OCI image layout");
    parseLayout(marker);
    parseIndex(index, OCI_INDEX);
    return index;
  }

  async #read(name: string): Promise<Buffer | undefined> {
    return readFile(join(this.directory, name)).catch((error: unknown) => {
      if (systemErrorCode(error) === "ENOENT") return undefined;
      throw error;
    });
  }
}

/** What a repack puts there before index.json. */
const isMadeFirst = (name: string): boolean =>
  name === "blobs" || name === MARKER || name === "lost+found" || name.startsWith(".stratad-");

/** What others call the images here stays; so does all that index.json says besides. */
function withNames(index: Buffer | undefined, names: readonly OutputName[]): string {
  const was = index === undefined ? {} : (parseJson(index, INDEX) as Record<string, unknown>);
  const ours = new Set(names.map(({ name }) => name));
  const others = (Array.isArray(was.manifests) ? was.manifests : []).filter((descriptor: unknown) => {
    const { annotations } = Object(descriptor) as { readonly annotations?: Readonly<Record<string, string>> };
    const name = annotations?.[REF_NAME];
    return name === undefined || !ours.has(name);
  });
  const manifests = names.map(({ name, descriptor }) => ({ ...descriptor, annotations: { [REF_NAME]: name } }));
  return JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, ...was, manifests: [...others, ...manifests] });
}

/** One rename, of what is on the disk already. */
async function replace(place: string, content: Content, work: string): Promise<void> {
  const file = "file" in content ? content.file : join(work, `${basename(place)}.new`);
  if ("text" in content) await writeFile(file, content.text, { flag: "wx" });
  const handle = await open(file, "r+");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(file, place);
}

/** True where it was not there. */
async function made(directory: string): Promise<boolean> {
  try {
    await mkdir(directory);
    return true;
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno !== "EEXIST") throw notMade(directory, errno) ?? error;
  }
  if (!(await stat(directory)).isDirectory()) throw placeError(directory, "it is not a directory");
  await access(directory, constants.W_OK).catch((error: unknown) => {
    throw notMade(directory, systemErrorCode(error)) ?? error;
  });
  return false;
}

function notMade(directory: string, errno: string | undefined): StrataError | undefined {
  if (errno === "EACCES" || errno === "EPERM" || errno === "EROFS")
    return new StrataError("IMPORT_DENIED", `${cannot(directory)}: this user may not write there (${errno})`, {
      hint: "Choose a directory of your own.",
    });
  if (errno === "ENOENT") return placeError(directory, `${printable(dirname(directory), 1024)} does not exist`);
  return errno === "ENOTDIR" ? placeError(directory, "what it would stand in is not a directory") : undefined;
}

const cannot = (directory: string): string => `Cannot repack to ${printable(directory, 1024)}`;

const placeError = (directory: string, fact: string): StrataError =>
  new StrataError("INVALID_PARAMS", `${cannot(directory)}: ${fact}`, {
    hint: "Name a layout, or a directory that is empty or does not exist, in one that does.",
  });
