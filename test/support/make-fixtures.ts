/**
 * Makes test/fixtures/images, the example of the design discussion: a layer of headers and documents that all gcc images share, a
 * layer of programs for each architecture, and an image for each. The same bytes every time: fflate and tar-stream write them.
 *
 * Run as a program it writes the directory; the tests compare it with what is committed.
 */
import { createHash } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "fflate";
import { pack } from "tar-stream";

const MTIME = new Date("2026-01-01T00:00:00Z");
const CREATED = MTIME.toISOString();

interface FixtureFile {
  readonly name: string;
  readonly mode?: number;
  readonly content?: string;
  readonly linkname?: string;
}

const file = (name: string, content: string, mode = 0o644): FixtureFile => ({ name, content, mode });
const symlink = (name: string, linkname: string): FixtureFile => ({ name, linkname });

const common: FixtureFile[] = [
  file("include/stddef.h", "typedef __SIZE_TYPE__ size_t;\n#define NULL ((void *)0)\n"),
  file("include/stdint.h", "typedef __UINT8_TYPE__ uint8_t;\ntypedef __UINT64_TYPE__ uint64_t;\n"),
  file("share/doc/gcc/README", "The parts of gcc that every target shares.\n"),
  file("share/man/man1/gcc.1", ".TH GCC 1\n.SH NAME\ngcc \\- an example of a shared layer\n"),
];

const programs = (triplet: string): FixtureFile[] => [
  file("bin/gcc", `#!/bin/sh\necho "gcc for ${triplet}"\n`, 0o755),
  symlink(`bin/${triplet}-gcc`, "gcc"),
  file(`lib/gcc/${triplet}/14/specs`, `*cross_compile:\n1\n*link_target:\n${triplet}\n`),
  symlink(`lib/gcc/${triplet}/latest`, "14"),
];

const layers = {
  "gcc-common": common,
  "gcc-amd64": programs("x86_64-linux-gnu"),
  "gcc-arm64": programs("aarch64-linux-gnu"),
};

/** Every file of the layout by its path in it. */
export async function fixtureImages(): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  const blob = (bytes: Buffer): { digest: string; size: number } => {
    const digest = createHash("sha256").update(bytes).digest("hex");
    files.set(`blobs/sha256/${digest}`, bytes);
    return { digest: `sha256:${digest}`, size: bytes.length };
  };
  const manifests: object[] = [];
  for (const architecture of ["amd64", "arm64"] as const) {
    const tag = `gcc-${architecture}` as const;
    const tars = await Promise.all([tarOf(layers["gcc-common"]), tarOf(layers[tag])]);
    const config = {
      architecture,
      os: "linux",
      created: CREATED,
      config: { Env: ["PATH=/bin"], Cmd: ["/bin/gcc"] },
      rootfs: {
        type: "layers",
        diff_ids: tars.map((tar) => `sha256:${createHash("sha256").update(tar).digest("hex")}`),
      },
    };
    const manifest = {
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: { mediaType: "application/vnd.oci.image.config.v1+json", ...blob(json(config)) },
      layers: tars.map((tar) => ({
        mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
        ...blob(Buffer.from(gzipSync(tar, { level: 9, mtime: 0 }))),
      })),
    };
    manifests.push({
      mediaType: manifest.mediaType,
      ...blob(json(manifest)),
      platform: { architecture, os: "linux" },
      annotations: { "org.opencontainers.image.ref.name": tag },
    });
  }
  files.set("index.json", json({ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests }));
  files.set("oci-layout", json({ imageLayoutVersion: "1.0.0" }));
  return files;
}

const json = (value: object): Buffer => Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`);

async function tarOf(files: readonly FixtureFile[]): Promise<Buffer> {
  const tar = pack();
  for (const name of directoriesOf(files)) tar.entry({ name, type: "directory", mode: 0o755, mtime: MTIME });
  for (const { name, mode, content, linkname } of files) {
    if (linkname === undefined) tar.entry({ name, mode: mode ?? 0o644, mtime: MTIME }, content ?? "");
    else tar.entry({ name, type: "symlink", linkname, mode: 0o777, mtime: MTIME });
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function directoriesOf(files: readonly FixtureFile[]): string[] {
  const directories = new Set<string>();
  for (const { name } of files) {
    const parts = name.split("/").slice(0, -1);
    for (const depth of parts.keys()) directories.add(`${parts.slice(0, depth + 1).join("/")}/`);
  }
  return [...directories].sort();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const target = join(process.cwd(), "test/fixtures/images");
  await rm(target, { recursive: true, force: true });
  for (const [name, bytes] of await fixtureImages()) {
    await mkdir(dirname(join(target, name)), { recursive: true });
    await writeFile(join(target, name), bytes);
  }
}
