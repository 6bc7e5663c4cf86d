/**
 * What the tests of planning share: entries by hand, plans of plain changesets, and what every plan has to be.
 */
import assert from "node:assert/strict";
import { imageLimits } from "../../src/limits.js";
import { type Changeset, type Entry, parentPath } from "../../src/overlap/changeset.js";
import { type PlacedLayer, placed } from "../../src/overlap/placement.js";
import {
  type Conflict,
  type PlannedPolicy,
  type PlanResult,
  planRoot,
  type RootPlan,
} from "../../src/overlap/plan-root.js";

/** A file whose hash tells its content. */
export const file = (path: string, content = path, size = 1): Entry & { type: "file" } => ({
  type: "file",
  path,
  mode: 0o644,
  mtime: 0,
  size,
  sha256: Buffer.from(content).toString("hex").padEnd(64, "0"),
});
/** What `file` was given. */
export const contentOf = (entry: Entry | undefined): string =>
  entry?.type === "file" ? Buffer.from(entry.sha256, "hex").toString().replace(/\0+$/, "") : "no file";
export const dir = (path: string, mode = 0o755): Entry => ({ type: "dir", path, mode, mtime: 0 });
export const implied = (path: string): Entry => ({ type: "implied", path });
export const symlink = (path: string, target: string): Entry => ({ type: "symlink", path, mtime: 0, target });
export const hardlink = (path: string, target: string): Entry => ({ type: "hardlink", path, target });
export const unresolved = (path: string, target: string): Entry & { readonly type: "unresolved" } => ({
  type: "unresolved",
  path,
  target,
});
export const whiteout = (path: string): Entry => ({ type: "whiteout", path });
export const opaque = (path: string): Entry => ({ type: "opaque", path });

export const asTheyAre = (changesets: readonly Changeset[]): PlacedLayer[] =>
  changesets.map((changeset) => placed(changeset, undefined, imageLimits));

export const planOf = (changesets: readonly Changeset[], policy: PlannedPolicy): PlanResult =>
  planRoot(asTheyAre(changesets), { policy });

export function conflictsOf(changesets: readonly Changeset[], policy: PlannedPolicy): readonly Conflict[] {
  const result = planOf(changesets, policy);
  return result.ok ? [] : result.conflicts;
}

/** The plan of layers that the policy accepts. */
export function acceptedPlan(changesets: readonly Changeset[], policy: PlannedPolicy): RootPlan {
  const result = planOf(changesets, policy);
  assert.ok(result.ok, JSON.stringify(result));
  return result.plan;
}

/** What holds of every plan under every policy. */
export function assertIsPlan(plan: RootPlan, layers: readonly PlacedLayer[]): void {
  const types = new Map<string, Entry["type"]>();
  const open: string[] = [];
  for (const { layer, from, entry } of plan) {
    const { path, type } = entry;
    assert.ok(path !== "" && !types.has(path), `${path} stands in the plan twice`);
    const parent = parentPath(path);
    while (open.length > 0 && open.at(-1) !== parent) open.pop();
    assert.equal(open.at(-1) ?? "", parent, `${path} is parted from its directory, or has none`);
    types.set(path, type);
    const source = layers[layer]?.entries.find((each) => each.from === from && each.from !== "")?.entry;
    switch (type) {
      case "dir":
        assert.equal(source?.type, "dir");
        open.push(path);
        break;
      case "implied":
        assert.ok(from === "" || source?.type === "implied");
        open.push(path);
        break;
      case "hardlink":
        assert.equal(types.get(entry.target), "file", `${path} is a link to what does not stand before it`);
        assert.ok(source?.type === "file" || source?.type === "hardlink");
        break;
      case "file":
        assert.ok(source?.type === "file" || source?.type === "hardlink");
        break;
      case "symlink":
        assert.equal(source?.type, "symlink");
    }
  }
}

/** Paths and what stands there, as text; hard links as the set of names that are one file. */
