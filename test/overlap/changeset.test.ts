import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { decodeChangeset, type Entry, encodeChangeset } from "../../src/overlap/changeset.js";

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
        const decoded = decodeChangeset(throughDisk(encoded(entries)));
        assert.deepEqual(decoded, entries);
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
    assert.deepEqual(decodeChangeset(encoded(entries)), entries);
  });

  const broken: readonly [string, string][] = [
    ["nothing", ""],
    ["another header", "stratad-changeset 2\n"],
    ["no last newline", "stratad-changeset 1\ni\ta"],
    ["a kind that is none", "stratad-changeset 1\nz\ta\n"],
    ["a field too few", "stratad-changeset 1\nd\t755\ta\n"],
    ["a field too many", "stratad-changeset 1\ni\ta\tb\n"],
    ["a file with a field too few", "stratad-changeset 1\nf\t644\t0\t1\ta\n"],
    ["a file with a field too many", "stratad-changeset 1\nf\t644\t0\t1\tabc\ta\tb\n"],
    ["a file that is a kind alone", "stratad-changeset 1\nf\t\n"],
    ["an empty line", "stratad-changeset 1\n\n"],
    ["a kind of Object.prototype", "stratad-changeset 1\nconstructor\ta\n"],
  ];
  for (const [title, text] of broken)
    test(`${title} is no changeset`, () => assert.throws(() => decodeChangeset(text)));
});
