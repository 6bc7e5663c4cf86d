/**
 * What is unpacked: images of layers that are made of real packages, as OCI layouts in the cache. A layer is packed once in each codec.
 *
 * Names nothing that is measured. What is in the cache is complete; a changed row makes another.
 */
import { createHash, hash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { cp, link, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { cached, run } from "../support/cached.js";
import { checkout } from "../support/daemon.js";
import { blobPath, layoutFiles, writeFiles } from "../support/images.js";
import { buildImage, type TestDescriptor, type TestImage } from "../support/registry.js";

export const codecs = ["gzip", "zstd", "none"] as const;
export type Codec = (typeof codecs)[number];
/** Of an input's layout: the image in each codec; `update`, whose last layer is another version; `again-N`, the same layers under another config. */
export type Tag = Codec | "update" | `again-${number}`;
/** Raised where the same packages are packed in another way. */
const FORMAT = 2;
/** Roots of a store that differ while their layers do not. */
const AGAINS = 40;

/** Below a directory of this name: packages of Debian, of npm (`NAME@VERSION`), and of this checkout's dependencies. */
interface LayerPackages {
  readonly top: string;
  readonly debian?: readonly string[];
  readonly npm?: readonly string[];
  readonly installed?: readonly string[];
}

interface InputPackages {
  readonly layers: readonly LayerPackages[];
  /** Stands for the last layer in `update`. */
  readonly update?: LayerPackages;
}

const GO = "golang-1.19-src";
const BOOST = "libboost1.81-dev";
const HEADERS = "linux-headers-6.1.0-56-common";
const many = {
  debian: [GO, BOOST, HEADERS, "qtbase5-doc-html", "python3-sympy", "python3-django"],
  npm: ["next@15.5.4"],
};
const few = { debian: ["libllvm15", "gcc-12", "cpp-12", "libwebkit2gtk-4.0-37", "openjdk-17-jre-headless"] };
const tiny = {
  debian: ["numix-icon-theme-circle"],
  npm: ["@fluentui/svg-icons@1.1.343", "@tabler/icons@3.52.0", "date-fns@4.1.0"],
};

const packages = {
  many: { layers: [{ top: "many", ...many }] },
  few: { layers: [{ top: "few", ...few }] },
  tiny: { layers: [{ top: "tiny", ...tiny }] },
  six: {
    layers: [
      { top: "boost", debian: [BOOST] },
      { top: "headers", debian: [HEADERS] },
      { top: "go", debian: [GO] },
      { top: "next", npm: ["next@15.5.4"] },
      { top: "django", debian: ["python3-django"], npm: ["date-fns@4.1.0"] },
      { top: "typescript", npm: ["typescript@5.9.2"] },
    ],
    update: { top: "typescript", npm: ["typescript@5.9.3"] },
  },
} as const satisfies Record<string, InputPackages>;
export type InputName = keyof typeof packages;

/** The same shapes from what stands beside this checkout: nothing is fetched. */
const quickPackages: Readonly<Record<InputName, InputPackages>> = {
  many: { layers: [{ top: "many", installed: ["zod", "typescript", "piscina"] }] },
  few: { layers: [{ top: "few", installed: ["@biomejs"] }] },
  tiny: { layers: [{ top: "tiny", installed: ["zod"] }] },
  six: {
    layers: ["commander", "fast-check", "piscina", "smol-toml", "ws", "fflate"].map((name) => ({
      top: name,
      installed: [name],
    })),
    update: { top: "fflate", installed: ["xxhash-wasm"] },
  },
};

interface Layer {
  readonly file: string;
  readonly descriptor: TestDescriptor;
  readonly diffId: string;
}

export interface Input {
  readonly name: InputName;
  readonly layout: string;
  /** Files of the layers, the lowest first. */
  layers(tag: Tag): readonly string[];
  /** The layout with this image alone, as one tar: what containerd imports. */
  archive(tag: Codec): Promise<string>;
  readonly about: {
    readonly entries: number;
    readonly bytes: number;
    readonly packed: Readonly<Record<Codec, number>>;
  };
}

export class Inputs {
  readonly #cache: string;
  readonly #quick: boolean;
  readonly #made = new Map<InputName, Promise<Input>>();

  constructor(cache: string, quick: boolean) {
    this.#cache = cache;
    this.#quick = quick;
  }

  get(name: InputName): Promise<Input> {
    const made = this.#made.get(name) ?? this.#make(name);
    this.#made.set(name, made);
    return made;
  }

  /** Those that were asked for. */
  async used(): Promise<Input[]> {
    return Promise.all(this.#made.values());
  }

  async #make(name: InputName): Promise<Input> {
    const { layers: rows, update }: InputPackages = (this.#quick ? quickPackages : packages)[name];
    const key = keyOf({ name, rows, update, format: FORMAT });
    const packed = new Map<LayerPackages, string>();
    for (const row of [...rows, ...(update === undefined ? [] : [update])]) packed.set(row, await this.#pack(row));
    const images = new Map<Tag, readonly Layer[]>();
    const layersOf = async (of: readonly LayerPackages[], codec: Codec) =>
      Promise.all(of.map((row) => layerOf(packed.get(row) as string, codec)));
    for (const codec of codecs) images.set(codec, await layersOf(rows, codec));
    for (let n = 0; n < AGAINS; n += 1) images.set(`again-${n}`, images.get("gzip") as readonly Layer[]);
    if (update !== undefined) images.set("update", await layersOf([...rows.slice(0, -1), update], "gzip"));
    const layout = await cached(`layout-${key}`, (into) => writeImages(into, images), this.#cache);
    const entries = (await Promise.all(rows.map((row) => entriesOf(packed.get(row) as string)))).reduce(
      (x, y) => x + y,
    );
    const bytes = (codec: Codec) => images.get(codec)?.reduce((sum, { descriptor }) => sum + descriptor.size, 0) ?? 0;
    return {
      name,
      layout,
      layers: (tag) => images.get(tag)?.map(({ file }) => file) ?? [],
      archive: async (tag) =>
        join(
          await cached(`archive-${key}-${tag}`, (into) => writeArchive(into, images, tag), this.#cache),
          "image.tar",
        ),
      about: {
        entries,
        bytes: bytes("none"),
        packed: { gzip: bytes("gzip"), zstd: bytes("zstd"), none: bytes("none") },
      },
    };
  }

  /** The directory that holds the layer in each codec, and `entries`. */
  #pack(row: LayerPackages): Promise<string> {
    const pack = async (into: string) => {
      const top = join(into, "tree", row.top);
      await mkdir(top, { recursive: true });
      await extract(row, top, await this.#fetched(row));
      // Extended headers for long names alone, as builders of images write them; GNU tar's own has three times in one for every entry.
      const plain = ["--format=posix", "--pax-option=delete=atime,delete=ctime,delete=mtime"] as const;
      const tar = ["tar", "--create", "--file=none", ...plain, "--sort=name", "--numeric-owner"] as const;
      await run([...tar, "--owner=0", "--group=0", "-C", "tree", row.top], into);
      const listed = await run(["sh", "-c", "tar --list --file=none | wc -l"], into);
      await writeFile(join(into, "entries"), listed.trim());
      await rm(join(into, "tree"), { recursive: true });
      await run(["sh", "-c", "gzip -6 --no-name --stdout none > gzip"], into);
      await run(["sh", "-c", "zstd --quiet -3 --stdout none > zstd"], into);
    };
    return cached(`layer-${row.top}-${keyOf({ row, format: FORMAT })}`, pack, this.#cache);
  }

  #fetched({ debian = [], npm = [] }: LayerPackages): Promise<string> {
    const fetch = async (into: string) => {
      if (debian.length > 0) await run(["apt-get", "download", "--quiet", ...debian], into);
      for (const name of npm) await run(["npm", "pack", "--silent", name], into);
    };
    return cached(`packages-${keyOf({ debian, npm })}`, fetch, this.#cache);
  }
}

async function extract({ debian = [], installed = [] }: LayerPackages, top: string, fetched: string): Promise<void> {
  for (const file of (await readdir(fetched)).toSorted()) {
    const from = join(fetched, file);
    if (file.endsWith(".deb")) await run(["dpkg-deb", "--extract", from, top], top);
    else {
      const into = join(top, file.replace(/\.tgz$/, ""));
      await mkdir(into);
      await run(["tar", "-xzf", from, "--strip-components=1", "-C", into], top);
    }
  }
  for (const name of installed) await cp(join(checkout, "node_modules", name), join(top, name), { recursive: true });
  if (debian.length > 0) await run(["chmod", "-R", "u+rwX,go-w", "."], top);
}

async function layerOf(packed: string, codec: Codec): Promise<Layer> {
  const file = join(packed, codec);
  const mediaType = `application/vnd.oci.image.layer.v1.tar${codec === "none" ? "" : `+${codec}`}`;
  const [digest, diffId] = [await digestOf(file), await digestOf(join(packed, "none"))];
  return { file, descriptor: { mediaType, digest, size: (await stat(file)).size }, diffId };
}

/** Kept beside the file: these are large. */
async function digestOf(file: string): Promise<string> {
  if (existsSync(`${file}.sha256`)) return readFile(`${file}.sha256`, "utf8");
  const sha256 = createHash("sha256");
  await pipeline(createReadStream(file), sha256);
  const digest = `sha256:${sha256.digest("hex")}`;
  await writeFile(`${file}.sha256`, digest);
  return digest;
}

const entriesOf = async (packed: string): Promise<number> => Number(await readFile(join(packed, "entries"), "utf8"));

function imageOf(tag: Tag, layers: readonly Layer[]): TestImage {
  return buildImage([], {
    config: { author: tag, rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) } },
    manifest: { layers: layers.map(({ descriptor }) => descriptor) },
  });
}

async function writeImages(into: string, images: ReadonlyMap<Tag, readonly Layer[]>): Promise<void> {
  await writeFiles(into, layoutFiles([...images].map(([tag, layers]) => [tag, imageOf(tag, layers)] as const)));
  const layers = new Map([...images.values()].flat().map((layer) => [layer.descriptor.digest, layer.file]));
  for (const [digest, file] of layers) await link(file, blobPath(into, digest));
}

async function writeArchive(into: string, images: ReadonlyMap<Tag, readonly Layer[]>, tag: Tag): Promise<void> {
  const layout = join(into, "layout");
  await writeImages(layout, new Map([[tag, images.get(tag) ?? []]]));
  await run(["tar", "--create", "--file=image.tar", "-C", layout, "."], into);
  await rm(layout, { recursive: true });
}

const keyOf = (row: object): string => hash("sha256", JSON.stringify(row), "hex").slice(0, 12);
