import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { generationTable, layerTable, rootTable, usageTable } from "../../src/cli/listings.js";
import type { Layer } from "../../src/messages/layer.js";
import type { Root } from "../../src/messages/root.js";

const nowMs = Date.parse("2026-03-01T00:00:00Z");
const TIME = "2026-01-01T00:00:00.000Z";
const digest = `sha256:${"c".repeat(64)}`;
const options = { nowMs, quiet: false };
const large = 999_900_000_000;

/** As wide as these cells ordinarily become. */
const root: Root = {
  rootId: "0".repeat(64),
  path: "/state/roots/0/tree",
  manifestDigest: digest,
  overlap: "c",
  link: "hardlink",
  names: [{ name: "gcc-13-amd64", path: "/a/state/directory/names/gcc-13-amd64", generation: 12 }],
  layers: [digest],
  bytes: large,
  uniqueBytes: large,
  sharedBytes: large,
  entries: 123_456,
  pinned: false,
  createdAt: TIME,
};
const layer: Layer = {
  diffId: digest,
  digests: [digest],
  bytes: large,
  sharedBytes: large,
  entries: 123_456,
  topLevel: ["bin", "lib"],
  roots: [root.rootId],
  durable: true,
  createdAt: TIME,
  lastUsedAt: TIME,
};
const usage = { apparentBytes: large, uniqueBytes: large, sharedBytes: large };
const generation = {
  generation: 12,
  rootId: root.rootId,
  manifestDigest: digest,
  platform: "linux/amd64",
  reference: "r",
  at: TIME,
  current: true,
  stands: true,
};

const tables: readonly [what: string, lines: readonly string[], last: string, policy: boolean][] = [
  ["roots", rootTable([root], options), "PATH", true],
  ["generations", generationTable([generation], options), "REFERENCE", false],
  ["layers", layerTable([layer], options), "TOP-LEVEL", false],
  ["what roots cost", usageTable({ ...usage, roots: [{ ...root, names: ["gcc"], ...usage }] }, options), "NAMES", true],
];

describe("a table", () => {
  for (const [what, lines, last, policy] of tables) {
    it(`of ${what} has only its last column beyond 100 columns`, () => {
      const [header = ""] = lines;
      assert.match(header, new RegExp(` ${last}$`));
      assert.ok(header.indexOf(last) <= 100, lines.join("\n"));
    });

    it(`of ${what} shows policy, link mode and sharing as far as they are its`, () => {
      assert.equal(/OVERLAP {2}LINK/.test(lines[0] ?? ""), policy);
      assert.equal(/SHARED/.test(lines[0] ?? ""), what !== "generations");
    });
  }

  it("has a dash for the sharing that an older daemon does not tell", () => {
    const { uniqueBytes: _, sharedBytes: __, ...older } = root;
    const [, row = ""] = rootTable([older], options);
    assert.match(row, / {2}hardlink {2}- {4}999\.9 GB {2}- +- +59 days ago/);
  });
});
