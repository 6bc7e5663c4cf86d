import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planLines } from "../../src/cli/plan-view.js";
import type { Plan } from "../../src/messages/plan.js";

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;
const plan: Plan = {
  reference: "oci:/images:gcc",
  platform: "linux/amd64",
  name: "gcc",
  overlap: "c",
  link: "hardlink",
  manifestDigest: digest("c"),
  installed: false,
  toFetchBytes: 12_000_000,
  toWriteBytes: 36_000_000,
  toWriteInodes: 2198,
  sharedBytes: 219,
  freeAfterBytes: 5_500_000_000,
  complete: false,
  layers: [
    { digest: digest("a"), diffId: digest("1"), size: 12_000_000, stored: false },
    { digest: digest("b"), size: 100, stored: true },
  ],
  conflicts: [],
  conflictsTotal: 0,
};
const conflict = {
  path: "usr\\x1b",
  sides: [
    { layer: 0, digest: digest("a"), type: "dir" },
    { layer: 1, digest: digest("b"), type: "file" },
  ],
};

const lines = (fields: Partial<Plan> = {}, quiet = false) => planLines({ ...plan, ...fields }, { quiet });
const lineOf = (label: string, fields: Partial<Plan>) => lines(fields).find((line) => line.startsWith(label));

describe("a plan for people", () => {
  it("says in a few lines what an install would do, and has a row for each layer", () => {
    assert.deepEqual(lines(), [
      "image    oci:/images:gcc, linux/amd64, manifest cccccccccccc",
      "root     gcc, policy c, hardlink, not installed",
      "fetch    12.0 MB, 1 of 2 layers stored",
      "write    about 36.0 MB, about 2198 inodes",
      "share    219 B with stored layers",
      "free     about 5.5 GB afterwards",
      "",
      "BLOB          SIZE     STATE",
      "aaaaaaaaaaaa  12.0 MB  missing",
      "bbbbbbbbbbbb  100 B    stored",
    ]);
  });

  it("has no header when it is quiet", () => {
    assert.ok(!lines({}, true).some((line) => line.startsWith("LAYER")));
  });

  const words: readonly [label: string, fields: Partial<Plan>, expected: string][] = [
    ["root ", { installed: true, link: "copy" }, "root     gcc, policy c, copy, its root stands already"],
    ["write", { complete: true, toWriteInodes: 1 }, "write    36.0 MB, 1 inode"],
    ["free ", { complete: true }, "free     5.5 GB afterwards"],
    ["free ", { freeAfterBytes: -1_200_000 }, "free     too little, 1.2 MB are lacking"],
    ["image", { reference: "r\u001b[2J" }, "image    r\\x1b[2J, linux/amd64, manifest cccccccccccc"],
    ["note:", { notes: ["linux/arm64\u202e"] }, "note: linux/arm64\\u{202e}"],
  ];
  for (const [label, fields, expected] of words) {
    it(`says '${expected}'`, () => assert.equal(lineOf(label, fields), expected));
  }

  const sides = "layer 0 sha256:aaaaaaaaaaaa… (dir), layer 1 sha256:bbbbbbbbbbbb… (file)";
  const refusals: readonly [title: string, fields: Partial<Plan>, expected: readonly string[]][] = [
    [
      "all conflicts and the policies that accept them",
      { complete: true, conflictsTotal: 1, hints: ["--overlap a accepts this image"] },
      [`  usr\\x1b: ${sides}`, "  --overlap a accepts this image"],
    ],
    [
      "how many there are more",
      { complete: true, conflictsTotal: 3 },
      [`  usr\\x1b: ${sides}`, "  … and 2 conflicts more"],
    ],
    [
      "that there may be more",
      { conflictsTotal: 2 },
      [`  usr\\x1b: ${sides}`, "  … and 1 conflict more", "  … and perhaps more: not every layer is stored"],
    ],
  ];
  for (const [title, fields, expected] of refusals) {
    it(`tells of what it is refused for ${title}`, () => {
      const told = lines({ ...fields, conflicts: [conflict] });
      assert.deepEqual(told.slice(told.indexOf("refused for")), ["refused for", ...expected]);
    });
  }
});
