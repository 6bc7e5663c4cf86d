/**
 * A root against its plan, or against the changesets of its layers where they stand in it as they are.
 *
 * A file that is its layer's inode, or one of its spill, is judged there: here only which damaged ones the root has. What was put in
 * their place is judged by the entry. A root of symlinks is its symlinks: what they lead to is the layers'.
 */
import type { BigIntStats } from "node:fs";
import type { CheckedTree, RootList, RootSource } from "../src/findings.js";
import type { FileEntry, RootEntry } from "../src/overlap/changeset.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import type { StoredEntries } from "./entries-file.js";
import { directoryFault, type Fault, fileFault, symlinkFault } from "./file-check.js";
import type { Origin } from "./file-modes.js";
import { SharedInodes } from "./shared-inodes.js";
import { directoryAttributes, IMPLIED_MODE, storedFileMode } from "./stored-mode.js";
import { symlinksOf } from "./symlink-root.js";
import { TreeWalk } from "./tree-walk.js";
import { inodeKey, type Verification } from "./verification.js";

type Root = CheckedTree & { readonly kind: "root" };
type Leaf<Type extends RootEntry["type"]> = PlannedEntry & { readonly entry: RootEntry & { readonly type: Type } };

const APART = "it is no link to its layer's file";

export class RootCheck {
  readonly #verification: Verification;
  readonly #root: Root;
  readonly #walk: TreeWalk;

  /** `tree` is the descriptor of the tree's top; it stays the caller's. */
  constructor(verification: Verification, tree: number, root: Root) {
    this.#verification = verification;
    this.#root = root;
    this.#walk = new TreeWalk(tree, (finding) => verification.tell(finding));
  }

  run(): void {
    const { extent } = this.#verification;
    try {
      let isWhole = true;
      for (const list of this.#root.lists) {
        const isRead = this.#verification.through(list.entries, list.entries.kind === "plan", (entries) => {
          if (extent === "documents") return;
          if (this.#root.link === "symlink") this.#symlinks(entries, list);
          else this.#links(entries, list.layers);
        });
        isWhole &&= isRead;
      }
      // Without all lists nobody knows what stands at the top besides.
      if (extent !== "documents" && isWhole) this.#walk.finish();
    } finally {
      this.#walk.close();
    }
  }

  #links(entries: StoredEntries, layers: readonly RootSource[]): void {
    const shared = new SharedInodes(layers);
    const unshared = new Map<string, string[]>();
    try {
      for (const planned of entries.part(0, 1)) {
        this.#verification.tick();
        if (planned.entry.type === "file") this.#file(planned as Leaf<"file">, shared);
        else if (planned.entry.type === "hardlink") this.#hardlink(planned as Leaf<"hardlink">, shared, unshared);
        else if (planned.entry.type === "symlink") this.#symlink(planned.entry.path, planned.entry);
        else this.#directory(planned.entry);
      }
      if (unshared.size === 0) return;
      for (const planned of entries.part(0, 1))
        for (const path of unshared.get(planned.entry.path) ?? [])
          this.#otherName(path, planned as Leaf<"file">, shared);
    } finally {
      shared.close();
    }
  }

  #file(planned: Leaf<"file">, shared: SharedInodes): void {
    const { entry } = planned;
    const stat = this.#walk.look(entry.path, "file");
    if (stat === undefined || (entry.size > 0 && this.#isShared(planned, stat, shared))) return;
    this.#judge(entry.path, stat, entry);
  }

  /** A name of a file that is not the inode which the layer has under it is judged by the file's entry, which may stand behind it. */
  #hardlink({ entry, ...origin }: Leaf<"hardlink">, shared: SharedInodes, unshared: Map<string, string[]>): void {
    const { path, target } = entry;
    const stat = this.#walk.look(path, "file");
    if (stat === undefined || (stat.size > 0n && this.#isShared(origin, stat, shared))) return;
    unshared.set(target, [...(unshared.get(target) ?? []), path]);
  }

  #otherName(path: string, planned: Leaf<"file">, shared: SharedInodes): void {
    const stat = this.#walk.again(path);
    if (!stat?.isFile() || (planned.entry.size > 0 && this.#isShared(planned, stat, shared))) return;
    this.#judge(path, stat, planned.entry);
  }

  #isShared(origin: Origin, stat: BigIntStats, shared: SharedInodes): boolean {
    const key = inodeKey(stat);
    if (!shared.has(origin, key)) return false;
    if (this.#verification.watched.has(key)) this.#verification.seen.add(key);
    return true;
  }

  #judge(path: string, stat: BigIntStats, entry: FileEntry): void {
    const isCopy = this.#root.link !== "hardlink";
    const linked = { ...entry, mode: isCopy ? entry.mode : storedFileMode(entry.mode) };
    const fault = fileFault(this.#walk.at(path), stat, linked, this.#verification.reader);
    const isApart = !isCopy && entry.size > 0;
    if (isApart) this.#verification.apart += 1;
    this.#tell(path, isApart && this.#verification.findsApart ? { code: "CONTENT", detail: APART } : fault);
  }

  #directory(entry: RootEntry & { readonly type: "dir" | "implied" }): void {
    const stat = this.#walk.look(entry.path, "directory");
    if (stat !== undefined) this.#tell(entry.path, directoryFault(stat, directoryAttributes(entry)));
  }

  #symlink(path: string, entry: { readonly target: string; readonly mtime?: number }): void {
    const stat = this.#walk.look(path, "symlink");
    if (stat !== undefined) this.#tell(path, symlinkFault(this.#walk.at(path), stat, entry));
  }

  #symlinks(entries: StoredEntries, list: RootList): void {
    for (const { path, target } of symlinksOf(entries, list)) {
      this.#verification.tick();
      if (target !== undefined) {
        this.#symlink(path, { target });
        continue;
      }
      const stat = this.#walk.look(path, "directory");
      if (stat !== undefined) this.#tell(path, directoryFault(stat, { mode: IMPLIED_MODE, mtime: undefined }));
    }
  }

  #tell(path: string, fault: Fault | undefined): void {
    if (fault !== undefined) this.#verification.tell({ path, ...fault });
  }
}
