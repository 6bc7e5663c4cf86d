/**
 * What holds for any archive: how its bytes are cut into chunks says nothing, and damage is a refusal or another tree, never a
 * crash and never a wait.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { codeTable, isErrorCode, StrataError } from "../../src/errors.js";
import { imageLimits } from "../../src/limits.js";
import type { TarEntry } from "../../workers/tar-entry.js";
import { TarGuard } from "../../workers/tar-guard.js";
import { directory, file, GNU_MAGIC, gnuLong, hardlink, pax, paxRecord, symlink, tar } from "../support/tar-builder.js";
import { openDescriptors, outcomeOfBytes } from "../workers/unpacking.js";

/** Every shape that the guard knows: ustar, PAX, GNU, bodies around the border of a block. */
const archives: readonly Buffer[] = [
  tar(directory("d/"), file("d/a", "x".repeat(511)), file("d/b", "y".repeat(512)), file("d/c", "z".repeat(1300))),
  tar(
    pax({ path: "long/".repeat(60), mtime: "1.5" }),
    directory("x"),
    pax({ size: "3", comment: "c" }),
    file("p", "abc"),
  ),
  tar(
    gnuLong("L", "n".repeat(200)),
    file("n", "body", { magic: GNU_MAGIC }),
    gnuLong("K", "t".repeat(700)),
    symlink("s", "t"),
  ),
  tar(
    pax({ comment: "global" }, { type: "g" }),
    file("a", "1"),
    hardlink("h", "a"),
    hardlink("u", "lower"),
    file(".wh.gone"),
  ),
  tar(),
];

interface Listing {
  readonly lines: readonly string[];
  readonly code: string | undefined;
}

function list(chunks: readonly Buffer[]): Listing {
  const lines: string[] = [];
  let body = Buffer.alloc(0);
  const guard = new TarGuard(
    {
      entry: ({ blocks, ...entry }: TarEntry) => lines.push(JSON.stringify({ ...entry, extended: blocks?.length })),
      data: (piece) => {
        body = Buffer.concat([body, piece]);
      },
      end: () => {
        lines.push(`end ${body.toString("latin1")}`);
        body = Buffer.alloc(0);
      },
    },
    imageLimits,
  );
  try {
    for (const chunk of chunks) guard.push(chunk);
    guard.finish();
    return { lines, code: undefined };
  } catch (thrown) {
    if (!(thrown instanceof StrataError)) throw thrown;
    return { lines, code: thrown.code };
  }
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const borders = [0, ...cuts.map((at) => at % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return borders.slice(1).map((end, i) => Buffer.from(bytes.subarray(borders[i], end)));
}

const archive = fc.constantFrom(...archives);
const flip = fc.record({
  // Half of the damage goes where the meaning is: the first bytes of the headers.
  at: fc.oneof(
    fc.nat(8191),
    fc.tuple(fc.nat(15), fc.nat(344)).map(([block, at]) => block * 512 + at),
  ),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 0x20, 0x30, 0x37, 0x2f, 0x2e, 0x80, 0xff)),
});

/** Flips bytes and makes the checksums right again, so that the damage gets behind them. */
function damaged(bytes: Buffer, flips: readonly { at: number; byte: number }[]): Buffer {
  const copy = Buffer.from(bytes);
  for (const { at, byte } of flips) copy[at % copy.length] = byte;
  for (let at = 0; at + 512 <= copy.length; at += 512) {
    if (bytes.toString("latin1", at + 257, at + 262) !== "ustar") continue;
    copy.fill(0x20, at + 148, at + 156);
    const sum = copy.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
    copy.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148, "latin1");
  }
  return copy;
}

suite("any archive", () => {
  test("chunks of any size give the same entries", () => {
    fc.assert(
      fc.property(archive, fc.array(fc.nat(16_384), { maxLength: 30 }), (bytes, cuts) => {
        assert.deepEqual(list(cut(bytes, cuts)), list([bytes]));
      }),
      { numRuns: 300 },
    );
    for (const bytes of archives) {
      const single = [...bytes].map((byte) => Buffer.from([byte]));
      assert.deepEqual(list(single), list([bytes]));
    }
  });

  test("chunks of any size give the same refusal of damage", () => {
    fc.assert(
      fc.property(
        archive,
        fc.array(flip, { minLength: 1, maxLength: 3 }),
        fc.array(fc.nat(16_384), { maxLength: 8 }),
        (bytes, flips, cuts) => {
          const bad = damaged(bytes, flips);
          assert.deepEqual(list(cut(bad, cuts)), list([bad]));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("damage is one code or a tree, and leaves nothing open", async () => {
    const answers = new Map<string, number>();
    const count = (answer: string): unknown => answers.set(answer, (answers.get(answer) ?? 0) + 1);
    const open = openDescriptors();
    const [codec, flips] = [
      fc.constantFrom("none" as const, "gzip" as const),
      fc.array(flip, { minLength: 1, maxLength: 3 }),
    ];
    await fc.assert(
      fc.asyncProperty(archive, flips, codec, async (bytes, where, how) => {
        const bad = damaged(bytes, where);
        const outcome = await outcomeOfBytes(how === "gzip" ? gzipSync(bad) : bad, { codec: how });
        if (typeof outcome !== "string") return void count("a tree");
        assert.ok(isErrorCode(outcome) && outcome !== "INTERNAL" && !outcome.startsWith("STORE_"), outcome);
        count(outcome);
      }),
      { numRuns: 1000, interruptAfterTimeLimit: 6000 },
    );
    await outcomeOfBytes(tar()); // behind a run that was given up
    assert.equal(openDescriptors(), open);
    assert.ok(answers.size > 4, `too little was tried: ${JSON.stringify([...answers])}`);
  });

  test("a damaged gzip blob is one code or a tree", async () => {
    const blobs = archives.map((bytes) => gzipSync(bytes));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...blobs),
        fc.array(flip, { minLength: 1, maxLength: 2 }),
        async (blob, where) => {
          const bad = Buffer.from(blob);
          for (const { at, byte } of where) bad[at % bad.length] = byte;
          const outcome = await outcomeOfBytes(bad, { codec: "gzip" });
          // What a flipped bit inflates to may be any tar at all before its checksum is reached.
          if (typeof outcome === "string") assert.equal(isErrorCode(outcome) && codeTable[outcome].kind, "content");
        },
      ),
      { numRuns: 600, interruptAfterTimeLimit: 5000 },
    );
  });

  test("noise in a PAX header is a refusal or what it says", () => {
    const text = fc.array(
      fc.constantFrom("1", "9", "12", " ", "=", "\n", "path", "size", "a", "\0", paxRecord("path", "p")),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(text, (parts) => {
        const { code } = list([tar(pax(parts.join("")), file("f"))]);
        if (code !== undefined) assert.match(code, /^(TAR_|BAD_)/);
      }),
      { numRuns: 2000 },
    );
  });
});
