import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDigest } from "../../src/oci/digest.js";
import type { Annotations, Descriptor } from "../../src/oci/documents.js";
import { parseDefaultStrip, withDefaultStrip } from "../../src/oci/ocx-package.js";
import { parsePlacement } from "../../src/overlap/placement.js";

const metadata = (more: object) => Buffer.from(JSON.stringify({ type: "bundle", version: 1, ...more }));
const layer = (annotations?: Annotations): Descriptor => ({
  mediaType: "application/vnd.oci.image.layer.v1.tar+xz",
  digest: parseDigest(`sha256:${"1".repeat(64)}`),
  size: 3,
  ...(annotations === undefined ? {} : { annotations }),
});

test("a package's config says how many components come off, or nothing", () => {
  assert.equal(parseDefaultStrip(metadata({})), 0);
  assert.equal(parseDefaultStrip(metadata({ strip_components: null })), 0);
  for (const strip of [0, 1, 255]) assert.equal(parseDefaultStrip(metadata({ strip_components: strip })), strip);
});

for (const strip of [-1, 256, 1.5, 1e300, "1", true, [1], {}, "\x1b[2J"]) {
  test(`strip_components ${JSON.stringify(strip)} is PLACEMENT_INVALID`, () => {
    assert.throws(() => parseDefaultStrip(metadata({ strip_components: strip })), { code: "PLACEMENT_INVALID" });
  });
}

for (const text of ["", "[]", "null", "5", '{"strip_components":1,"strip_components":2}']) {
  test(`a config that is ${JSON.stringify(text)} is MANIFEST_INVALID`, () => {
    assert.throws(() => parseDefaultStrip(Buffer.from(text)), { code: "MANIFEST_INVALID" });
  });
}

test("the default holds for layers that say nothing themselves, beside their prefix", () => {
  const strip = "sh.ocx.layer.strip-components";
  const prefix = { "sh.ocx.layer.prefix": "opt" };
  const placed = (annotations: Annotations | undefined, by: number) =>
    parsePlacement(withDefaultStrip(layer(annotations), by).annotations);
  assert.deepEqual(placed(undefined, 2), { prefix: "", strip: 2 });
  assert.deepEqual(placed(prefix, 2), { prefix: "opt", strip: 2 });
  assert.deepEqual(placed({ [strip]: "1" }, 2), { prefix: "", strip: 1 });
  assert.equal(placed({ [strip]: "0" }, 2), undefined);
  assert.equal(placed(undefined, 0), undefined);
});
