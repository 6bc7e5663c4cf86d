/** Policy a where its rules are subtle: symlinks of lower layers, whiteouts through them, hard links into lower layers. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { imageLimits, MAX_SYMLINK_HOPS } from "../../src/limits.js";
import type { Changeset, Entry } from "../../src/overlap/changeset.js";
import { planRoot } from "../../src/overlap/plan-root.js";
import {
  acceptedPlan,
  asTheyAre,
  conflictsOf,
  contentOf,
  dir,
  file,
  hardlink,
  implied,
  opaque,
  symlink,
  unresolved,
  whiteout,
} from "./planning.js";

/** Paths and what stands there, in few words. */
function told(...changesets: readonly Changeset[]): string[] {
  return acceptedPlan(changesets, "a")
    .map(({ entry }) => `${entry.path}${wordsFor(entry)}`)
    .sort();
}

function wordsFor(entry: Entry): string {
  switch (entry.type) {
    case "file":
      return contentOf(entry) === entry.path ? "" : `: ${contentOf(entry)}`;
    case "symlink":
      return ` -> ${entry.target}`;
    case "hardlink":
      return ` = ${entry.target}`;
    case "dir":
      return entry.mode === 0o755 ? "/" : `/ ${entry.mode.toString(8)}`;
    default:
      return "/";
  }
}

/** `lib/x` over a layer with these entries. */
const upper = [implied("lib"), file("lib/x", "x")];

suite("an entry below a lower symlink", () => {
  const lands: readonly [title: string, lower: Changeset, root: readonly string[]][] = [
    [
      "lands where it leads",
      [symlink("lib", "usr/lib"), dir("usr"), dir("usr/lib")],
      ["usr/", "usr/lib/", "usr/lib/x: x"],
    ],
    ["lands there from the root on where it is absolute", [symlink("lib", "/usr"), dir("usr")], ["usr/", "usr/x: x"]],
    ["never lands above the root", [symlink("lib", "../../../usr"), dir("usr")], ["usr/", "usr/x: x"]],
    [
      "lands at the end of a chain",
      [symlink("lib", "a"), symlink("a", "/b/c"), dir("b"), symlink("b/c", "../d"), dir("d")],
      ["a -> /b/c", "b/", "b/c -> ../d", "d/", "d/x: x"],
    ],
    ["lands behind `.`, `..` and empty names", [symlink("lib", "./usr//.//../usr/"), dir("usr")], ["usr/", "usr/x: x"]],
    [
      "lands above where a symlink led, for `..` behind it",
      [symlink("lib", "a/.."), symlink("a", "b/c"), dir("b"), dir("b/c")],
      ["a -> b/c", "b/", "b/c/", "b/x: x"],
    ],
    ["lands in the root itself", [symlink("lib", "/")], ["x"]],
    ["makes what is missing on the way", [symlink("lib", "new/er")], ["new/", "new/er/", "new/er/x: x"]],
    ["makes nothing that `..` leaves again", [symlink("lib", "new/../other")], ["other/", "other/x: x"]],
  ];
  for (const [title, lower, root] of lands) {
    test(title, () => {
      const link = lower.find(({ path }) => path === "lib") as Entry;
      assert.deepEqual(told(lower, upper), [...root, `lib${wordsFor(link)}`].sort());
    });
  }

  const replaces: readonly [title: string, lower: Changeset, root: readonly string[]][] = [
    ["replaces one that leads to itself", [symlink("lib", "lib")], []],
    ["replaces one that leads in a circle", [symlink("lib", "a"), symlink("a", "lib/b")], ["a -> lib/b"]],
    ["replaces one that leads to a file, which stays", [symlink("lib", "f"), file("f")], ["f"]],
    ["replaces one that leads through a file, which stays", [symlink("lib", "f/d"), file("f")], ["f"]],
    ["replaces one that leads through a file behind what is missing", [symlink("lib", "new/../f"), file("f")], ["f"]],
  ];
  for (const [title, lower, root] of replaces)
    test(title, () => assert.deepEqual(told(lower, upper), [...root, "lib/", "lib/x: x"].sort()));

  test("does not go through it where its layer declares the directory", () => {
    const lower = [symlink("lib", "usr"), dir("usr"), file("usr/x")];
    assert.deepEqual(told(lower, [dir("lib", 0o700), file("lib/x", "x")]), ["lib/ 700", "lib/x: x", "usr/", "usr/x"]);
  });

  test("does not go through it where its layer hides the symlink", () => {
    const lower = [symlink("lib", "usr"), dir("usr"), file("usr/x")];
    assert.deepEqual(told(lower, [...upper, whiteout("lib")]), ["lib/", "lib/x: x", "usr/", "usr/x"]);
  });

  test("goes through as many symlinks as umoci does, and no further", () => {
    const chain = (links: number): Entry[] => [
      symlink("lib", "1"),
      ...Array.from({ length: links - 1 }, (_, i) => symlink(`${i + 1}`, `${i + 2}`)),
      dir(`${links}`),
    ];
    assert.ok(told(chain(MAX_SYMLINK_HOPS), upper).includes(`${MAX_SYMLINK_HOPS}/x: x`));
    assert.ok(told(chain(MAX_SYMLINK_HOPS + 1), upper).includes("lib/x: x"));
  });

  test("wins over one of its own layer that stands where it lands, whether or not it comes later", () => {
    const lower = [symlink("lib", "usr"), dir("usr")];
    const own = [dir("usr"), file("usr/x", "its own name")];
    assert.deepEqual(told(lower, [...own, ...upper]), ["lib -> usr", "usr/", "usr/x: x"]);
    assert.deepEqual(told(lower, [...upper, ...own]), ["lib -> usr", "usr/", "usr/x: its own name"]);
  });

  test("may replace the directory that it came through, and the next one finds its way anew", () => {
    const lower = [dir("d"), symlink("d/s", "/")];
    const through = [implied("d"), implied("d/s"), symlink("d/s/d", "e"), file("d/z", "z")];
    assert.deepEqual(told(lower, through), ["d -> e", "e/", "e/z: z"]);
    const intoFile = [implied("d"), implied("d/s"), file("d/s/d", "f"), file("d/z", "z")];
    assert.deepEqual(told(lower, intoFile), ["d/", "d/z: z"]);
  });
});

suite("whiteouts", () => {
  const lower = [symlink("lib", "usr/lib"), dir("usr"), dir("usr/lib", 0o700), file("usr/lib/x"), file("usr/lib/y")];
  const rest = ["lib -> usr/lib", "usr/", "usr/lib/ 700"];
  const cases: readonly [title: string, upper: Changeset, root: readonly string[]][] = [
    ["hide behind a lower symlink", [whiteout("lib/x")], [...rest, "usr/lib/y"]],
    ["empty the directory that a symlink leads to, which keeps its attributes", [opaque("lib")], rest],
    ["hide a symlink itself, not what it leads to", [whiteout("lib")], [...rest.slice(1), "usr/lib/x", "usr/lib/y"]],
    [
      "do not go through a symlink that their layer replaces",
      [dir("lib"), whiteout("lib/x"), opaque("lib")],
      ["lib/", ...rest.slice(1), "usr/lib/x", "usr/lib/y"],
    ],
    [
      "below a file that takes a symlink's place hide nothing",
      [file("lib"), whiteout("lib/x"), opaque("lib")],
      ["lib", ...rest.slice(1), "usr/lib/x", "usr/lib/y"],
    ],
    [
      "below a symlink that takes a directory's place hide nothing where that leads",
      [symlink("usr", "lib"), dir("lib"), file("lib/x"), whiteout("usr/x"), whiteout("usr/lib")],
      ["lib/", "lib/x", "usr -> lib"],
    ],
    [
      "hide nothing where nothing is",
      [whiteout("a/b"), whiteout("usr/lib/x/y"), opaque("a"), opaque("usr/lib/x")],
      [...rest, "usr/lib/x", "usr/lib/y"],
    ],
    ["hide a directory with all that it holds", [whiteout("usr")], ["lib -> usr/lib"]],
    ["leave nothing of the root", [opaque("")], []],
    [
      "let go of the attributes of a directory that its layer has again",
      [whiteout("usr/lib"), implied("usr"), implied("usr/lib"), file("usr/lib/z")],
      ["lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/z"],
    ],
    [
      "keep the attributes of a directory that is only emptied",
      [opaque("usr/lib"), implied("usr"), implied("usr/lib"), file("usr/lib/z")],
      [...rest, "usr/lib/z"],
    ],
  ];
  for (const [title, over, root] of cases) test(title, () => assert.deepEqual(told(lower, over), [...root].sort()));

  test("are applied the shallow ones first, whatever their order in the archive", () => {
    // The way to d/f leads through `link`, which is hidden too.
    const below = [dir("a"), symlink("a/way", "../link"), symlink("link", "d"), dir("d"), file("d/f")];
    const marks = [whiteout("a/way/f"), whiteout("link")];
    for (const order of [marks, marks.toReversed()])
      assert.deepEqual(told(below, order), ["a/", "a/way -> ../link", "d/", "d/f"]);
  });

  test("of one depth are applied in the order of their paths, whatever their order in the archive", () => {
    const below = [dir("a"), symlink("a/way", "../d"), symlink("b", "a/way"), dir("d"), file("d/f")];
    const marks = [whiteout("a/way"), whiteout("b/f")];
    for (const order of [marks, marks.toReversed()])
      assert.deepEqual(told(below, order), ["a/", "b -> a/way", "d/", "d/f"]);
  });

  test("that empty a directory count as one below it: a symlink there is hidden first", () => {
    const below = [symlink("s", "d"), dir("d"), file("d/f")];
    const marks = [whiteout("s"), opaque("s")];
    for (const order of [marks, marks.toReversed()]) assert.deepEqual(told(below, order), ["d/", "d/f"]);
  });
});

suite("hard links into lower layers", () => {
  const lower = [dir("bin"), file("bin/tool"), symlink("sbin", "/bin"), symlink("alias", "bin/tool")];

  test("are names of the lower layer's inode, from any number of layers", () => {
    const plan = acceptedPlan(
      [lower, [unresolved("a", "bin/tool"), unresolved("b", "sbin/tool")], [unresolved("c", "a")]],
      "a",
    );
    const links = plan.filter(({ entry }) => entry.type === "hardlink");
    assert.deepEqual(
      links,
      ["a", "b", "c"].map((path) => ({ layer: 0, from: "bin/tool", entry: hardlink(path, "bin/tool") })),
    );
  });

  test("outlive the name that they were made by", () => {
    const plan = acceptedPlan(
      [lower, [unresolved("a", "bin/tool")], [whiteout("bin/tool")], [unresolved("b", "a")]],
      "a",
    );
    assert.deepEqual(
      plan.filter(({ from }) => from === "bin/tool").map(({ layer, entry }) => [layer, entry]),
      [
        [0, { ...file("bin/tool"), path: "a" }],
        [0, hardlink("b", "a")],
      ],
    );
  });

  test("to a symlink are the same symlink again", () => {
    assert.deepEqual(told(lower, [unresolved("a", "alias")]).slice(0, 2), ["a -> bin/tool", "alias -> bin/tool"]);
  });

  test("find what their own layer hides or replaces", () => {
    assert.ok(told(lower, [unresolved("a", "bin/tool"), whiteout("bin/tool")]).includes("a: bin/tool"));
    assert.ok(told(lower, [unresolved("a", "sbin/tool"), dir("sbin")]).includes("a = bin/tool"));
  });

  const lacking: readonly [title: string, target: string][] = [
    ["something that is nowhere", "bin/other"],
    ["something below what is no directory", "bin/tool/x"],
    ["a directory", "bin"],
    ["a directory through a symlink's parent", "sbin/../bin"],
    ["the image root", ""],
    ["what a layer between hid", "gone"],
  ];
  for (const [title, target] of lacking) {
    test(`to ${title} are refused`, () => {
      const layers = [[...lower, file("gone")], [whiteout("gone")], [unresolved("a", target), file("b")]];
      assert.deepEqual(conflictsOf(layers, "a"), [{ code: "HARDLINK_TARGET", path: "a", layer: 2 }]);
    });
  }

  test("are refused one by one, in the order of their paths", () => {
    const layers = [[unresolved("z", "x")], [unresolved("y", "z"), unresolved("c", "x")], [unresolved("c", "x")]];
    assert.deepEqual(
      conflictsOf(layers, "a").map((conflict) => [conflict.path, "layer" in conflict && conflict.layer]),
      [
        ["c", 1],
        ["c", 2],
        ["y", 1],
        ["z", 0],
      ],
    );
  });
});

suite("what symlinks lead to is bounded", () => {
  const limits = { maxPathBytes: 40, maxComponentBytes: 36, maxDepth: 6 };
  const refusal = (code: string, ...changesets: Changeset[]): void => {
    assert.throws(() => planRoot(asTheyAre(changesets), { policy: "a", limits }), { code });
  };
  const deep = [dir("1"), dir("1/2"), dir("1/2/3"), dir("1/2/3/4"), symlink("l", "1/2/3/4")];

  test("PATH_TOO_LONG: no path of the root is longer than an archive's may be", () => {
    const long = "n".repeat(32);
    assert.equal(planRoot(asTheyAre([deep, [implied("l"), file(`l/${long}`)]]), { policy: "a", limits }).ok, true);
    refusal("PATH_TOO_LONG", deep, [implied("l"), file(`l/${long}n`)]);
    refusal("PATH_TOO_LONG", [symlink("l", `${long}/${long}`)], [implied("l"), file("l/f")]);
  });

  test("DEPTH: no path of the root is deeper than an archive's may be", () => {
    assert.equal(
      planRoot(asTheyAre([deep, [implied("l"), dir("l/5"), file("l/5/f")]]), { policy: "a", limits }).ok,
      true,
    );
    refusal("DEPTH", deep, [implied("l"), dir("l/5"), dir("l/5/6"), file("l/5/6/f")]);
    refusal("DEPTH", [symlink("l", "1/2/3/4/5/6/7")], [implied("l"), file("l/f")]);
  });

  test("NAME_TOO_LONG: no directory is made that no file system can name", () => {
    refusal("NAME_TOO_LONG", [symlink("l", "n".repeat(37))], [implied("l"), file("l/f")]);
    assert.ok(told([symlink("l", "n".repeat(36))], [implied("l"), file("l/f")]).includes(`${"n".repeat(36)}/f: l/f`));
  });

  test("BAD_LINK: what would take hours to follow is refused within seconds", () => {
    const target = `${"d/../".repeat(800)}d`;
    const chain = [dir("d"), ...Array.from({ length: 200 }, (_, i) => symlink(`d/${i}`, `../${target}/${i + 1}`))];
    const lower = [...chain, dir("d/200"), ...Array.from({ length: 5000 }, (_, i) => symlink(`s${i}`, "d/0"))];
    const over = Array.from({ length: 5000 }, (_, i) => [implied(`s${i}`), file(`s${i}/f`)]).flat();
    assert.throws(() => planRoot(asTheyAre([lower, over]), { policy: "a", limits: imageLimits }), { code: "BAD_LINK" });
  });

  test("layers of any depth are planned without recursion", () => {
    const path = (depth: number): string => Array.from({ length: depth }, () => "d").join("/");
    const deepest = Array.from({ length: 2000 }, (_, i) => dir(path(i + 1)));
    assert.equal(acceptedPlan([deepest, deepest], "a").length, 2000);
    assert.equal(acceptedPlan([deepest, deepest], "b").length, 2000);
  });
});
