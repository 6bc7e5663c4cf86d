/**
 * Layers as compressors and image tools write them: the tree is the one that GNU tar extracts from the tar that gzip or zstd make of
 * them, the diffID the one that the image's config has.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { type Codec, layerCodec } from "../../src/oci/media-types.js";
import { blobPath, writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { toolOrSkip } from "../support/tools.js";
import type { Json } from "../support/wire.js";
import { estargz, FOOTER_BYTES, type StargzEntry } from "./estargz.js";
import { bench } from "./judging.js";

const tools = ["tar", "gzip", "pigz", "igzip", "busybox", "zstd", "pzstd", "python3", "umoci", "skopeo", "buildah"];
const found = Object.fromEntries(tools.map((name) => [name, toolOrSkip(name)]));
const without = (...names: string[]): string | false => names.map((name) => found[name]?.skip).find(Boolean) ?? false;

suite("what compressors write", { skip: without("tar") }, () => {
  const { run, directory, judge } = bench();
  let tar: string;
  before(() => {
    tar = join(directory(), "layer.tar");
    run("tar", "-C", "source", "--format=pax", "-cf", tar, ".");
  });

  const compressors: readonly (readonly [codec: Codec, program: string, ...options: string[]])[] = [
    ["gzip", "gzip", "--best"],
    ["gzip", "gzip", "--fast", "--rsyncable"],
    ["gzip", "busybox", "gzip"],
    ["gzip", "pigz"],
    ["gzip", "pigz", "--independent", "--blocksize", "128", "--processes", "4"],
    ["gzip", "pigz", "--rsyncable", "--fast"],
    ["gzip", "igzip"],
    ["gzip", "igzip", "-0"],
    ["zstd", "zstd", "-19", "--long=27"],
    ["zstd", "zstd", "--threads=2", "--rsyncable"],
    ["zstd", "pzstd", "--processes", "2"],
  ];
  for (const [codec, program, ...options] of compressors) {
    test(`${[program, ...options].join(" ")}: the tree that GNU tar extracts`, {
      skip: without(program, codec),
    }, async () => {
      const blob = join(directory(), "blob");
      writeFileSync(blob, run(program, ...options, "-c", tar));
      await judge(blob, { codec });
    });
  }

  for (const programs of [
    ["gzip", "gzip"],
    ["pigz", "gzip", "igzip", "busybox"],
  ]) {
    test(`members of ${programs.join(", ")}, one after another: the tree that GNU tar extracts`, {
      skip: without(...programs),
    }, async () => {
      const bytes = readFileSync(tar);
      const piece = Math.ceil(bytes.length / programs.length);
      const members = programs.map((program, i) =>
        execFileSync(program, [...(program === "busybox" ? ["gzip"] : []), "-c"], {
          input: bytes.subarray(i * piece, (i + 1) * piece),
        }),
      );
      const blob = join(directory(), "blob");
      writeFileSync(blob, Buffer.concat(members));
      await judge(blob, { codec: "gzip" });
    });
  }

  const PYTHON = `
import json, sys, tarfile
kinds = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink"}
with tarfile.open(sys.argv[1], errors="replace") as tar:
    entries = [{"name": m.name, "type": kinds.get(m.type, "reg"), "mode": m.mode, "uid": m.uid, "gid": m.gid,
                "linkName": m.linkname, "size": m.size, "at": m.offset_data} for m in tar.getmembers()]
    print(json.dumps({"entries": entries, "end": tar.offset}))
`;
  for (const legacy of [false, true]) {
    const title = legacy ? "stargz" : "eStargz";
    test(`${title}, with its table and its footer: the tree that GNU tar extracts`, {
      skip: without("python3"),
    }, async () => {
      const made = directory();
      writeFileSync(join(made, ".no.prefetch.landmark"), "\x0f");
      run("tar", "--format=pax", "-cf", join(made, "tar"), "-C", made, ".no.prefetch.landmark", "-C", "../source", ".");
      const listed = run("python3", "-c", PYTHON, join(made, "tar")).toString();
      const { entries, end } = JSON.parse(listed) as { entries: StargzEntry[]; end: number };
      const blob = estargz(readFileSync(join(made, "tar")).subarray(0, end), entries, { legacy });
      if (!legacy) assertReadByItsTable(blob);
      writeFileSync(join(made, "blob"), blob);
      await judge(join(made, "blob"), { codec: "gzip" });
    });
  }
});

suite("layers of image tools", { skip: without("tar") }, () => {
  const { run, directory, judge } = bench();
  const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];

  async function judgeAll(layers: readonly Layer[], codecs: readonly Codec[]): Promise<void> {
    assert.deepEqual(
      layers.map(({ codec }) => codec),
      codecs,
    );
    for (const { path, codec, diffId } of layers) await judge(path, { codec, diffId });
  }

  test("umoci insert and repack, with whiteouts: the trees that GNU tar extracts", {
    skip: without("umoci"),
  }, async () => {
    const made = directory();
    const image = ["--image", join(made, "image:tag")];
    run("umoci", "init", "--layout", join(made, "image"));
    run("umoci", "new", ...image);
    run("umoci", "insert", ...rootless, ...image, "source", "/");
    run("umoci", "insert", ...rootless, ...image, "--opaque", "source/deep", "/deep");
    run("umoci", "insert", ...rootless, ...image, "--whiteout", "/empty");
    run("umoci", "unpack", ...rootless, ...image, join(made, "bundle"));
    const root = join(made, "bundle/rootfs");
    for (const name of ["setid", "symlink", "deep"]) rmSync(join(root, name), { recursive: true });
    cpSync(join(root, "large"), join(root, "copied"));
    run("umoci", "repack", ...image, join(made, "bundle"));
    await judgeAll(layersOf(join(made, "image")), ["gzip", "gzip", "gzip", "gzip"]);
  });

  for (const format of ["oci", "docker"]) {
    test(`buildah commit --format ${format}, twice: the trees that GNU tar extracts`, {
      skip: without("buildah"),
    }, async () => {
      const made = directory();
      const store = ["--storage-driver", "vfs", "--root", join(made, "root"), "--runroot", join(made, "run")];
      const buildah = (...args: string[]) =>
        run("buildah", ...store, ...args)
          .toString()
          .trim();
      const image = `dir:${join(made, "image")}`;
      const base = buildah("from", "scratch");
      buildah("copy", base, "source", "/");
      const id = buildah("commit", "--format", format, base);
      const derived = buildah("from", "--pull-never", id);
      buildah("add", derived, "source/a block", "/empty dir/added");
      buildah("commit", "--format", format, "--disable-compression=false", derived, image);
      await judgeAll(layersOf(join(made, "image")), ["gzip", "gzip"]);
    });
  }

  const copies: readonly (readonly [to: string, codec: Codec, ...options: string[]])[] = [
    ["oci", "gzip"],
    ["oci", "none", "--dest-oci-accept-uncompressed-layers"],
    ["oci", "zstd", "--dest-compress-format=zstd"],
    ["oci", "zstd", "--dest-compress-format=zstd:chunked"],
    ["dir", "gzip", "--dest-compress"],
    ["dir", "zstd", "--dest-compress", "--dest-compress-format=zstd"],
    ["docker-archive", "none"],
  ];
  for (const [to, codec, ...options] of copies) {
    test(`skopeo copy to ${[to, ...options].join(" ")}: the tree that GNU tar extracts`, {
      skip: without("skopeo"),
    }, async () => {
      const made = directory();
      // Without zeros behind the end marker: skopeo 1.9 leaves them out of zstd:chunked, and the config's diffID as it is.
      run("tar", "-C", "source", "--format=pax", "--blocking-factor=1", "-cf", join(made, "tar"), ".");
      await writeLayout(join(made, "from"), { tag: buildImage([readFileSync(join(made, "tar"))], { codec: "none" }) });
      const place = { oci: "image:tag", dir: "image", "docker-archive": "archive:example/app:1" }[to];
      const flags = ["--insecure-policy", "copy", "--quiet", ...options];
      run("skopeo", ...flags, `oci:${join(made, "from:tag")}`, `${to}:${join(made, place as string)}`);
      if (to === "docker-archive") run("tar", "--one-top-level=image", "-C", made, "-xf", join(made, "archive"));
      const layers = layersOf(join(made, "image"));
      await judgeAll(layers, [codec]);
      const isChunked =
        readFileSync(layers[0]?.path as string)
          .subarray(-8)
          .toString() === "GnUlInUx";
      assert.equal(
        isChunked,
        options.some((option) => option.endsWith("zstd:chunked")),
      );
    });
  }
});

interface Layer {
  readonly path: string;
  readonly codec: Codec;
  readonly diffId: string;
}

/** Of an OCI layout, a `dir:` of skopeo, or an unpacked docker-archive: whichever `directory` is. */
function layersOf(directory: string): Layer[] {
  const read = (...path: string[]): Json => JSON.parse(readFileSync(join(directory, ...path), "utf8"));
  const isLayout = existsSync(join(directory, "index.json"));
  const blob = (digest: string): string => (isLayout ? blobPath("", digest) : digest.replace(/.*:/, ""));
  const manifest = isLayout ? read(blob(read("index.json").manifests[0].digest)) : read("manifest.json");
  const archive: Json = manifest[0];
  const diffIds: string[] = read(archive?.Config ?? blob(manifest.config.digest)).rootfs.diff_ids;
  const layers: Json[] = archive?.Layers ?? manifest.layers;
  return diffIds.map((diffId, i) => ({
    path: join(directory, archive === undefined ? blob(layers[i].digest) : layers[i]),
    codec: archive === undefined ? layerCodec(layers[i].mediaType) : "none",
    diffId,
  }));
}

/** As a lazy puller reads it: the footer, the table, each chunk. */
function assertReadByItsTable(blob: Buffer): void {
  const place = /([0-9a-f]{16})STARGZ/.exec(blob.toString("latin1", blob.length - FOOTER_BYTES))?.[1] ?? "";
  const toc = gunzipSync(blob.subarray(Number.parseInt(place, 16), -FOOTER_BYTES)).subarray(512);
  const { entries } = JSON.parse(toc.toString().replace(/\0+$/, "")) as { entries: Json[] };
  const chunks = entries.filter(({ chunkDigest }) => chunkDigest !== undefined);
  assert.ok(chunks.length > 5);
  let total = 0;
  for (const { offset, chunkOffset, chunkSize, size, chunkDigest } of chunks) {
    total = size ?? total;
    const content = gunzipSync(blob.subarray(offset)).subarray(0, chunkSize || total - chunkOffset);
    assert.equal(`sha256:${createHash("sha256").update(content).digest("hex")}`, chunkDigest);
  }
}
