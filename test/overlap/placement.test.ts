import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { StrataError } from "../../src/errors.js";
import { imageLimits } from "../../src/limits.js";
import { type Changeset, type Entry, isDirectory, isWhiteout, topLevelNames } from "../../src/overlap/changeset.js";
import {
  type PlacedLayer,
  type Placement,
  parsePlacement,
  placed,
  placedTopLevel,
} from "../../src/overlap/placement.js";
import { planRoot } from "../../src/overlap/plan-root.js";
import { disjointLayers, stackedLayers } from "./arbitrary-layers.js";
import {
  acceptedPlan,
  assertIsPlan,
  dir,
  file,
  hardlink,
  implied,
  opaque,
  symlink,
  unresolved,
  whiteout,
} from "./planning.js";

const PREFIX = "sh.ocx.layer.prefix";
const STRIP = "sh.ocx.layer.strip-components";

suite("the placement that annotations ask for", () => {
  const asked: readonly [title: string, annotations: Record<string, string> | undefined, Placement | undefined][] = [
    ["no annotations", undefined, undefined],
    ["other annotations", { "sh.ocx.layer": "x", constructor: "y" }, undefined],
    ["nothing", { [PREFIX]: "", [STRIP]: "0" }, undefined],
    ["the root itself", { [PREFIX]: "./." }, undefined],
    ["a prefix", { [PREFIX]: "opt/gcc" }, { prefix: "opt/gcc", strip: 0 }],
    ["a prefix as a shell completes it", { [PREFIX]: "./opt//gcc/" }, { prefix: "opt/gcc", strip: 0 }],
    ["dots that are names", { [PREFIX]: "..a/...b/c.." }, { prefix: "..a/...b/c..", strip: 0 }],
    ["a prefix that is no ASCII, as bytes", { [PREFIX]: "\u00e9\n" }, { prefix: "\xc3\xa9\n", strip: 0 }],
    ["strip", { [STRIP]: "1" }, { prefix: "", strip: 1 }],
    [
      "both, at their limits",
      { [PREFIX]: `${"a/".repeat(31)}a`, [STRIP]: "255" },
      { prefix: `${"a/".repeat(31)}a`, strip: 255 },
    ],
    [
      "1,024 bytes",
      { [PREFIX]: `${"a".repeat(255)}/${"b".repeat(255)}/${"c".repeat(255)}/${"d".repeat(255)}/` },
      { prefix: `${"a".repeat(255)}/${"b".repeat(255)}/${"c".repeat(255)}/${"d".repeat(255)}`, strip: 0 },
    ],
  ];
  for (const [title, annotations, placement] of asked)
    test(`${title}: ${JSON.stringify(placement)?.slice(0, 60) ?? "none"}`, () =>
      assert.deepEqual(parsePlacement(annotations), placement));

  const refused: readonly [title: string, annotation: string, value: string][] = [
    ["an absolute prefix", PREFIX, "/opt"],
    ["a prefix that climbs", PREFIX, "a/../../b"],
    ["a prefix that climbs and comes back", PREFIX, "a/.."],
    ["a NUL", PREFIX, "a\0b"],
    ["a backslash", PREFIX, "a\\..\\b"],
    ["33 components", PREFIX, "a/".repeat(33)],
    ["1,025 bytes", PREFIX, "a/".repeat(512).concat("a")],
    ["1,025 bytes in fewer characters", PREFIX, `${"\u00e9".repeat(127)}/`.repeat(5)],
    ["a component of 256 bytes", PREFIX, `x/${"\u00e9".repeat(128)}`],
    ["a lone surrogate", PREFIX, "a\ud800"],
    ["the name of a whiteout", PREFIX, "a/.wh.b"],
    ["strip of 256", STRIP, "256"],
    ["a negative strip", STRIP, "-1"],
    ["a strip that is no decimal number", STRIP, "0x1"],
    ["a fraction", STRIP, "1.0"],
    ["spaces", STRIP, " 1"],
    ["leading zeros", STRIP, "01"],
    ["an empty strip", STRIP, ""],
    ["digits of another script", STRIP, "\u0661"],
  ];
  for (const [title, annotation, value] of refused) {
    test(`${title}: PLACEMENT_INVALID`, () => {
      assert.throws(
        () => parsePlacement({ [annotation]: value }),
        (error) =>
          error instanceof StrataError && error.code === "PLACEMENT_INVALID" && error.message.includes(annotation),
      );
    });
  }

  test("a refused value is shown escaped, in at most 32 characters", () => {
    const long = `\u001b[31m/../${"x".repeat(10_000)}`;
    assert.throws(
      () => parsePlacement({ [PREFIX]: `/${long}` }),
      (error) => {
        assert.ok(error instanceof StrataError);
        const shown = /`(.*)`/s.exec(error.message)?.[1] ?? "";
        assert.ok(shown.startsWith("/\\x1b[31m/../xx") && [...shown].length <= 32, error.message);
        return true;
      },
    );
  });
});

suite("a placed layer", () => {
  test("stands below its prefix, whose directories are implied; the tree's paths are kept", () => {
    assert.deepEqual(moved([dir("bin", 0o700), file("bin/a")], "opt/x", 0), [
      ["", implied("opt")],
      ["", implied("opt/x")],
      ["bin", dir("opt/x/bin", 0o700)],
      ["bin/a", { ...file("bin/a"), path: "opt/x/bin/a" }],
    ]);
  });

  test("is stripped first, and prefixed then", () => {
    assert.deepEqual(moved([dir("gcc-14"), dir("gcc-14/bin"), file("gcc-14/bin/gcc")], "gcc", 1), [
      ["", implied("gcc")],
      ["gcc-14/bin", dir("gcc/bin")],
      ["gcc-14/bin/gcc", { ...file("gcc-14/bin/gcc"), path: "gcc/bin/gcc" }],
    ]);
  });

  test("that is empty, or of which strip leaves nothing, implies no prefix", () => {
    assert.deepEqual(place([], "opt", 0), { entries: [], dropped: 0 });
    assert.deepEqual(place([dir("a"), file("a/b")], "opt", 2), { entries: [], dropped: 1 });
  });

  test("counts what strip drops, but for directories", () => {
    const changeset = [
      dir("a"),
      implied("b"),
      file("f"),
      symlink("s", "f"),
      hardlink("h", "f"),
      unresolved("u", "x"),
      file("b/kept"),
    ];
    assert.deepEqual(place([...changeset, whiteout("w"), opaque("")], "", 1).dropped, 6);
  });

  test("keeps symlinks' targets and moves hard links' targets", () => {
    assert.deepEqual(
      moved(
        [dir("a"), symlink("a/s", "/a/f"), file("a/f"), hardlink("a/h", "a/f"), unresolved("a/u", "a/x")],
        "p",
        1,
      ).slice(1),
      [
        ["a/s", symlink("p/s", "/a/f")],
        ["a/f", { ...file("a/f"), path: "p/f" }],
        ["a/h", hardlink("p/h", "p/f")],
        ["a/u", unresolved("p/u", "p/x")],
      ],
    );
  });

  test("gives a file that strip drops to the first of its hard links that is kept", () => {
    const changeset = [dir("a"), hardlink("a/1", "f"), hardlink("a/2", "f"), file("f"), hardlink("g", "f")];
    assert.deepEqual(moved(changeset, "", 1), [
      ["a/1", { ...file("f"), path: "1" }],
      ["a/2", hardlink("2", "1")],
    ]);
    assert.equal(place(changeset, "", 1).dropped, 2);
  });

  test("leaves an unresolved link whose target strip drops without any target", () => {
    const layers = [placed([file("f")], undefined, imageLimits), place([dir("a"), unresolved("a/u", "f")], "", 1)];
    assert.deepEqual(planRoot(layers, { policy: "a" }), {
      ok: false,
      conflicts: [{ code: "HARDLINK_TARGET", path: "u", layer: 1 }],
    });
  });

  test("moves whiteouts, and an opaque one as the file that it is in its directory", () => {
    const marks = [whiteout("a/b"), whiteout("a"), opaque("a"), opaque("a/b"), opaque("")];
    const paths = (prefix: string, strip: number): string[] =>
      place(marks, prefix, strip).entries.map(({ entry }) => `${entry.type} ${entry.path}`);
    assert.deepEqual(paths("p", 0), ["whiteout p/a/b", "whiteout p/a", "opaque p/a", "opaque p/a/b", "opaque p"]);
    assert.deepEqual(paths("p", 1), ["whiteout p/b", "opaque p", "opaque p/b"]);
    assert.deepEqual(paths("", 2), ["opaque "]);
  });

  test("is depth first again where strip brings directories together, and they stand once", () => {
    assert.deepEqual(
      moved(
        [dir("a"), implied("a/d"), file("a/d/1"), file("a/f"), dir("b"), dir("b/d"), file("b/d/2"), dir("b/d/e")],
        "",
        1,
      ).map(([from, { path, type }]) => [from, type, path]),
      [
        ["b/d", "dir", "d"],
        ["a/d/1", "file", "d/1"],
        ["b/d/2", "file", "d/2"],
        ["b/d/e", "dir", "d/e"],
        ["a/f", "file", "f"],
      ],
    );
  });

  const collisions: readonly [title: string, changeset: Changeset][] = [
    ["two files", [dir("a"), file("a/x"), dir("b"), file("b/x")]],
    ["a file and a symlink", [dir("a"), file("a/x"), dir("b"), symlink("b/x", "y")]],
    ["a file and a directory", [dir("a"), file("a/x"), dir("b"), dir("b/x")]],
    ["a directory and a file", [dir("a"), dir("a/x"), dir("b"), file("b/x")]],
    ["a file and an implied directory", [dir("a"), file("a/x"), dir("b"), implied("b/x"), file("b/x/y")]],
    ["an implied directory and a file", [dir("a"), implied("a/x"), file("a/x/y"), dir("b"), file("b/x")]],
    ["directories of different modes", [dir("a"), dir("a/x", 0o700), dir("b"), dir("b/x", 0o755)]],
  ];
  for (const [title, changeset] of collisions) {
    test(`DUPLICATE_PATH: strip puts ${title} on one path`, () => {
      assert.throws(() => place(changeset, "p", 1), {
        code: "DUPLICATE_PATH",
        message: "Cannot place b/x: strip puts a/x on the same path",
      });
    });
  }

  test("PATH_TOO_LONG and DEPTH are judged again, on the path in the root", () => {
    const limits = { ...imageLimits, maxPathBytes: 20, maxDepth: 4 };
    assert.equal(place([file("n".repeat(18))], "p", 0, limits).entries.length, 2);
    assert.throws(() => place([file("n".repeat(19))], "p", 0, limits), { code: "PATH_TOO_LONG" });
    assert.throws(() => place([whiteout("n".repeat(19))], "p", 0, limits), { code: "PATH_TOO_LONG" });
    const deep = [dir("a"), dir("a/b"), file("a/b/c")];
    assert.equal(place(deep, "p", 0, limits).entries.length, 4);
    assert.throws(() => place(deep, "p/q", 0, limits), { code: "DEPTH" });
    assert.equal(place(deep, "p/q", 1, limits).entries.length, 4);
  });

  test("overlaps by the paths that it has then", () => {
    const layers = [file("x"), file("x")].map((each, i) => place([each], `p${i}`, 0));
    assert.equal(planRoot(layers, { policy: "c" }).ok, true);
    const shared = [file("x"), file("y")].map((each) => place([each], "p", 0));
    assert.deepEqual(planRoot(shared, { policy: "c" }), {
      ok: false,
      conflicts: [
        {
          code: "LAYER_OVERLAP",
          path: "p",
          sides: [
            { layer: 0, type: "dir" },
            { layer: 1, type: "dir" },
          ],
        },
      ],
    });
    assert.equal(planRoot(shared, { policy: "b" }).ok, true);
  });
});

suite("any placed layer", () => {
  const placement = fc.record({ prefix: fc.constantFrom("", "p", "p/q", "a"), strip: fc.nat(3) });
  const changesets = stackedLayers.map((layers) => layers.at(-1) as Changeset);

  test("has the paths that a split at the slashes gives, and each entry is from where it was", () => {
    let kept = 0;
    fc.assert(
      fc.property(changesets, placement, (changeset, placement) => {
        const layer = placedUnlessDuplicate(changeset, placement);
        fc.pre(layer !== undefined);
        const split = (entry: Entry): string | undefined => splitPath(entry, placement);
        const paths = (entries: readonly Entry[]): string[] => entries.flatMap((entry) => split(entry) ?? []);
        const own = layer.entries.filter(({ from, entry }) => from !== "" && !isWhiteout(entry));
        for (const { from, entry } of own)
          assert.equal(entry.path, split(changeset.find((each) => each.path === from && !isWhiteout(each)) as Entry));
        const standing = changeset.filter((entry) => !isWhiteout(entry));
        assert.deepEqual(own.map(({ entry }) => entry.path).sort(), [...new Set(paths(standing))].sort());
        const whiteouts = layer.entries.map(({ entry }) => entry).filter(isWhiteout);
        assert.deepEqual(
          whiteouts.map(({ path }) => path),
          paths(changeset.filter(isWhiteout)),
        );
        const lost = changeset.filter((entry) => split(entry) === undefined && !isDirectory(entry));
        assert.equal(layer.dropped, lost.length);
        kept += own.length;
      }),
      { numRuns: 1000 },
    );
    assert.ok(kept > 1000, `${kept} entries`);
  });

  test("makes a plan as any other layer does", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(changesets, placement), { maxLength: 3 }), (asked) => {
        const layers = asked.map(([changeset, placement]) => placedUnlessDuplicate(changeset, placement));
        fc.pre(layers.every((layer) => layer !== undefined));
        const result = planRoot(layers as PlacedLayer[], { policy: "a" });
        fc.pre(result.ok);
        assertIsPlan(result.plan, layers as PlacedLayer[]);
      }),
      { numRuns: 1000 },
    );
  });

  test("with a prefix alone is the layer itself below the prefix", () => {
    fc.assert(
      fc.property(disjointLayers, (layers) => {
        const below = layers.map((changeset, i) => place(changeset, `p${i}`, 0));
        const result = planRoot(below, { policy: "c" });
        assert.ok(result.ok);
        const own = result.plan.filter(({ from }) => from !== "");
        const prefixes = new Map(acceptedPlan(layers, "c").map(({ layer, from }) => [from, `p${layer}/`]));
        assert.deepEqual(
          own.map(({ from, entry }) => [from, entry.path]),
          acceptedPlan(layers, "c").map(({ from }) => [from, `${prefixes.get(from)}${from}`]),
        );
      }),
      { numRuns: 200 },
    );
  });

  test("has the top-level names that its own and the prefix tell, where strip does not hide them", () => {
    fc.assert(
      fc.property(changesets, placement, (changeset, placement) => {
        const layer = placedUnlessDuplicate(changeset, placement);
        fc.pre(layer !== undefined);
        const told = placedTopLevel([...topLevelNames(changeset)], placement);
        const found = [...topLevelNames(layer.entries.map(({ entry }) => entry))];
        assert.deepEqual(told, placement.strip > 0 ? undefined : found);
      }),
      { numRuns: 500 },
    );
  });
});

type Limits = Parameters<typeof placed>[2];

function place(changeset: Changeset, prefix: string, strip: number, limits: Limits = imageLimits): PlacedLayer {
  return placed(changeset, prefix === "" && strip === 0 ? undefined : { prefix, strip }, limits);
}

const moved = (changeset: Changeset, prefix: string, strip: number): [from: string, entry: Entry][] =>
  place(changeset, prefix, strip).entries.map(({ from, entry }) => [from, entry]);

function placedUnlessDuplicate(changeset: Changeset, { prefix, strip }: Placement): PlacedLayer | undefined {
  try {
    return place(changeset, prefix, strip);
  } catch (thrown) {
    if (thrown instanceof StrataError && thrown.code === "DUPLICATE_PATH") return undefined;
    throw thrown;
  }
}

/** Undefined where strip leaves nothing. */
function splitPath({ type, path }: Entry, { prefix, strip }: Placement): string | undefined {
  const names = path.split("/").filter((name) => name !== "");
  const isLost = type === "opaque" ? names.length < strip : names.length <= strip;
  return isLost ? undefined : [...prefix.split("/"), ...names.slice(strip)].filter((name) => name !== "").join("/");
}
