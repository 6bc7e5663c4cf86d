/**
 * xz as xz writes it, in every shape that its options give; and cut, changed or continued in any place.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { suite, test } from "node:test";
import { crc32 } from "node:zlib";
import { file, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { outcomeOfBytes } from "../workers/unpacking.js";

const { skip } = toolOrSkip("xz");

const xz = (bytes: Buffer, ...options: string[]): Buffer =>
  execFileSync("xz", ["--compress", "--stdout", ...options], { input: bytes, maxBuffer: 2 ** 28 });
const unpacked = (blob: Buffer, limits = {}) => outcomeOfBytes(blob, { codec: "xz", limits });

const words = (bytes: number): Buffer => {
  const text = ["layer", "changeset", "root", "digest", "\n", "  ", "0123456789", "overlap"];
  const parts = Array.from({ length: bytes / 4 }, (_, i) => text[(i * i * 31 + (i >> 3)) % text.length] as string);
  return Buffer.from(parts.join("")).subarray(0, bytes);
};
const mixed = tar(
  file("text", words(300_000)),
  file("noise", randomBytes(200_000)),
  file("zeros", Buffer.alloc(3_000_000)),
);
/** A stream of other flags, with the checksums of its header and footer made right again. */
function flagged(stream: Buffer, first: number, second: number): Buffer {
  const copy = Buffer.from(stream);
  const footer = copy.length - 12;
  for (const at of [6, footer + 8]) copy.set([first, second], at);
  copy.writeUInt32LE(crc32(copy.subarray(6, 8)), 8);
  copy.writeUInt32LE(crc32(copy.subarray(footer + 4, footer + 10)), footer);
  return copy;
}
const small = tar(file("a", "hello hello hello"));

suite("xz", { skip }, () => {
  const shapes: Readonly<Record<string, readonly string[]>> = {
    "the default": [],
    "the fastest": ["-0"],
    "the smallest, with 64 MiB of dictionary": ["-9e"],
    "without a checksum": ["--check=none"],
    "with CRC-32": ["--check=crc32"],
    "with CRC-64": ["--check=crc64"],
    "with SHA-256": ["--check=sha256"],
    "many blocks": ["--block-size=65536"],
    "many blocks with their sizes in their headers": ["-T2", "--block-size=65536"],
    "a dictionary smaller than the content": ["--lzma2=preset=6,dict=4KiB"],
    "a dictionary that is no power of two": ["--lzma2=preset=6,dict=6KiB"],
    "other literal and position bits": ["--lzma2=preset=6,lc=0,lp=4,pb=4"],
    "no position bits": ["--lzma2=preset=6,lc=4,lp=0,pb=0"],
  };
  for (const [what, options] of Object.entries(shapes)) {
    test(`${what} gives the tar's tree`, async () => {
      assert.deepEqual(await unpacked(xz(mixed, ...options)), await outcomeOfBytes(mixed));
    });
  }

  test("streams one after another, with zeros between and after them, are one tar", async () => {
    const zeros = Buffer.alloc(8);
    const blob = Buffer.concat([
      xz(small.subarray(0, 700)),
      zeros,
      xz(Buffer.alloc(0)),
      xz(small.subarray(700)),
      zeros,
    ]);
    assert.deepEqual(await unpacked(blob), await outcomeOfBytes(small));
  });

  test("cut anywhere it is CODEC_TRUNCATED", async () => {
    const blob = xz(small);
    for (let bytes = 1; bytes < blob.length; bytes += 1)
      assert.equal(await unpacked(blob.subarray(0, bytes)), "CODEC_TRUNCATED", `${bytes} of ${blob.length}`);
  });

  test("a changed byte anywhere is a refusal, whatever the checksum", async () => {
    for (const check of ["crc32", "crc64", "sha256"]) {
      const blob = xz(small, `--check=${check}`);
      for (let at = 0; at < blob.length; at += 1) {
        const bad = Buffer.from(blob);
        bad[at] = (bad[at] as number) ^ (1 << (at % 8));
        assert.match(String(await unpacked(bad)), /^(CODEC|MEDIA_TYPE|LIMIT|TAR)_/, `byte ${at}, ${check}`);
      }
    }
  });

  test("anything but zeros by fours behind it is CODEC_TRAILING", async () => {
    for (const more of [Buffer.from("x"), Buffer.alloc(3), Buffer.concat([Buffer.alloc(4), Buffer.from("more")])])
      assert.equal(await unpacked(Buffer.concat([xz(small), more])), "CODEC_TRAILING");
  });

  test("a dictionary beyond the limit is LIMIT_WINDOW", async () => {
    assert.equal(await unpacked(xz(small, "-9"), { maxWindowBytes: 32 * 1024 * 1024 }), "LIMIT_WINDOW");
  });

  test("a filter for machine code is CODEC_HEADER", async () => {
    assert.equal(await unpacked(xz(small, "--x86", "--lzma2=preset=6")), "CODEC_HEADER");
  });

  test("flags of a stream that nobody has defined are CODEC_HEADER, with blocks and without", async () => {
    const empty = xz(Buffer.alloc(0));
    assert.deepEqual(await unpacked(flagged(xz(small), 0, 4)), await outcomeOfBytes(small));
    for (const [first, second] of [
      [1, 4],
      [0, 0x14],
      [0, 2],
    ] as const)
      assert.equal(await unpacked(flagged(xz(small), first, second)), "CODEC_HEADER", `${first} ${second}`);
    for (const [first, second] of [
      [1, 4],
      [0, 0x14],
    ] as const)
      assert.equal(await unpacked(Buffer.concat([flagged(empty, first, second), xz(small)])), "CODEC_HEADER");
  });

  test("a bomb is LIMIT_RATIO", async () => {
    const blob = xz(tar(file("zeros", Buffer.alloc(64 * 1024 * 1024))));
    assert.equal(await unpacked(blob, { maxRatio: 500, ratioFloorBytes: 1024 * 1024 }), "LIMIT_RATIO");
  });
});
