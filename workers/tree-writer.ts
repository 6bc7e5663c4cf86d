/**
 * Writes one layer's tree: the only code that creates anything under a name that an archive chose.
 *
 * Every decision is made from the layer's index. Creation is exclusive and never follows a link; parents are directories of
 * this very layer, held open: whoever swaps one for a symlink moves no write (open-directories.ts). Files keep their mode without write bits, because every root shares their inodes (invariant 6).
 * Knows no policy: whiteouts and hard links whose target the layer lacks become data (invariant 8).
 */
import { fchmodSync, linkSync, lutimesSync, mkdirSync, symlinkSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { ImageLimits } from "../src/limits.js";
import type { Entry, FileEntry } from "../src/overlap/changeset.js";
import type { Folding } from "../src/overlap/name-folding.js";
import { printableName } from "../src/printable.js";
import { copyInode } from "./copy-inode.js";
import { diskPath } from "./disk-path.js";
import type { FileObjects } from "./file-objects.js";
import { LargeFile } from "./large-file.js";
import { escapes, firstName, hardlinkTarget } from "./link-target.js";
import { OpenDirectories } from "./open-directories.js";
import { refuseEntry as refuse } from "./refuse-entry.js";
import { type ReservedName, reservedName } from "./reserved-name.js";
import type { NewFile, WrittenFile } from "./small-file.js";
import { IMPLIED_MODE, storedDirectoryMode, storedFileMode } from "./stored-mode.js";
import type { TarEntry, TarSink } from "./tar-entry.js";
import { type DirectoryNode, type LeafNode, naming, TarIndex } from "./tar-index.js";
import { parsePath } from "./tar-path.js";
import type { WriteBehind } from "./write-behind.js";

const PERMISSIONS = 0o777;
const SETID = 0o7000;

/** Where the content of the entry that is being read goes: into a batch, or straight to a file that is too large for one. */
type OpenFile =
  | { readonly kind: "batched" }
  | { readonly kind: "direct"; readonly leaf: LeafNode; readonly entry: FileEntry; readonly file: LargeFile };

export interface TreeCounts {
  entries: number;
  files: number;
  bytes: number;
  whiteouts: number;
  unresolved: number;
  escapingSymlinks: number;
  /** Files that became another inode, since the file system had no more links for one. */
  splitLinks: number;
  /** Files that became links to what the store had, and their bytes. */
  sharedFiles: number;
  sharedFileBytes: number;
  readonly dropped: { setid: number; ownership: number; xattrs: number; aufs: number };
}

export interface TreeWriterOptions {
  readonly limits: ImageLimits;
  readonly folding?: Folding | undefined;
  readonly behind: WriteBehind;
  /** What earlier layers have; absent: every file is written. */
  readonly objects?: FileObjects | undefined;
  readonly tick: () => void;
}

export class TreeWriter implements TarSink {
  readonly index: TarIndex;
  readonly counts: TreeCounts = {
    entries: 0,
    files: 0,
    bytes: 0,
    whiteouts: 0,
    unresolved: 0,
    escapingSymlinks: 0,
    splitLinks: 0,
    sharedFiles: 0,
    sharedFileBytes: 0,
    dropped: { setid: 0, ownership: 0, xattrs: 0, aufs: 0 },
  };
  readonly #limits: ImageLimits;
  readonly #directories: OpenDirectories;
  /** Where hard links lead: another place of the same tree. */
  readonly #targets: OpenDirectories;
  readonly #behind: WriteBehind;
  readonly #objects: FileObjects | undefined;
  #file: OpenFile | undefined;
  /** Made last: what they link to may still be on its way to the disk. */
  readonly #links: { readonly path: string; readonly target: string }[] = [];
  /** Files that have no link left, and their last copy. */
  readonly #fullTargets = new Map<string, string>();
  readonly #tick: () => void;
  /** Hard links to names that have not come yet: refused if they still come, data if they never do. */
  readonly #unresolved: { readonly link: Entry & { type: "unresolved" }; readonly from: TarEntry }[] = [];

  /**
   * `tree` is the descriptor of an empty directory of the caller's, in staging; the caller closes it after `finish` or `abandon`.
   * `behind` is open for that tree, and is left empty; `tick` is called for whatever takes time when the archive is read.
   */
  constructor(tree: number, { limits, folding, behind, objects, tick }: TreeWriterOptions) {
    this.#directories = new OpenDirectories(tree);
    this.#targets = new OpenDirectories(tree);
    this.#limits = limits;
    this.#behind = behind;
    this.#tick = tick;
    this.#objects = objects;
    this.index = new TarIndex(limits, folding);
  }

  entry(entry: TarEntry): void {
    naming(entry, () => this.#add(entry));
    const { dropped } = this.counts;
    if (entry.mode & SETID) dropped.setid += 1;
    if (entry.owned) dropped.ownership += 1;
    dropped.xattrs += entry.xattrs;
  }

  data(piece: Buffer): void {
    const open = this.#file;
    if (open?.kind === "batched") this.#behind.append(piece);
    else open?.file.append(piece);
  }

  end(): void {
    const open = this.#file;
    this.#file = undefined;
    if (open?.kind !== "direct") return;
    const { leaf, entry, file } = open;
    this.#written(leaf, entry, file.finish(this.#directories.at(leaf.path), this.#objects));
  }

  #written(leaf: LeafNode, entry: FileEntry, { sha256, isShared }: WrittenFile): void {
    leaf.entry = { ...entry, sha256 };
    if (!isShared) return;
    this.counts.sharedFiles += 1;
    this.counts.sharedFileBytes += entry.size;
  }

  /** All entries were given: checks what only the whole archive can tell, and sets the directories' modes and times. */
  finish(): void {
    for (const { link, from } of this.#unresolved) naming(from, () => this.#refuseResolved(link));
    this.#behind.flush();
    for (const link of this.#links) {
      this.#tick();
      this.#link(link);
    }
    this.counts.unresolved = this.#unresolved.length;
    this.counts.entries = this.index.size;
    const directories: DirectoryNode[] = [];
    for (const node of this.index.nodes()) if (node.kind === "dir") directories.push(node);
    for (const { path, attributes } of directories.reverse()) {
      this.#tick();
      const { mode, mtime } = attributes ?? { mode: IMPLIED_MODE, mtime: 0 };
      if (mode !== IMPLIED_MODE) fchmodSync(this.#directories.descriptorOf(path), storedDirectoryMode(mode));
      // By its name: most directories hold none, and need not be opened for this.
      lutimesSync(this.#directories.at(path), mtime, mtime);
    }
    this.#closeDirectories();
  }

  /** A file that has all the links that the file system gives one goes on as a copy, which the next links are to. */
  #link({ path, target }: { readonly path: string; readonly target: string }): void {
    const from = this.#targets.at(this.#fullTargets.get(target) ?? target);
    const to = this.#directories.at(path);
    try {
      linkSync(from, to);
    } catch (error) {
      if (systemErrorCode(error) !== "EMLINK") throw error;
      copyInode(from, to);
      this.#fullTargets.set(target, path);
      this.counts.splitLinks += 1;
    }
  }

  /** After a refusal: nothing of an archive stays open. */
  abandon(): void {
    if (this.#file?.kind === "direct") this.#file.file.abandon();
    this.#file = undefined;
    this.#behind.discard();
    this.#closeDirectories();
  }

  #closeDirectories(): void {
    this.#directories.close();
    this.#targets.close();
  }

  #add(entry: TarEntry): void {
    const path = parsePath(entry.name, this.#limits);
    if (path === "") {
      if (entry.type !== "dir") refuse("ROOT_TYPE", entry.name, `the image root is a ${entry.type}`);
      return;
    }
    const reserved = reservedName(path);
    if (reserved !== undefined) {
      this.#reserved(entry, path, reserved);
      return;
    }
    const parent = this.index.parentOf(path, this.#makeDirectory);
    switch (entry.type) {
      case "dir":
        this.#directory(entry, path, parent);
        return;
      case "file":
        this.#openFile(entry, path, parent);
        return;
      case "symlink":
        this.#symlink(entry, path, parent);
        return;
      case "hardlink":
        this.#hardlink(entry, path, parent);
        return;
    }
  }

  #refuseResolved({ path, target }: Entry & { type: "unresolved" }): void {
    this.#refuseLinkedAncestor(target, path);
    if (this.index.get(target) !== undefined)
      refuse("HARDLINK_TARGET", path, `its target ${printableName(target)} comes later in the archive`);
  }

  #directory(entry: TarEntry, path: string, parent: DirectoryNode): void {
    const isNew = this.index.declareDirectory(path, parent, { mode: entry.mode & PERMISSIONS, mtime: entry.mtime });
    if (isNew) this.#makeDirectory({ path });
  }

  /** Made with a mode that lets us fill it; the archive's comes in `finish`. */
  readonly #makeDirectory = ({ path }: { path: string }): void => {
    mkdirSync(this.#directories.at(path), IMPLIED_MODE);
  };

  #openFile({ mode, mtime, size }: TarEntry, path: string, parent: DirectoryNode): void {
    const entry: FileEntry = { type: "file", path, mode: mode & PERMISSIONS, mtime, size, sha256: "" };
    const leaf = this.index.addLeaf(path, parent, entry);
    this.counts.files += 1;
    this.counts.bytes += size;
    const file: NewFile = { path, mode: storedFileMode(mode), mtime, size };
    if (this.#behind.takes(size)) {
      this.#file = { kind: "batched" };
      this.#behind.add(file, (written) => this.#written(leaf, entry, written));
    } else {
      this.#file = { kind: "direct", leaf, entry, file: new LargeFile(this.#directories.at(path), file) };
    }
  }

  #symlink(entry: TarEntry, path: string, parent: DirectoryNode): void {
    const target = entry.linkName;
    if (target === "") refuse("BAD_NAME", path, "a symlink without a target");
    if (target.length > this.#limits.maxLinkBytes)
      refuse("BAD_LINK", path, `a link target longer than ${this.#limits.maxLinkBytes} bytes`);
    if (target.includes("\0")) refuse("BAD_LINK", path, "a link target with a NUL");
    this.index.addLeaf(path, parent, { type: "symlink", path, mtime: entry.mtime, target });
    const onDisk = this.#directories.at(path);
    symlinkSync(diskPath("", target), onDisk);
    lutimesSync(onDisk, entry.mtime, entry.mtime);
    if (escapes(path, target)) this.counts.escapingSymlinks += 1;
  }

  #hardlink(from: TarEntry, path: string, parent: DirectoryNode): void {
    const { linkName } = from;
    if (linkName === "") refuse("BAD_NAME", path, "a hard link without a target");
    const target = hardlinkTarget(linkName, path, this.#limits);
    this.#refuseLinkedAncestor(target, path);
    const known = this.index.get(target);
    if (known === undefined) {
      this.#addUnresolved(from, { type: "unresolved", path, target }, parent);
      return;
    }
    if (known.kind === "dir") refuse("HARDLINK_TARGET", path, `its target ${printableName(target)} is a directory`);
    const of = known.entry;
    if (of.type === "unresolved") {
      this.#addUnresolved(from, { ...of, path }, parent);
      return;
    }
    const entry: Entry =
      of.type === "symlink" ? { ...of, path } : { type: "hardlink", path, target: firstName(of, target) };
    this.index.addLeaf(path, parent, entry);
    this.#links.push({ path, target });
  }

  #addUnresolved(from: TarEntry, link: Entry & { type: "unresolved" }, parent: DirectoryNode): void {
    this.index.addLeaf(link.path, parent, link);
    this.#unresolved.push({ link, from });
  }

  /** A target below a symlink or a file of this layer would be found through it by a careless reader. */
  #refuseLinkedAncestor(target: string, path: string): void {
    const above = this.index.leafAbove(target);
    if (above !== undefined)
      refuse("HARDLINK_TARGET", path, `${printableName(above)} on the way to its target is no directory`);
  }

  #reserved({ type }: TarEntry, path: string, reserved: ReservedName): void {
    switch (reserved.kind) {
      case "aufs":
        this.counts.dropped.aufs += 1;
        return;
      case "directory":
        refuse("ENTRY_TYPE", path, `the whiteout ${printableName(reserved.name)} is a directory`);
        return;
      case "nothing":
        refuse("BAD_NAME", path, "a whiteout of nothing, `.` or `..`");
        return;
      case "whiteout":
        if (type !== "file" && type !== "hardlink") refuse("ENTRY_TYPE", path, `a whiteout that is a ${type}`);
        this.index.addMark(reserved.mark);
        this.counts.whiteouts += 1;
        return;
    }
  }
}
