/**
 * A stored layer as a tar again: what it unpacks to is the same layer, and the same layer is the same bytes.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { packCodecs } from "../../src/oci/media-types.js";
import { TaskProgress } from "../../src/task-progress.js";
import { decoderChoices, type Outcome, type PackResult, type PackTask } from "../../src/tasks.js";
import packLayer from "../../workers/pack.js";
import { sha256 } from "../support/registry.js";
import { directory, file, hardlink, MTIME, pax, symlink, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { differences, readTree } from "../support/trees.js";
import { type Unpacked, unpackFile } from "./unpacking.js";
import { workDirectory } from "./work-directory.js";

const top = workDirectory("layer-tar");
let serial = 0;

async function unpacked(archive: Buffer): Promise<Unpacked> {
  const staging = join(top, `layer-${++serial}`);
  mkdirSync(staging);
  writeFileSync(join(top, "blob"), archive);
  const layer = await unpackFile(join(top, "blob"), staging, {});
  assert.equal(layer.error, undefined);
  return layer;
}

async function pack(
  { staging, layer }: Unpacked,
  codec: PackTask["codec"] = "none",
): Promise<{ outcome: Outcome<PackResult>; bytes: Buffer }> {
  const out = join(top, `blob-${++serial}`);
  const sum = layer?.changesetSha256 ?? "";
  const outcome = await packLayer({
    entries: { kind: "changeset", path: join(staging, "changeset"), sha256: sum },
    trees: [join(staging, "tree")],
    codec,
    file: out,
    progress: new TaskProgress().shared,
  });
  return { outcome, bytes: readFileSync(out) };
}

/** A file of words that no two lines have in the same order. */
function words(bytes: number): Buffer {
  const some = ["layer", "image", "root", "blob", "digest", "manifest", "whiteout", "store", "name", "config"];
  let [text, state] = ["", 1];
  while (text.length < bytes) {
    // A linear congruential generator's higher bits (Numerical Recipes, 7.1).
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += `${some[(state >>> 16) % some.length]}${(state >>> 24) % 7 === 0 ? "\n" : " "}`;
  }
  return tar(file("words", text));
}

const long = (bytes: number): string =>
  Array.from({ length: Math.ceil(bytes / 50) }, (_, i) => `${i}-`.padEnd(49, "x")).join("/");
const rows: readonly (readonly [what: string, ...members: readonly Buffer[]])[] = [
  ["nothing"],
  [
    "files, directories and their modes",
    directory("d/", { mode: 0o700 }),
    file("d/x", "x", { mode: 0o777 }),
    file("e"),
    file("f", Buffer.alloc(700_000, "large")),
  ],
  ["directories that only follow from what they hold", file("a/b/c", "c")],
  [
    "names that are not UTF-8, and odd ones",
    file("\xff\xfe", "1"),
    file("a\nb\\c \x1b", "2"),
    symlink("l", "\x80/\n"),
    file("\u00c3\u00a9", "3"),
  ],
  [
    "names of 100 bytes and more",
    file("n".repeat(100), "1"),
    file("m".repeat(101), "2"),
    directory(`${"d".repeat(100)}/`.slice(1), {}),
    pax({ path: long(400) }),
    file("x", "3"),
  ],
  [
    "long targets",
    pax({ linkpath: long(300) }),
    symlink("l", "x"),
    pax({ path: long(200) }),
    file("x", "1"),
    pax({ linkpath: long(200) }),
    hardlink("h", "x"),
  ],
  [
    "times with a fraction, 0 and the last",
    pax({ mtime: "1700000000.123456789" }),
    file("a", "1"),
    file("b", "2", { mtime: 0 }),
    file("c", "3", { mtime: 0o77777777777 }),
  ],
  [
    "hard links that stand before their file in the changeset",
    directory("a/"),
    file("b/f", "one inode"),
    hardlink("a/g", "b/f"),
    hardlink("c", "a/g"),
    hardlink("b/h", "c"),
  ],
  ["hard links to symlinks and to empty files", symlink("l", "x"), hardlink("m", "l"), file("e"), hardlink("a/e", "e")],
  ["whiteouts", file("d/.wh.x"), file("d/.wh..wh..opq"), file("d/y", "y"), file(".wh.z"), file(".wh..wh..opq")],
  ["hard links into lower layers", hardlink("h", "below/file"), file("d/x", "x")],
];

suite("a packed layer", () => {
  for (const [what, ...members] of rows)
    test(`unpacks to the same changeset, and packs to the same bytes: ${what}`, async () => {
      const first = await unpacked(tar(...members));
      const packed = await pack(first);
      assert.ok(packed.outcome.ok, JSON.stringify(packed.outcome));
      const { diffId, digest, size, tarBytes } = packed.outcome.value;
      assert.deepEqual([diffId, digest], [sha256(packed.bytes), sha256(packed.bytes)]);
      assert.deepEqual([size, tarBytes], [packed.bytes.length, packed.bytes.length]);
      const second = await unpacked(packed.bytes);
      assert.deepEqual(differences(readTree(join(second.staging, "tree")), readTree(join(first.staging, "tree"))), []);
      const again = await pack(second);
      assert.ok(again.bytes.equals(packed.bytes));
      if (!what.includes("before their file")) assert.deepEqual(second.changeset, first.changeset);
    });

  test("is what GNU tar extracts to the same tree", async () => {
    for (const [what, ...members] of rows) {
      if (/whiteouts|lower layers/.test(what)) continue;
      const layer = await unpacked(tar(...members));
      const { bytes } = await pack(layer);
      const out = join(top, `out-${++serial}`);
      mkdirSync(out);
      execFileSync("tar", ["-xpf", "-", "-C", out], { input: bytes, stdio: ["pipe", "ignore", "ignore"] });
      const [ours, theirs] = [readTree(join(layer.staging, "tree")), readTree(out)].map(({ entries }) => ({
        writable: [],
        // A directory that no entry declares gets the time of its making.
        entries: new Map(
          [...entries].filter(([path]) =>
            layer.changeset.some((entry) => entry.path === path && entry.type !== "implied"),
          ),
        ),
      }));
      assert.ok(ours !== undefined && theirs !== undefined);
      assert.deepEqual(differences(theirs, ours), []);
    }
  });

  test("is the same whatever archive the layer came from", async () => {
    const one = await pack(await unpacked(tar(directory("d/"), file("d/x", "x", { uid: 7 }), file("y", "y"))));
    const other = await pack(
      await unpacked(tar(pax({ path: "./d" }), directory("ignored/"), file("./d//x", "x"), file("y", "y"))),
    );
    assert.ok(one.bytes.equals(other.bytes));
  });

  test("is the same tar as gzip", async () => {
    const layer = await unpacked(tar(file("a", "a".repeat(100_000)), file("b", "b")));
    const [plain, zipped] = [await pack(layer), await pack(layer, "gzip")];
    assert.ok(gunzipSync(zipped.bytes).equals(plain.bytes));
    assert.ok(zipped.outcome.ok && plain.outcome.ok);
    assert.deepEqual(
      [zipped.outcome.value.diffId, zipped.outcome.value.digest],
      [sha256(plain.bytes), sha256(zipped.bytes)],
    );
    assert.ok((await pack(layer, "gzip")).bytes.equals(zipped.bytes));
  });

  const zstd = toolOrSkip("zstd");
  test("is the same tar as zstd, to zstd and to both of our decoders", { skip: zstd.skip }, async () => {
    const layer = await unpacked(words(5_000_000));
    const [plain, zipped] = [await pack(layer), await pack(layer, "zstd")];
    assert.ok(zipped.outcome.ok && plain.outcome.ok);
    const { diffId, digest, size } = zipped.outcome.value;
    assert.deepEqual([diffId, digest, size], [sha256(plain.bytes), sha256(zipped.bytes), zipped.bytes.length]);
    const judged = (...args: string[]): Buffer =>
      execFileSync("zstd", args, { input: zipped.bytes, maxBuffer: 2 * plain.bytes.length, stdio: "pipe" });
    assert.ok(judged("-dc").equals(plain.bytes));
    writeFileSync(join(top, "listed.zst"), zipped.bytes);
    const listed = execFileSync("zstd", ["-lv", join(top, "listed.zst")], { encoding: "utf8" });
    assert.match(listed, new RegExp(`Zstandard Frames: 3\n[^]*Decompressed Size:.*\\(${plain.bytes.length} B\\)`));
    assert.match(listed, /Check: XXH64/);
    for (const decoders of decoderChoices) {
      const staging = join(top, `zstd-${decoders}`);
      mkdirSync(staging);
      const again = await unpackFile(join(top, "listed.zst"), staging, { codec: "zstd", decoders });
      assert.deepEqual([again.error, again.layer?.diffId], [undefined, diffId]);
    }
    const last = zipped.bytes.length - 1;
    zipped.bytes.writeUInt8(zipped.bytes.readUInt8(last) ^ 1, last);
    assert.throws(() => judged("-t", "-q"), "the checksum is looked at");
  });

  test("is these bytes on every machine and every Node version", async () => {
    const layer = await unpacked(words(2_500_000));
    const digests = [];
    for (const codec of packCodecs) digests.push([codec, sha256((await pack(layer, codec)).bytes)]);
    assert.deepEqual(Object.fromEntries(digests), {
      gzip: "sha256:c97c9dabd4369024dc10052082cbea64b5bb83cc4d053efa0a9e3cd08d83fa22",
      zstd: "sha256:51a3d3e49f9595d04d77ba2390dbcdec8d567e65334bcfc0e10b00ab099353a9",
      none: "sha256:ea60bd9a1cb9b64e8e0d6d9e374a629cf4e68e47e7ea14bf65f8867464f900c7",
    });
  });
});

suite("a layer that is not what was unpacked is STORE_CORRUPT", () => {
  const damages: Readonly<Record<string, (tree: string) => void>> = {
    "another content": (tree) => rewrite(join(tree, "d/x"), "y"),
    "another size": (tree) => rewrite(join(tree, "d/x"), "xx"),
    "a file is missing": (tree) => rmSync(join(tree, "d/x")),
    "a symlink in a file's place": (tree) => {
      rmSync(join(tree, "d/x"));
      symlinkSync("/etc/hostname", join(tree, "d/x"));
    },
    "a symlink in a directory's place": (tree) => {
      renameSync(join(tree, "d"), join(tree, "e"));
      symlinkSync("e", join(tree, "d"));
    },
    "a FIFO in a file's place": (tree) => {
      rmSync(join(tree, "d/x"));
      execFileSync("mkfifo", [join(tree, "d/x")]);
    },
  };
  for (const [what, damage] of Object.entries(damages))
    test(what, async () => {
      const layer = await unpacked(tar(directory("d/", { mtime: MTIME }), file("d/x", "x")));
      damage(join(layer.staging, "tree"));
      const { outcome } = await pack(layer);
      assert.equal(outcome.ok ? "packed" : outcome.error.code, "STORE_CORRUPT");
    });
});

function rewrite(path: string, content: string): void {
  chmodSync(path, 0o600);
  const fd = openSync(path, "w");
  writeFileSync(fd, content);
  closeSync(fd);
}
