/**
 * Archives that are nearly right: those of real writers and such as no tool writes, with a field, a record, a member or the end changed,
 * their checksums made right again. The same seed gives the same archives.
 */
import {
  BLOCK,
  base256,
  directory,
  END,
  file,
  GNU_MAGIC,
  gnuLong,
  hardlink,
  pax,
  paxRecord,
  symlink,
  USTAR_MAGIC,
} from "../support/tar-builder.js";

export type Random = (below: number) => number;

/** mulberry32: small, and the same everywhere. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const pick = <Value>(random: Random, values: readonly Value[]): Value => values[random(values.length)] as Value;

const inner = Buffer.concat([file("hidden", "x"), END]);

/** Members, each with the extended headers that belong to it. */
const members: readonly (() => Buffer)[] = [
  () => directory("d/"),
  () => file("a", "hello"),
  () => file("d/b", "x".repeat(BLOCK)),
  () => file("d/c", "y".repeat(700)),
  () => file("empty"),
  () => symlink("s", "a"),
  () => hardlink("h", "a"),
  () => file("g", "gnu", { magic: GNU_MAGIC }),
  () => file("below", "p", { prefix: "pre/fix" }),
  () => Buffer.concat([pax({ path: `${"long/".repeat(40)}name` }), file("short", "1")]),
  () => Buffer.concat([pax({ size: "5", mtime: "1.5" }), file("sized", "hello")]),
  () => Buffer.concat([pax({ size: String(inner.length) }), file("carrier", inner, { size: 0 })]),
  () => Buffer.concat([pax({ linkpath: "t".repeat(150) }), symlink("far", "t")]),
  () => Buffer.concat([gnuLong("L", "n".repeat(150)), file("n", "body", { magic: GNU_MAGIC })]),
  () => Buffer.concat([gnuLong("K", "k".repeat(150)), symlink("k", "k", { magic: GNU_MAGIC })]),
  () => Buffer.concat([pax({ comment: "all" }, { type: "g" }), file("after", "g")]),
  () => file("binary", "b", { size: base256(1n), magic: GNU_MAGIC }),
];

interface HeaderField {
  readonly at: number;
  readonly length: number;
  readonly values: readonly (string | Buffer)[];
}

const numbers = ["0", "5", "00000000005", "     5 ", "5\0", "\0", " ", "777", "1000", "0000001000\0", "-1", "5x", "9"];
const fields: readonly HeaderField[] = [
  {
    at: 0,
    length: 100,
    values: ["", "a", "./a", "a/", "d//b", "/a", "a\0b", "d/../a", "\xff", "é", ".", "x".repeat(100)],
  },
  { at: 100, length: 8, values: numbers },
  {
    at: 124,
    length: 12,
    values: [...numbers, base256(5n), base256(5n, 0xff), base256(2n ** 40n), Buffer.alloc(12, 0xff), "000000000005"],
  },
  { at: 136, length: 12, values: [...numbers, base256(5n), Buffer.alloc(12, 0xff)] },
  { at: 156, length: 1, values: [..."\x00012345671xgLKSVMDAN", "\xff"] },
  { at: 157, length: 100, values: ["", "a", "a/", "../a", "\xff", "a\0b", "x".repeat(100)] },
  { at: 257, length: 8, values: [USTAR_MAGIC, GNU_MAGIC, "ustar\0  ", "ustar", "\0\0\0\0\0\0\0\0", "ustar 00"] },
  { at: 345, length: 155, values: ["", "p", "p/q", "/", "p/", "\0x", "x".repeat(155)] },
];

/** Keys that mean something to at least one reader; the first three far more often. */
const keys = [
  ...Array<string[]>(6).fill(["path", "size", "linkpath"]).flat(),
  ..."mtime atime ctime uid gid uname gname hdrcharset charset comment mode type name PATH VENDOR.x".split(" "),
  ..."sparse.name sparse.size sparse.realsize sparse.map sparse.major dumpdir".split(" ").map((key) => `GNU.${key}`),
  ..."volume.label volume.filename volume.size volume.offset".split(" ").map((key) => `GNU.${key}`),
  ..."realsize filetype dev ino nlink devmajor devminor fflags offset".split(" ").map((key) => `SCHILY.${key}`),
  ..."xattr.user.x acl.access acl.default acl.ace".split(" ").map((key) => `SCHILY.${key}`),
  ..."SUN.holesdata SUN.devmajor RHT.security.selinux LIBARCHIVE.symlinktype a\0b".split(" "),
  ..."LIBARCHIVE.creationtime LIBARCHIVE.xattr.user.x".split(" "),
];
const values = [
  ...[
    "1",
    "5",
    "512",
    "0",
    "-1",
    "1.5",
    "0x1",
    " 1",
    "1 ",
    "",
    "a",
    "a/",
    "./a",
    "d//b",
    "BINARY",
    " 0 3 5",
    "%",
    "x=y",
  ],
  ...[
    "\xff",
    "latin1-\xfc",
    "gr\xc3\xbc\xc3\x9fe",
    "a\0b",
    "new\nline",
    "v\n10 path=zz",
    "v".repeat(150),
    "user::rw-",
    "\u007f",
  ],
];
const broken = ["6 a=b\n", "5 a=b\n", "\n", "7 a=b\n\n", "06 a=b\n", "6 a=b\n\0"];

function records(random: Random): string {
  const some = Array.from({ length: 1 + random(3) }, () => paxRecord(pick(random, keys), pick(random, values)));
  return some.join("") + (random(12) === 0 ? pick(random, broken) : "");
}

type Mutation = (archive: Buffer[], random: Random) => void;

const mutations: readonly Mutation[] = [
  (parts, random) => parts.splice(random(parts.length + 1), 0, pick(random, members)()),
  (parts, random) => parts.splice(random(parts.length), 1),
  (parts, random) => parts.splice(random(parts.length), 0, ...parts.splice(random(parts.length), 1)),
  (parts, random) => parts.splice(random(parts.length), 0, Buffer.alloc(BLOCK)),
  (parts, random) =>
    parts.splice(random(parts.length), 0, pax(records(random), { type: pick(random, ["x", "x", "x", "g"]) })),
  (parts, random) => parts.splice(random(parts.length), 0, gnuLong(pick(random, ["L", "K"]), "z".repeat(random(200)))),
  changeField,
  changeField,
  changeField,
  changeField,
  (parts, random) => {
    const part = parts[random(parts.length)];
    if (part !== undefined && part.length > 0) part[random(part.length)] = random(256);
  },
  (parts, random) => {
    const part = parts[random(parts.length)];
    if (part === undefined || part.length < BLOCK) return;
    const block = part.subarray(...blockOf(part, random));
    block[random(BLOCK)] = random(256);
    setChecksum(block, random(3) === 0 ? pick(random, checksumStyles) : undefined);
  },
];

function changeField(parts: Buffer[], random: Random): void {
  const part = parts[random(parts.length)];
  if (part === undefined || part.length < BLOCK) return;
  const block = part.subarray(...blockOf(part, random));
  const { at, length, values } = pick(random, fields);
  const value = pick(random, values);
  block.fill(0, at, at + length);
  Buffer.from(value as string, "latin1").copy(block, at, 0, length);
  setChecksum(block);
}

function blockOf(part: Buffer, random: Random): [number, number] {
  const headers: number[] = [];
  for (let at = 0; at + BLOCK <= part.length; at += BLOCK)
    if (part.toString("latin1", at + 257, at + 262) === "ustar") headers.push(at);
  const at = headers.length === 0 ? 0 : pick(random, headers);
  return [at, at + BLOCK];
}

/** The first is what most writers write. */
const checksumStyles: readonly ((octal: string) => string)[] = [
  (octal) => `${octal.padStart(6, "0")}\0 `,
  (octal) => `${octal.padStart(7, "0")}\0`,
  (octal) => `${octal.padStart(6, " ")} \0`,
  (octal) => octal.padStart(8, "0"),
  (octal) => `${octal}\0`,
  (octal) => `${octal.padStart(6, "0")}\0x`,
];

function setChecksum(block: Buffer, style = checksumStyles[0]): void {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.fill(0, 148, 156);
  block.write(style?.(sum.toString(8)) ?? "", 148, "latin1");
}

/** How an archive ends; mostly as it should. */
const ends: readonly ((archive: Buffer, random: Random) => Buffer)[] = [
  ...Array(12).fill((archive: Buffer) => Buffer.concat([archive, END])),
  (archive) => archive,
  (archive) => Buffer.concat([archive, Buffer.alloc(BLOCK)]),
  (archive) => Buffer.concat([archive, Buffer.alloc(20 * BLOCK)]),
  (archive) => Buffer.concat([archive, END, file("behind")]),
  (archive, random) => archive.subarray(0, random(archive.length)),
  (archive, random) => Buffer.concat([archive, END, Buffer.alloc(random(BLOCK))]),
];

/** `real` are the parts of whole archives, which stay as they are. */
export function mutated(random: Random, real: readonly (readonly Buffer[])[]): Buffer {
  const parts = random(2) === 0 ? invented(random) : someOf(random, pick(random, real));
  for (let left = 1 + random(3); left > 0; left -= 1) pick(random, mutations)(parts, random);
  return pick(random, ends)(Buffer.concat(parts), random);
}

const invented = (random: Random): Buffer[] => Array.from({ length: 1 + random(4) }, () => pick(random, members)());

function someOf(random: Random, parts: readonly Buffer[]): Buffer[] {
  const from = random(parts.length);
  return parts.slice(from, from + 1 + random(8)).map((part) => Buffer.from(part));
}
