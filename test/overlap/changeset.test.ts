import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { decodeEntry, type Entry, encodeChangeset } from "../../src/overlap/changeset.js";
import { entriesIn } from "../support/changeset-file.js";

/** Any bytes, one in each character; the escapes' own characters often. */
const bytes = fc
  .array(fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from("\n\t\\x5c\r\0\x7f\"'"))), {
    minLength: 1,
    maxLength: 30,
  })
  .map((codes) => String.fromCharCode(...codes));
const mode = fc.integer({ min: 0, max: 0o777 });
const mtime = fc.oneof(fc.integer({ min: 0, max: 2 ** 33 - 1 }), fc.double({ min: 0, max: 2 ** 33 - 1, noNaN: true }));
const sha256 = fc.constant("ab".repeat(32));

const plain = { noNullPrototype: true } as const;
const entry: fc.Arbitrary<Entry> = fc.oneof(
  fc.record({ type: fc.constant("dir" as const), path: bytes, mode, mtime }, plain),
  fc.record({ type: fc.constant("implied" as const), path: bytes }, plain),
  fc.record({ type: fc.constant("file" as const), path: bytes, mode, mtime, size: fc.maxSafeNat(), sha256 }, plain),
  fc.record({ type: fc.constant("symlink" as const), path: bytes, mtime, target: bytes }, plain),
  fc.record({ type: fc.constantFrom("hardlink" as const, "unresolved" as const), path: bytes, target: bytes }, plain),
  fc.record(
    { type: fc.constantFrom("whiteout" as const, "opaque" as const), path: fc.oneof(bytes, fc.constant("")) },
    plain,
  ),
);

const encoded = (entries: readonly Entry[]): string => [...encodeChangeset(entries)].join("");
/** As the disk would give it back. */
const throughDisk = (text: string): string => Buffer.from(text, "latin1").toString("latin1");

suite("changeset", () => {
  test("what is decoded is what was encoded, for any bytes in names", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
        assert.deepEqual(entriesIn(throughDisk(encoded(entries))), entries);
      }),
      { numRuns: 500 },
    );
  });

  test("each entry is one line of text without control characters", () => {
    fc.assert(
      fc.property(entry, (one) => {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: there are none
        assert.match(encoded([one]), /^stratad-changeset 1\n[^\x00-\x08\x0a-\x1f\x7f]*\n$/);
      }),
    );
  });

  test("pieces of a large changeset are one text", () => {
    const entries = Array.from({ length: 10_000 }, (_, i): Entry => ({ type: "implied", path: `d${i}` }));
    assert.ok([...encodeChangeset(entries)].length > 1);
    assert.deepEqual(entriesIn(encoded(entries)), entries);
  });

  const broken: readonly [string, string][] = [
    ["a kind that is none", "z\ta"],
    ["a field too few", "d\t755\ta"],
    ["a field too many", "i\ta\tb"],
    ["a file with a field too few", "f\t644\t0\t1\ta"],
    ["a file with a field too many", "f\t644\t0\t1\tabc\ta\tb"],
    ["a file that is a kind alone", "f\t"],
    ["an empty line", ""],
    ["a kind of Object.prototype", "constructor\ta"],
  ];
  for (const [title, line] of broken)
    test(`${title} is no line of a changeset`, () => assert.throws(() => decodeEntry(line)));
});
