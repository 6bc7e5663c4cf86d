/** The codec rows of hostile-inputs.md for zstd, as `rows.ts` has those for gzip: every byte of a frame a test's own. */
import { gzipSync } from "node:zlib";
import { file, tar } from "../support/tar-builder.js";
import { no, type Row, yes } from "./rows.js";
import {
  around,
  compressedBlock,
  frame,
  rawFrame,
  singleSegment,
  skippable,
  thinBlocks,
  withBlock,
} from "./zstd-frames.js";

const T = tar(file("a", "hello"));
const aTree = { a: "file hello" };
const F = frame(T);
const zstd = { codec: "zstd" } as const;

/** The row's blob stands for this tar, however it is packed. */
const packed = (title: string, ...parts: readonly Buffer[]): Row =>
  yes(title, aTree, Buffer.concat(parts), { ...zstd, tar: T });
const refused = (title: string, code: Parameters<typeof no>[1], ...parts: readonly Buffer[]): Row =>
  no(title, code, Buffer.concat(parts), zstd);
const uint32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >> shift) & 0xff);
const changed = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[at < 0 ? copy.length + at : at] = (copy.at(at) as number) ^ 1;
  return copy;
};

/** RFC 8878, 3.1.1.3.1: a table of two symbols, and a stream of none. */
const noneByHuffman = Buffer.from([2, 0xc0, 0, 128, 0x10, 1, 0]);
/** 3.1.1.3.2: one, by the predefined tables, that copies what lies before the window. */
const aSequence = Buffer.from([0, 1, 0, 0xff, 0xff, 0xff]);

export const zstdRows: readonly Row[] = [
  packed("one frame", F),
  packed("several frames", frame(T.subarray(0, 700)), frame(T.subarray(700))),
  packed("an empty frame between", frame(T.subarray(0, 700)), frame(Buffer.alloc(0)), frame(T.subarray(700))),
  packed(
    "skippable frames before, between and after",
    skippable(Buffer.from("before")),
    frame(T.subarray(0, 9)),
    skippable(Buffer.alloc(0)),
    frame(T.subarray(9)),
    skippable(Buffer.alloc(70_000)),
  ),
  packed("a compressed block of two bytes, which holds nothing", compressedBlock(Buffer.alloc(2)), F),
  packed("between others, a compressed block of no literals", around(Buffer.alloc(2), T)),
  packed("between others, a compressed block of one literal repeated never", around(Buffer.from([1, 7, 0]), T)),
  packed("between others, a compressed block of a Huffman table and nothing coded by it", around(noneByHuffman, T)),
  refused("between others, a compressed block of nothing and a byte", "CODEC_CORRUPT", around(Buffer.alloc(3), T)),
  refused(
    "between others, a compressed block of one literal for two",
    "CODEC_CORRUPT",
    around(Buffer.from([16, 7]), T),
  ),
  refused("between others, a compressed block of a sequence of nothing", "CODEC_CORRUPT", around(aSequence, T)),
  packed("a frame with its checksum", frame(T, { checksum: true })),
  packed("frames with and without a checksum", frame(T.subarray(0, 9), { checksum: true }), frame(T.subarray(9))),
  packed("a frame with its content's size", frame(T, { contentBytes: T.length })),
  packed("a single segment", rawFrame(0xa0, uint32(T.length), T)),
  refused("a single segment that is too large", "CODEC_CORRUPT", rawFrame(0xa0, uint32(T.length + 1), T)),
  refused("a content of no bytes that has some", "CODEC_CORRUPT", frame(T, { contentBytes: 0 })),
  packed("a window of 128 MiB", frame(T, { window: 0x88 })),
  packed("the dictionary that is none", rawFrame(0x01, [0x50, 0], T)),
  refused("a wrong checksum", "CODEC_CORRUPT", changed(frame(T, { checksum: true }), -1)),
  refused("a content that is not its checksum's", "CODEC_CORRUPT", changed(frame(T, { checksum: true }), 600)),
  refused("a checksum that is cut", "CODEC_TRUNCATED", frame(T, { checksum: true }).subarray(0, -1)),
  refused("more content than its size says", "CODEC_CORRUPT", frame(T, { contentBytes: T.length - 1 })),
  refused("less content than its size says", "CODEC_CORRUPT", frame(T, { contentBytes: T.length + 1 })),
  refused("a dictionary that nobody has", "CODEC_HEADER", rawFrame(0x01, [0x50, 7], T)),
  refused("a window beyond 128 MiB", "LIMIT_WINDOW", frame(T, { window: 0x89 })),
  no("a window beyond 128 MiB, whatever the limit", "LIMIT_WINDOW", frame(T, { window: 0x89 }), {
    ...zstd,
    limits: { maxWindowBytes: 2 ** 31 },
  }),
  refused("the widest window", "LIMIT_WINDOW", frame(T, { window: 0xff })),
  refused("a single segment beyond 128 MiB", "LIMIT_WINDOW", singleSegment(2n ** 27n + 1n)),
  refused("a single segment of 2^63 bytes", "LIMIT_WINDOW", singleSegment(2n ** 63n)),
  refused("thousands of blocks of a byte behind a wide window", "LIMIT_WINDOW", thinBlocks(3000)),
  refused("a block larger than its window", "CODEC_CORRUPT", frame(Buffer.alloc(2048), { window: 0 })),
  refused("a run of more than 128 KiB", "CODEC_CORRUPT", withBlock(1, 128 * 1024 + 1, Buffer.alloc(1))),
  refused("one byte after the frame", "CODEC_TRAILING", F, Buffer.from("x")),
  refused("zeros after the frame", "CODEC_TRAILING", F, Buffer.alloc(16)),
  refused("gzip after the frame", "CODEC_TRAILING", F, gzipSync(T)),
  refused("a second frame that is cut", "CODEC_TRUNCATED", F, F.subarray(0, 5)),
  refused("a frame cut behind its magic", "CODEC_TRUNCATED", F.subarray(0, 4)),
  refused("a header cut in its content's size", "CODEC_TRUNCATED", frame(T, { contentBytes: T.length }).subarray(0, 8)),
  refused("a second frame cut in its magic", "CODEC_TRUNCATED", F, F.subarray(0, 3)),
  refused("a skippable frame cut in its header", "CODEC_TRUNCATED", F, skippable(T).subarray(0, 6)),
  refused("a skippable frame that is cut", "CODEC_TRUNCATED", F, skippable(T).subarray(0, 100)),
  refused("a skippable frame alone", "TAR_TRUNCATED", skippable(T)),
  refused(
    "a skippable frame that claims 4 GiB",
    "CODEC_TRUNCATED",
    Buffer.from([0x53, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff]),
  ),
  refused("what is no zstd, all zeros", "CODEC_HEADER", Buffer.alloc(600)),
  refused("a refused entry in a block that is cut", "CODEC_TRUNCATED", frame(tar(file("../x"), T)).subarray(0, 1200)),
  refused("a reserved block", "CODEC_CORRUPT", F.subarray(0, 6), Buffer.from([7, 0, 0])),
  refused("a reserved bit", "CODEC_CORRUPT", F.subarray(0, 4), Buffer.from([8]), F.subarray(5)),
  refused("a compressed block of noise", "CODEC_CORRUPT", compressedBlock(Buffer.alloc(8, 0xa5))),
  refused("a compressed block of nothing", "CODEC_CORRUPT", compressedBlock(Buffer.alloc(0))),
  refused("an old format, of zstd 0.7", "CODEC_HEADER", Buffer.from([0x27, 0xb5, 0x2f, 0xfd]), F.subarray(4)),
  refused("an empty zstd blob", "CODEC_TRUNCATED"),
];
