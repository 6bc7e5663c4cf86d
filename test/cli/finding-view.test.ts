import assert from "node:assert/strict";
import { test } from "node:test";
import { checkedLine, findingLines } from "../../src/cli/finding-view.js";
import type { Verification } from "../../src/messages/verification.js";

const [layer, content, made] = [`sha256:${"1".repeat(64)}`, "2".repeat(64), "3".repeat(64)];
const verification: Verification = {
  checked: { layers: 1, roots: 2, documents: 0, entries: 3, bytes: 1200 },
  findings: [
    {
      code: "CONTENT",
      layer,
      path: "bin/cc",
      detail: `the SHA-256 of its content is ${content}, not ${made}`,
      roots: [
        { rootId: "4".repeat(64), names: ["gcc", "cc"] },
        { rootId: "5".repeat(64), names: [] },
      ],
    },
  ],
  findingsTotal: 1,
};

test("a finding names its place, the roots that show it, and every digest by its first digits", () => {
  assert.deepEqual(findingLines(verification), [
    "CONTENT  layer 111111111111  bin/cc: the SHA-256 of its content is 222222222222, not 333333333333",
    "  shown by gcc, cc, root 555555555555",
  ]);
});

test("what was looked at is one line, with what was repaired and what is left", () => {
  assert.equal(checkedLine(verification), "checked 1 layer, 2 roots, 3 entries, 1.2 kB read: 1 finding");
  const repaired = {
    ...verification,
    findings: [],
    findingsTotal: 0,
    repaired: verification.findings,
    repairedTotal: 1,
  };
  assert.match(checkedLine(repaired), /: 1 finding repaired, 0 left$/);
  assert.match(findingLines(repaired)[0] ?? "", /^repaired {2}CONTENT {2}layer /);
});
