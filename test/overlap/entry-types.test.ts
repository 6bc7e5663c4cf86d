/**
 * Every pair of entry types of which an upper layer has one and a lower layer the other at one path, under each policy, at the
 * image root and two directories below it: what stands there then, or what the refusal's codes are.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { type Changeset, type Entry, isWhiteout } from "../../src/overlap/changeset.js";
import type { PlannedPolicy, RootPlan } from "../../src/overlap/plan-root.js";
import { contentOf, dir, file, hardlink, implied, opaque, planOf, symlink, unresolved, whiteout } from "./planning.js";

const kinds = [
  "dir",
  "implied",
  "file",
  "empty file",
  "symlink",
  "hardlink",
  "unresolved",
  "whiteout",
  "opaque",
] as const;
type Kind = (typeof kinds)[number];

/** By the lower layer's type: the outcomes in the order of the upper layer's type. */
type Table = Readonly<Record<Kind, readonly string[]>>;

// `l` and `u` are what the lower and the upper layer have; a directory holds one file of each layer that has it. The base is
// what the unresolved hard links name: a file of a layer below both. A symlink leads to a directory that is not there.
const overridden = ["file u", "empty file u", "symlink u", "hardlink u", "base", "-"] as const;
const newly = ["dir u: u", "implied: u", ...overridden] as const;
const a: Table = {
  dir: ["dir u: l u", "dir l: l u", ...overridden, "dir l:"],
  implied: ["dir u: l u", "implied: l u", ...overridden, "implied:"],
  file: [...newly, "file l"],
  "empty file": [...newly, "empty file l"],
  symlink: ["dir u: u", "symlink l, through it: u", ...overridden, "symlink l"],
  hardlink: [...newly, "hardlink l"],
  unresolved: [...newly, "base"],
  whiteout: [...newly, "-"],
  opaque: [...newly, "-"],
};

// Neither c nor b has a meaning for whiteouts and unresolved links: they are refused whatever they meet.
const [overlap, linked] = ["LAYER_OVERLAP", "HARDLINK_TARGET LAYER_OVERLAP"] as const;
const [hidden, both] = ["WHITEOUT", "HARDLINK_TARGET WHITEOUT"] as const;
const collides = [overlap, overlap, overlap, overlap, overlap, overlap, linked, hidden, hidden];
const hides = [hidden, hidden, hidden, hidden, hidden, hidden, both, hidden, hidden];
const c: Table = {
  dir: collides,
  implied: collides,
  file: collides,
  "empty file": collides,
  symlink: collides,
  hardlink: collides,
  unresolved: [linked, linked, linked, linked, linked, linked, linked, both, both],
  whiteout: hides,
  opaque: hides,
};
const b: Table = {
  ...c,
  dir: ["dir l: l u", "dir l: l u", ...collides.slice(2)],
  implied: ["dir u: l u", "implied: l u", ...collides.slice(2)],
};

const depths = [
  { depth: 1, below: "" },
  { depth: 3, below: "p/q/" },
];

suite("an entry over another", () => {
  for (const [policy, table] of Object.entries({ c, b, a }) as [PlannedPolicy, Table][]) {
    for (const { depth, below } of depths) {
      for (const lower of kinds) {
        test(`policy ${policy}, depth ${depth}: each type over ${lower}`, () => {
          const outcomes = kinds.map((upper) => outcome(policy, below, [lower, upper]));
          assert.deepEqual(byUpper(outcomes), byUpper(table[lower]));
        });
      }
    }
  }
});

const byUpper = (outcomes: readonly string[]): Record<string, string | undefined> =>
  Object.fromEntries(kinds.map((upper, i) => [`${upper} over it`, outcomes[i]]));

function outcome(policy: PlannedPolicy, below: string, [lower, upper]: readonly [Kind, Kind]): string {
  const path = `${below}x`;
  const result = planOf([[file("base")], layerWith(lower, path, "l"), layerWith(upper, path, "u")], policy);
  if (!result.ok) return [...new Set(result.conflicts.map(({ code }) => code))].sort().join(" ");
  return standing(result.plan, path, `${below}elsewhere`);
}

/** Directories above the path where something stands there; a whiteout needs none. */
function layerWith(kind: Kind, path: string, own: "l" | "u"): Changeset {
  const entries = entriesOf(kind, path, own);
  const above = path
    .split("/")
    .map((_, i, names) => names.slice(0, i).join("/"))
    .slice(1);
  return entries.some(isWhiteout) ? entries : [...above.map((each) => dir(each)), ...entries];
}

const modes = { l: 0o701, u: 0o702 };

function entriesOf(kind: Kind, path: string, own: "l" | "u"): Entry[] {
  switch (kind) {
    case "dir":
      return [dir(path, modes[own]), file(`${path}/${own}`)];
    case "implied":
      return [implied(path), file(`${path}/${own}`)];
    case "file":
      return [file(path, `file ${own}`)];
    case "empty file":
      return [file(path, `empty file ${own}`, 0)];
    case "symlink":
      return [{ ...symlink(path, "elsewhere"), mtime: modes[own] } as Entry];
    case "hardlink":
      return [hardlink(path, `of ${own}`), file(`of ${own}`, `hardlink ${own}`)];
    case "unresolved":
      return [unresolved(path, "base")];
    case "whiteout":
      return [whiteout(path)];
    case "opaque":
      return [opaque(path)];
  }
}

/** What a plan has at the path, told in the words of the tables. */
function standing(plan: RootPlan, path: string, elsewhere: string): string {
  const entries = new Map(plan.map(({ entry }) => [entry.path, entry]));
  const own = (number: number): string => (number === modes.l ? "l" : "u");
  const within = (directory: string): string =>
    ["l", "u"]
      .filter((name) => entries.has(`${directory}/${name}`))
      .map((name) => ` ${name}`)
      .join("");
  const entry = entries.get(path);
  switch (entry?.type) {
    case undefined:
      return "-";
    case "dir":
      return `dir ${own(entry.mode)}:${within(path)}`;
    case "implied":
      return `implied:${within(path)}`;
    case "symlink": {
      const through = within(elsewhere);
      return `symlink ${own(entry.mtime)}${through === "" ? "" : `, through it:${through}`}`;
    }
    case "hardlink":
      return contentOf(entries.get(entry.target));
    case "file":
      return contentOf(entry);
  }
}
