import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { Changeset } from "../../src/overlap/changeset.js";
import { foldName } from "../../src/overlap/name-folding.js";
import { type PlannedPolicy, type PlanResult, planRoot } from "../../src/overlap/plan-root.js";
import { asTheyAre, dir, file, implied } from "./planning.js";

/** As a changeset has a name: its bytes. */
const bytes = (text: string): string => Buffer.from(text).toString("latin1");

suite("names that a file system folds", () => {
  const pairs: readonly [
    title: string,
    a: string,
    b: string,
    foldedBy: { readonly case: boolean; readonly unicode: boolean },
  ][] = [
    ["ASCII letters", "README", "readme", { case: true, unicode: false }],
    ["letters beyond ASCII", bytes("\u00c9t\u00e9"), bytes("\u00e9T\u00c9"), { case: true, unicode: false }],
    ["sharp s", bytes("stra\u00dfe"), "STRASSE", { case: true, unicode: false }],
    ["a final sigma", bytes("\u03a3\u0391\u03a3"), bytes("\u03c3\u03b1\u03c2"), { case: true, unicode: false }],
    ["the Kelvin sign", bytes("\u212a"), "k", { case: true, unicode: false }],
    ["a long s", bytes("\u017f"), "S", { case: true, unicode: false }],
    ["composed and decomposed", bytes("\u00e9"), bytes("e\u0301"), { case: false, unicode: true }],
    ["marks in another order", bytes("e\u0323\u0301"), bytes("e\u0301\u0323"), { case: false, unicode: true }],
    ["Hangul", bytes("\uac00"), bytes("\u1100\u1161"), { case: false, unicode: true }],
  ];
  for (const [title, a, b, folded] of pairs) {
    test(`${title}: the same where just that is folded`, () => {
      for (const ignoresCase of [false, true]) {
        for (const ignoresUnicode of [false, true]) {
          const fold = foldName({ case: ignoresCase, unicode: ignoresUnicode });
          const same = (!folded.case || ignoresCase) && (!folded.unicode || ignoresUnicode);
          assert.equal(fold(a) === fold(b), same, `case ${ignoresCase}, unicode ${ignoresUnicode}`);
        }
      }
    });
  }

  test("both at once: another case of another normalisation", () => {
    const pairs = [
      ["\u00c9", "e\u0301"],
      // In upper case the iota below is a letter of its own, and no mark that has an order.
      ["\u03b1\u0345\u0301", "\u0391\u0301\u0345"],
    ] as const;
    for (const [a, b] of pairs) {
      for (const [fold, same] of [
        [foldName({ case: true, unicode: true }), true],
        [foldName({ case: true, unicode: false }), false],
        [foldName({ case: false, unicode: true }), false],
      ] as const)
        assert.equal(fold(bytes(a)) === fold(bytes(b)), same);
    }
  });

  test("what is no UTF-8 is kept apart, byte for byte", () => {
    const fold = foldName({ case: true, unicode: true });
    assert.notEqual(fold("a\xff"), fold("a\xfe"));
    assert.notEqual(fold("a\xff"), fold("A\xff"));
    assert.notEqual(fold("\xff"), fold(bytes("\ufffd")));
  });
});

suite("NAME_FOLDING", () => {
  const folds = foldName({ case: true, unicode: true });
  const plan = (policy: PlannedPolicy, ...changesets: Changeset[]): PlanResult =>
    planRoot(asTheyAre(changesets), { policy, folds });

  test("names of one directory that fold to the same are refused, all of them with their layers and paths", () => {
    const layers = [
      [dir("d"), file("d/B"), file("d/c")],
      [implied("d"), dir("d/b"), file("d/b/x")],
      [dir("d"), file("d/C"), dir("d/\xff")],
    ];
    for (const policy of ["b", "a"] as const) {
      assert.deepEqual(plan(policy, ...layers), {
        ok: false,
        conflicts: [
          {
            code: "NAME_FOLDING",
            path: "d/B",
            sides: [
              { layer: 0, type: "file", path: "d/B" },
              { layer: 1, type: "dir", path: "d/b" },
            ],
          },
          {
            code: "NAME_FOLDING",
            path: "d/C",
            sides: [
              { layer: 2, type: "file", path: "d/C" },
              { layer: 0, type: "file", path: "d/c" },
            ],
          },
        ],
      });
    }
  });

  test("at the image root, under policy c", () => {
    const result = plan("c", [file(bytes("\u00c9"))], [implied(bytes("e\u0301")), file(bytes("e\u0301/x"))]);
    assert.ok(!result.ok);
    assert.deepEqual(
      result.conflicts.map((conflict) => [
        conflict.code,
        "sides" in conflict && conflict.sides.map(({ type }) => type),
      ]),
      [["NAME_FOLDING", ["dir", "file"]]],
    );
  });

  test("the same names in other directories are fine, also where these fold", () => {
    assert.equal(plan("c", [dir("a"), file("a/x"), dir("b"), file("b/X")]).ok, true);
    const result = plan("b", [dir("a"), file("a/x")], [dir("A"), file("A/X")]);
    assert.deepEqual(!result.ok && result.conflicts.map(({ path }) => path), ["A"]);
  });

  test("what a policy hid is in nobody's way", () => {
    assert.equal(plan("a", [file("a")], [{ type: "whiteout", path: "a" }, file("A")]).ok, true);
  });

  test("without a file system that folds, every name is its own", () => {
    assert.equal(planRoot(asTheyAre([[file("a"), file("A")]]), { policy: "c" }).ok, true);
  });
});
