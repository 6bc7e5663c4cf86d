/**
 * Runs the compiled workers from blobs to a root, as the daemon has them do it: unpack each layer, plan where a policy is asked for,
 * link in parts, the last first, settle.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WireError } from "../../src/errors.js";
import { imageLimits } from "../../src/limits.js";
import type { Placement } from "../../src/overlap/placement.js";
import type { PlannedPolicy } from "../../src/overlap/plan-root.js";
import type {
  DirectoryAttributes,
  EntriesFile,
  FileMode,
  LinkedLayer,
  LinkResult,
  LinkTask,
  PlanResult,
} from "../../src/root-tasks.js";
import { TaskProgress } from "../../src/task-progress.js";
import link from "../../workers/link.js";
import planRoot from "../../workers/plan.js";
import settle from "../../workers/settle.js";
import { unpackFile } from "./unpacking.js";

export interface Linking {
  readonly parts?: number;
  readonly mode?: FileMode;
  /** Absent: the layers as they stand, without a plan. */
  readonly policy?: PlannedPolicy;
  readonly placements?: readonly (Placement | undefined)[];
}

export interface Linked {
  readonly root: string;
  /** Of the layers, the lowest first. */
  readonly trees: readonly string[];
  /** What it was linked from: a plan, or the layers' changesets. */
  readonly lists: readonly EntriesFile[];
  readonly results: readonly LinkResult[];
  readonly plan?: PlanResult;
  /** Of the first thing that failed behind the unpacking. */
  readonly error?: WireError;
}

/** Gives what came of it to `look`, and removes everything again. `below` is where it all is done; absent: the temporary directory. */
export async function withLinked<Value>(
  blobs: readonly Buffer[],
  linking: Linking,
  look: (linked: Linked) => Value | Promise<Value>,
  below = tmpdir(),
): Promise<Value> {
  const work = mkdtempSync(join(below, "root-"));
  try {
    const layers: Unpacked[] = [];
    for (const [index, bytes] of blobs.entries()) layers.push(await unpacked(work, index, bytes));
    const root = join(work, "root");
    mkdirSync(root);
    return await look({ root, trees: layers.map(({ tree }) => tree), ...(await linked(root, layers, linking)) });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

interface Unpacked extends LinkedLayer {
  readonly changeset: EntriesFile;
}

async function unpacked(work: string, index: number, bytes: Buffer): Promise<Unpacked> {
  const [blob, staging] = [join(work, `blob${index}`), join(work, `layer${index}`)];
  mkdirSync(staging);
  writeFileSync(blob, bytes);
  const { error, layer } = await unpackFile(blob, staging, {});
  assert.ok(layer !== undefined, `${error?.code}: ${error?.message}`);
  const changeset = { kind: "changeset", path: join(staging, "changeset"), sha256: layer.changesetSha256 } as const;
  return { tree: join(staging, "tree"), spill: join(work, "spill", String(index)), changeset };
}

async function linked(
  root: string,
  layers: readonly Unpacked[],
  { parts = 1, mode = "hardlink", policy, placements = [] }: Linking,
): Promise<Omit<Linked, "root" | "trees">> {
  let lists = layers.map((layer) => ({ entries: layer.changeset, layers: [layer] as readonly LinkedLayer[] }));
  let plan: PlanResult | undefined;
  if (policy !== undefined) {
    const file = `${root}.plan`;
    const placedLayers = layers.map(({ changeset }, index) => {
      const placement = placements[index];
      return placement === undefined ? { changeset } : { changeset, placement };
    });
    const planned = await planRoot({ policy, layers: placedLayers, limits: imageLimits, file });
    if (!planned.ok) return { lists: [], results: [], error: planned.error };
    plan = planned.value;
    if (plan.kind === "conflicts") return { lists: [], results: [], plan };
    lists = [{ entries: { kind: "plan", path: file, sha256: plan.sha256 ?? "" }, layers }];
  }
  const files = lists.map(({ entries }) => entries);
  const results: LinkResult[] = [];
  const directories: DirectoryAttributes[] = [];
  for (const list of lists.toReversed()) {
    for (let index = parts - 1; index >= 0; index -= 1) {
      const progress = new TaskProgress().shared;
      const task: LinkTask = { ...list, part: { index, of: parts }, tree: root, mode, progress };
      const outcome = await link(task);
      if (!outcome.ok) return { lists: files, results, error: outcome.error };
      results.push(outcome.value);
      directories.unshift(...outcome.value.open);
    }
  }
  const copies = mode === "hardlink" ? [] : files;
  const settled = await settle({ tree: root, directories, copies, progress: new TaskProgress().shared });
  if (!settled.ok) return { lists: files, results, error: settled.error };
  return { lists: files, results, ...(plan === undefined ? {} : { plan }) };
}
