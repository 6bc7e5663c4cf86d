/**
 * Layers and roots as the verify worker is asked about them, and random hand edits that know what must be found.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  chmodSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import type { CheckedTree, Extent, TreeFinding, VerifyResult } from "../../src/findings.js";
import type { EntriesFile } from "../../src/root-tasks.js";
import { TaskProgress } from "../../src/task-progress.js";
import verify from "../../workers/verify.js";
import type { Linked } from "./linking.js";
import { onDisk } from "./unpacking.js";

const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

export function layerOf({ trees, root }: Linked, index = 0): CheckedTree {
  const tree = trees[index] as string;
  const path = join(dirname(tree), "changeset");
  const spill = join(dirname(root), "spill", String(index));
  return { kind: "layer", tree, spill, changeset: { kind: "changeset", path, sha256: sha256(path) } };
}

export function rootOf({ trees, root, lists }: Linked): CheckedTree {
  const sources = trees.map((tree, index) => ({
    tree,
    spill: join(dirname(root), "spill", String(index)),
    target: "",
  }));
  const isPlanned = lists[0]?.kind === "plan";
  const layersOf = (index: number) => (isPlanned ? sources : sources.slice(index, index + 1));
  const each = lists.map((entries: EntriesFile, index) => ({ entries, layers: layersOf(index) }));
  return { kind: "root", link: "hardlink", tree: root, lists: each };
}

export async function verified(
  checked: CheckedTree,
  extent: Extent = "contents",
  watched: string[] = [],
): Promise<VerifyResult> {
  const outcome = await verify({ checked, extent, watched, progress: new TaskProgress().shared });
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

export const codes = (findings: readonly TreeFinding[]): string[] =>
  findings.map(({ code, path }) => `${code} ${path}`).sort();

/** One hand edit each at paths that do not lie below each other. */
export const damage = fc.record({
  at: fc.nat(),
  how: fc.constantFrom("flip", "chmod", "delete", "add", "swap", "touch"),
});

interface Hurt {
  readonly path: string;
  readonly finding: string;
}

/** Does it, if it can be done there, and tells what must be found. Nothing else may be: the times of directories are kept. */
function hurt(tree: string, paths: readonly string[], { at, how }: { at: number; how: string }): Hurt | undefined {
  const path = paths[at % Math.max(1, paths.length)];
  if (path === undefined) return undefined;
  const place = onDisk(tree, path);
  const parent = onDisk(tree, path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "");
  const stat = lstatSync(place);
  const within = (code: string, edit: () => void): Hurt => {
    const { atime, mtime } = lstatSync(parent);
    edit();
    if (path.includes("/")) utimesSync(parent, atime, mtime);
    return { path, finding: `${code} ${path}` };
  };
  if (how === "delete") return within("MISSING", () => rmSync(place, { recursive: true }));
  if (how === "swap")
    return within("CONTENT", () => {
      rmSync(place, { recursive: true });
      if (stat.isDirectory()) writeFileSync(place, "");
      else mkdirSync(place);
    });
  if (how === "touch") {
    lutimesSync(place, 5, 5);
    return { path, finding: `MODE ${path}` };
  }
  if (stat.isSymbolicLink())
    return within("LINK_TARGET", () => {
      const target = readlinkSync(place);
      rmSync(place);
      symlinkSync(`${target}x`, place);
      lutimesSync(place, stat.atime, stat.mtime);
    });
  if (how === "chmod") {
    chmodSync(place, (stat.mode & 0o7777) ^ 0o020);
    return { path, finding: `MODE ${path}` };
  }
  if (how === "add" && stat.isDirectory()) {
    writeFileSync(onDisk(tree, `${path}/added`), "");
    utimesSync(place, stat.atime, stat.mtime);
    return { path: `${path}/added`, finding: `EXTRA ${path}/added` };
  }
  if (!stat.isFile()) return undefined;
  writeFileSync(place, stat.size === 0 ? "x" : Buffer.alloc(stat.size, "\x7f"));
  utimesSync(place, stat.atime, stat.mtime);
  return { path, finding: `CONTENT ${path}` };
}

/** Every path with nothing of other names' inodes: what is done to one name is then that name's only. */
export function pathsOf(tree: string, ownInodes: boolean): string[] {
  const found: string[] = [];
  const inodes = new Map<number, number>();
  const walk = (below: string): void => {
    for (const name of readdirSync(onDisk(tree, below), "latin1").sort()) {
      const path = below === "" ? name : `${below}/${name}`;
      const stat = lstatSync(onDisk(tree, path));
      found.push(path);
      inodes.set(stat.ino, (inodes.get(stat.ino) ?? 0) + 1);
      if (stat.isDirectory()) walk(path);
    }
  };
  walk("");
  return found.filter((path) => {
    const stat = lstatSync(onDisk(tree, path));
    return inodes.get(stat.ino) === 1 && (!ownInodes || stat.isDirectory() || stat.isSymbolicLink() || stat.size === 0);
  });
}

const areApart = (a: string, b: string): boolean => a !== b && !a.startsWith(`${b}/`) && !b.startsWith(`${a}/`);

export function hurtAll(tree: string, ownInodes: boolean, damages: readonly { at: number; how: string }[]): string[] {
  const done: Hurt[] = [];
  for (const each of damages) {
    const free = pathsOf(tree, ownInodes).filter((path) => done.every((other) => areApart(path, other.path)));
    const hurting = hurt(tree, free, each);
    if (hurting !== undefined) done.push(hurting);
  }
  return done.map(({ finding }) => finding).sort();
}
