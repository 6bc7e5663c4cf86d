/** What a repack tells of its plan: what was stored before and is after, who shares what, and what its policy costs. */
import { MAX_LOSSES_TOLD } from "../limits.js";
import { topLevelOf } from "../overlap/changeset.js";
import { byImages, NO_SIGNATURE, type Signatures } from "./image-sets.js";
import type { Partition, SignedPortion } from "./partition.js";
import type { PathUnits } from "./path-units.js";
import type { RepackFigures } from "./plan-repack.js";
import { contentBytes, type SortedTree } from "./sorted-tree.js";

export interface Planned {
  /** Before hoisting. */
  readonly trees: readonly SortedTree[];
  readonly units: PathUnits;
  /** What is stored, of the trees after hoisting: their sources are entries of those before. */
  readonly hoisted: readonly SortedTree[];
  readonly partition: Partition;
  readonly portions: readonly SignedPortion[];
  readonly known: Signatures;
}

type TreeFigures = Omit<RepackFigures, "caps" | "hoist" | "afterBytes">;

export function figuresOf(planned: Planned): TreeFigures {
  const { trees, portions, known } = planned;
  const bytesOf = trees.map(({ entries }) => entries.reduce((sum, entry) => sum + contentBytes(entry), 0));
  return {
    beforeBytes: bytesOf.reduce((sum, bytes) => sum + bytes, 0),
    oneLayerEachBytes: oneLayerEach(planned, bytesOf),
    perFileBytes: perFile(trees),
    sharing: portions
      .map(({ signature, bytes, entries }) => ({ images: known.images(signature), bytes, entries }))
      .sort(
        (a, b) =>
          b.images.length - a.images.length ||
          b.bytes - a.bytes ||
          b.entries - a.entries ||
          byImages(a.images, b.images),
      ),
    lostToPolicy: lostToPolicy(planned),
  };
}

/** Images are equal where all that is stored for the one is stored for the other. */
function oneLayerEach({ partition }: Planned, bytesOf: readonly number[]): number {
  const distinct = new Map<string, number>();
  for (const [image, each] of partition.storedFor.entries()) {
    const signatures = new Set(each);
    signatures.delete(NO_SIGNATURE);
    distinct.set([...signatures].sort((a, b) => a - b).join(), bytesOf[image] as number);
  }
  return [...distinct.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function perFile(trees: readonly SortedTree[]): number {
  const sizes = new Map<string, number>();
  for (const { entries } of trees)
    for (const entry of entries) if (entry.type === "file") sizes.set(entry.sha256, entry.size);
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** A file that is the same in several images, and stored for some of them at a time. */
function lostToPolicy({ trees, units, hoisted, partition, known }: Planned): RepackFigures["lostToPolicy"] {
  const copies = new Uint32Array(units.signatures.length);
  for (const [image, { entries, sources }] of hoisted.entries()) {
    for (const [index, { type }] of entries.entries()) {
      const signature = partition.storedFor[image]?.[index] as number;
      if (type !== "file" || known.speaker(signature) !== image) continue;
      const unit = units.unitOf[image]?.[sources[index] as number] as number;
      copies[unit] = (copies[unit] as number) + 1;
    }
  }
  const losses: Loss[] = [];
  for (const [unit, { image, index }] of units.speakers.entries()) {
    const again = (copies[unit] as number) - 1;
    if (again < 1) continue;
    const file = trees[image]?.entries[index];
    if (file?.type === "file" && file.size > 0) losses.push({ path: file.path, bytes: file.size * again });
  }
  return { bytes: sumOf(losses), paths: costliest(losses) };
}

interface Loss {
  readonly path: string;
  readonly bytes: number;
}

const sumOf = (losses: readonly Loss[]): number => losses.reduce((sum, { bytes }) => sum + bytes, 0);

/** From the top-level entries down: as long as there is room, a directory is told by what it holds. */
function costliest(losses: readonly Loss[]): Loss[] {
  const open = grouped(losses, 0);
  const told: Group[] = [];
  while (open.length > 0) {
    open.sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1));
    const next = open.shift() as Group;
    const parts = grouped(next.losses, next.path.length + 1);
    const isWhole = next.losses.every(({ path }) => path === next.path);
    if (isWhole || told.length + open.length + parts.length > MAX_LOSSES_TOLD) told.push(next);
    else open.push(...parts);
  }
  told.sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1));
  return told.slice(0, MAX_LOSSES_TOLD).map(({ path, bytes }) => ({ path, bytes }));
}

interface Group extends Loss {
  readonly losses: readonly Loss[];
}

/** By the first name from `start` on; a file that stands there with others at its path is a group with them. */
function grouped(losses: readonly Loss[], start: number): Group[] {
  const groups = new Map<string, Loss[]>();
  for (const loss of losses) {
    const path = loss.path.slice(0, start) + topLevelOf(loss.path.slice(start));
    const group = groups.get(path);
    if (group === undefined) groups.set(path, [loss]);
    else group.push(loss);
  }
  return Array.from(groups, ([path, each]) => ({ path, losses: each, bytes: sumOf(each) }));
}
