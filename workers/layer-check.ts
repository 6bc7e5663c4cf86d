/**
 * A layer against its changeset: every entry in its tree and nothing besides, and the further inodes of its files in the spill.
 */
import type { BigIntStats } from "node:fs";
import type { CheckedTree } from "../src/findings.js";
import type { Entry, FileEntry } from "../src/overlap/changeset.js";
import type { StoredEntries } from "./entries-file.js";
import { directoryFault, type Fault, fileFault, symlinkFault } from "./file-check.js";
import { checkSpill } from "./spill-check.js";
import { directoryAttributes, storedFileMode } from "./stored-mode.js";
import { TreeWalk } from "./tree-walk.js";
import { inodeKey, type Verification } from "./verification.js";

type HardLink = Entry & { readonly type: "hardlink" };

export class LayerCheck {
  readonly #verification: Verification;
  readonly #checked: CheckedTree & { readonly kind: "layer" };
  readonly #walk: TreeWalk;
  readonly #links: { readonly link: HardLink; readonly inode: string }[] = [];

  /** `tree` is the descriptor of the tree's top; it stays the caller's. */
  constructor(verification: Verification, tree: number, checked: CheckedTree & { readonly kind: "layer" }) {
    this.#verification = verification;
    this.#checked = checked;
    this.#walk = new TreeWalk(tree, (finding) => verification.tell(finding));
  }

  run(): void {
    const { changeset } = this.#checked;
    const { extent } = this.#verification;
    try {
      this.#verification.through(changeset, true, (entries) => {
        if (extent === "documents") return;
        if (typeof extent === "object") this.#readPart(entries, extent);
        else this.#whole(entries);
      });
    } finally {
      this.#walk.close();
    }
  }

  #whole(entries: StoredEntries): void {
    for (const entry of entries.unplanned()) {
      this.#verification.tick();
      this.#entry(entry);
    }
    this.#walk.finish();
    this.#splitLinks(entries);
    checkSpill(this.#checked.spill, entries, {
      tell: (finding) => this.#verification.tell(finding),
      judge: (at, stat, entry) => this.#fault(at, stat, entry),
    });
  }

  #entry(entry: Entry): void {
    const { path } = entry;
    switch (entry.type) {
      case "dir":
      case "implied": {
        const stat = this.#walk.look(path, "directory");
        if (stat !== undefined) this.#tell(path, directoryFault(stat, directoryAttributes(entry)));
        return;
      }
      case "file":
        this.#file(entry);
        return;
      case "hardlink": {
        const stat = this.#walk.look(path, "file");
        if (stat !== undefined) this.#links.push({ link: entry, inode: inodeKey(stat) });
        return;
      }
      case "symlink":
        this.#symlink(entry);
        return;
      case "unresolved":
      case "whiteout":
      case "opaque":
        return; // data, and nothing in the tree
    }
  }

  #file(entry: FileEntry): void {
    const { path } = entry;
    const stat = this.#walk.look(path, "file");
    if (stat !== undefined) this.#tell(path, this.#fault(this.#walk.at(path), stat, entry), stat);
  }

  #symlink(entry: Entry & { readonly type: "symlink" }): void {
    const { path } = entry;
    const stat = this.#walk.look(path, "symlink");
    if (stat !== undefined) this.#tell(path, symlinkFault(this.#walk.at(path), stat, entry));
  }

  #fault(at: string | Buffer, stat: BigIntStats, entry: FileEntry): Fault | undefined {
    const { extent, reader } = this.#verification;
    const stored = { ...entry, mode: storedFileMode(entry.mode) };
    return fileFault(at, stat, stored, extent === "attributes" ? undefined : reader);
  }

  /** Names that are another inode than their first: the file system had no more links, or somebody put them there. */
  #splitLinks(entries: StoredEntries): void {
    const split = new Map<string, string[]>();
    for (const { link, inode } of this.#links)
      if (this.#inodeAt(link.target) !== inode) split.set(link.target, [...(split.get(link.target) ?? []), link.path]);
    if (split.size === 0) return;
    for (const entry of entries.unplanned())
      for (const path of (entry.type === "file" ? split.get(entry.path) : undefined) ?? [])
        this.#splitLink(entry as FileEntry, path);
  }

  #splitLink(entry: FileEntry, path: string): void {
    const stat = this.#walk.again(path);
    if (stat?.isFile()) this.#tell(path, this.#fault(this.#walk.at(path), stat, entry), stat);
  }

  /** Contents alone: names and attributes are not read a little at a time. */
  #readPart(entries: StoredEntries, { index, of }: { readonly index: number; readonly of: number }): void {
    for (const entry of entries.unplanned(index, of)) {
      this.#verification.tick();
      if (entry.type !== "file") continue;
      const stat = this.#walk.again(entry.path);
      if (stat?.isFile()) this.#tell(entry.path, this.#fault(this.#walk.at(entry.path), stat, entry), stat);
    }
  }

  #inodeAt(path: string): string | undefined {
    const stat = this.#walk.again(path);
    return stat === undefined ? undefined : inodeKey(stat);
  }

  #tell(path: string, fault: Fault | undefined, stat?: BigIntStats): void {
    if (fault === undefined) return;
    this.#verification.tell({ path, ...fault, ...(stat === undefined ? {} : { inode: inodeKey(stat) }) });
  }
}
