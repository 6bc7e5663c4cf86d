import assert from "node:assert/strict";
import { test } from "node:test";
import { collectionLines, collectionSummary } from "../../src/cli/collection-view.js";
import type { Collection } from "../../src/messages/collection.js";

const none = { roots: 0, layers: 0, blobs: 0, bytes: 0, inodes: 0 };
const collection: Collection = {
  plan: true,
  removed: { roots: 1, layers: 1, blobs: 2, bytes: 1_234_567, inodes: 313 },
  stays: { ...none, layers: 3 },
  gone: [{ kind: "root", id: "0123456789abcdef", bytes: 0, inodes: 13, because: "no name has it" }],
  kept: [
    { kind: "layer", id: `sha256:${"d".repeat(64)}`, bytes: 10, inodes: 6, because: "root 0123456789ab needs it" },
    { kind: "layer", id: "sha256:\u001b[2J", bytes: 0, inodes: 0, because: "its layer.json \u001b[2J cannot be read" },
  ],
};

test("a plan is a table of what would go and what would stay, and says what it does not list", () => {
  assert.deepEqual(collectionLines(collection, { quiet: false }), [
    "FATE   KIND   ID            SIZE  INODES  BECAUSE",
    "goes   root   0123456789ab  0 B   13      no name has it",
    "stays  layer  dddddddddddd  10 B  6       root 0123456789ab needs it",
    "stays  layer  \\x1b[2J       0 B   0       its layer.json \\x1b[2J cannot be read",
    "(3 more would go)",
    "(1 more would stay)",
    "would remove 1 root, 1 layer, 2 blobs: 1.2 MB, 313 inodes",
  ]);
  assert.equal(collectionLines(collection, { quiet: true }).length, 5);
});

test("what went is one line", () => {
  const removed = { ...none, layers: 2, bytes: 999, inodes: 1 };
  assert.equal(
    collectionSummary({ ...collection, plan: false, removed }),
    "removed 0 roots, 2 layers, 0 blobs: 999 B, 1 inode",
  );
});
