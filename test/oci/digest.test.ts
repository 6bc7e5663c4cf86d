import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { digestAlgorithm, digestHex, digestOf, parseDiffId, parseDigest } from "../../src/oci/digest.js";

const hex = (length: number) =>
  fc.array(fc.constantFrom(..."0123456789abcdef"), { minLength: length, maxLength: length }).map((c) => c.join(""));

test("every sha256 and sha512 digest in lower-case hex is itself", () => {
  const digests = fc.oneof(
    hex(64).map((h) => ["sha256", h] as const),
    hex(128).map((h) => ["sha512", h] as const),
  );
  fc.assert(
    fc.property(digests, ([algorithm, text]) => {
      const digest = parseDigest(`${algorithm}:${text}`);
      assert.equal(digest, `${algorithm}:${text}`);
      assert.equal(digestAlgorithm(digest), algorithm);
      assert.equal(digestHex(digest), text);
    }),
  );
});

const a = "a".repeat(64);
const refused: readonly (readonly [string, string])[] = [
  ["another algorithm", `md5:${"a".repeat(32)}`],
  ["no colon", `sha256${a}`],
  ["upper-case hex", `sha256:${a.toUpperCase()}`],
  ["an upper-case algorithm", `SHA256:${a}`],
  ["a digit too few", `sha256:${a.slice(1)}`],
  ["a digit too many", `sha256:${a}a`],
  ["sha512 with 64 digits", `sha512:${a}`],
  ["a path", "sha256:../../../../etc/passwd"],
  ["a path of the right length", `sha256:../${"a".repeat(61)}`],
  ["a path before it", `../sha256:${a}`],
  ["a line break at the end", `sha256:${a}\n`],
  ["nothing", ""],
];
for (const [what, text] of refused) {
  test(`a digest with ${what} is refused`, () => {
    assert.throws(() => parseDigest(text), { code: "DIGEST_FORMAT" });
    assert.throws(() => parseDiffId(text), { code: "DIGEST_FORMAT" });
  });
}

test("a digest is that of the bytes", () => {
  assert.equal(digestOf(Buffer.from("abc")), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert.match(digestOf(Buffer.from("abc"), "sha512"), /^sha512:ddaf35a193617aba/);
});
