/**
 * Writes one layer's tree: the only code that creates anything under a name that an archive chose.
 *
 * Every decision is made from the layer's index. Creation is exclusive and never follows a link; parents are directories of
 * this very layer. Files keep their mode without write bits, because every root shares their inodes (invariant 6).
 * Knows no policy: whiteouts and hard links whose target the layer lacks become data (invariant 8).
 */
import { createHash, type Hash, hash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  futimesSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { StrataError } from "../src/errors.js";
import type { ImageLimits } from "../src/limits.js";
import type { Entry } from "../src/overlap/changeset.js";
import { printableName } from "../src/printable.js";
import { diskPath } from "./disk-path.js";
import { type DirectoryNode, LayerIndex, type LeafNode } from "./layer-index.js";
import { IMPLIED_MODE, storedDirectoryMode, storedFileMode } from "./stored-mode.js";
import type { TarEntry, TarSink } from "./tar-guard.js";
import { parsePath } from "./tar-path.js";

const CREATE = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_WRONLY;
const PERMISSIONS = 0o777;
const SETID = 0o7000;
const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";

interface OpenFile {
  readonly leaf: LeafNode;
  readonly fd: number;
  readonly mode: number;
  readonly mtime: number;
  readonly size: number;
  /** Absent until the content turns out to come in more than one piece. */
  hash: Hash | undefined;
  sha256: string | undefined;
}

export interface TreeCounts {
  entries: number;
  files: number;
  bytes: number;
  whiteouts: number;
  unresolved: number;
  escapingSymlinks: number;
  readonly dropped: { setid: number; ownership: number; xattrs: number; aufs: number };
}

export class TreeWriter implements TarSink {
  readonly index: LayerIndex;
  readonly counts: TreeCounts = {
    entries: 0,
    files: 0,
    bytes: 0,
    whiteouts: 0,
    unresolved: 0,
    escapingSymlinks: 0,
    dropped: { setid: 0, ownership: 0, xattrs: 0, aufs: 0 },
  };
  readonly #tree: string;
  readonly #limits: ImageLimits;
  #file: OpenFile | undefined;
  /** Hard links to names that have not come yet: refused if they still come, data if they never do. */
  readonly #unresolved: (Entry & { type: "unresolved" })[] = [];

  /** `tree` is an empty directory of the caller's, in staging. */
  constructor(tree: string, limits: ImageLimits) {
    this.#tree = tree;
    this.#limits = limits;
    this.index = new LayerIndex(limits);
  }

  entry(entry: TarEntry): void {
    try {
      this.#add(entry);
    } catch (thrown) {
      throw thrown instanceof StrataError
        ? thrown.with({ entryIndex: entry.index, entryName: printableName(entry.name) })
        : thrown;
    }
    const { dropped } = this.counts;
    if (entry.mode & SETID) dropped.setid += 1;
    if (entry.owned) dropped.ownership += 1;
    dropped.xattrs += entry.xattrs;
  }

  data(piece: Buffer): void {
    const file = this.#file;
    if (file === undefined) return;
    if (piece.length === file.size) file.sha256 = hash("sha256", piece, "hex");
    else {
      file.hash ??= createHash("sha256");
      file.hash.update(piece);
    }
    for (let at = 0; at < piece.length; ) at += writeSync(file.fd, piece, at, piece.length - at);
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    const { leaf, fd, mode, mtime, size } = file;
    futimesSync(fd, mtime, mtime);
    closeSync(fd);
    const sha256 = file.sha256 ?? file.hash?.digest("hex") ?? EMPTY_SHA256;
    leaf.entry = { type: "file", path: leaf.path, mode, mtime, size, sha256 };
    this.counts.files += 1;
    this.counts.bytes += size;
  }

  /** All entries were given: checks what only the whole archive can tell, and sets the directories' modes and times. */
  finish(): void {
    for (const link of this.#unresolved) {
      if (this.index.get(link.target) !== undefined) {
        refuse("HARDLINK_TARGET", link.path, `its target ${printableName(link.target)} comes later in the archive`);
      }
    }
    this.counts.unresolved = this.#unresolved.length;
    this.counts.entries = this.index.size;
    const directories: DirectoryNode[] = [];
    for (const node of this.index.nodes()) if (node.kind === "dir") directories.push(node);
    for (const { path, attributes } of directories.reverse()) {
      const onDisk = this.#diskPath(path);
      const { mode, mtime } = attributes ?? { mode: IMPLIED_MODE, mtime: 0 };
      if (storedDirectoryMode(mode) !== IMPLIED_MODE) chmodSync(onDisk, storedDirectoryMode(mode));
      utimesSync(onDisk, mtime, mtime);
    }
  }

  /** After a refusal: nothing of an archive stays open. */
  abandon(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #add(entry: TarEntry): void {
    const path = parsePath(entry.name, this.#limits);
    if (path === "") {
      if (entry.type !== "dir") refuse("ROOT_TYPE", entry.name, `the image root is a ${entry.type}`);
      return;
    }
    const slash = path.lastIndexOf("/");
    if (path.startsWith(WHITEOUT, slash + 1)) {
      this.#whiteout(entry, path, path.slice(slash + 1));
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

  #directory(entry: TarEntry, path: string, parent: DirectoryNode): void {
    const isNew = this.index.declareDirectory(path, parent, { mode: entry.mode & PERMISSIONS, mtime: entry.mtime });
    if (isNew) this.#makeDirectory({ path });
  }

  /** Made with a mode that lets us fill it; the archive's comes in `finish`. */
  readonly #makeDirectory = ({ path }: { path: string }): void => {
    mkdirSync(this.#diskPath(path), IMPLIED_MODE);
  };

  #openFile(entry: TarEntry, path: string, parent: DirectoryNode): void {
    const leaf = this.index.addLeaf(path, parent);
    const fd = openSync(this.#diskPath(path), CREATE, storedFileMode(entry.mode));
    this.#file = {
      leaf,
      fd,
      mode: entry.mode & PERMISSIONS,
      mtime: entry.mtime,
      size: entry.size,
      hash: undefined,
      sha256: undefined,
    };
  }

  #symlink(entry: TarEntry, path: string, parent: DirectoryNode): void {
    const target = entry.linkName;
    if (target === "") refuse("BAD_NAME", path, "a symlink without a target");
    if (target.length > this.#limits.maxLinkBytes)
      refuse("BAD_LINK", path, `a link target longer than ${this.#limits.maxLinkBytes} bytes`);
    if (target.includes("\0")) refuse("BAD_LINK", path, "a link target with a NUL");
    this.index.addLeaf(path, parent, { type: "symlink", path, mtime: entry.mtime, target });
    const onDisk = this.#diskPath(path);
    symlinkSync(diskPath("", target), onDisk);
    lutimesSync(onDisk, entry.mtime, entry.mtime);
    if (escapes(path, target)) this.counts.escapingSymlinks += 1;
  }

  #hardlink(entry: TarEntry, path: string, parent: DirectoryNode): void {
    if (entry.linkName === "") refuse("BAD_NAME", path, "a hard link without a target");
    const target = hardlinkTarget(entry.linkName, path, this.#limits);
    this.#refuseLinkedAncestor(target, path);
    const known = this.index.get(target);
    if (known === undefined) {
      this.#addUnresolved(path, target, parent);
      return;
    }
    if (known.kind === "dir") refuse("HARDLINK_TARGET", path, `its target ${printableName(target)} is a directory`);
    const of = known.entry;
    if (of === undefined) throw new Error("a leaf without its entry, between entries");
    if (of.type === "unresolved") {
      this.#addUnresolved(path, of.target, parent);
      return;
    }
    this.index.addLeaf(
      path,
      parent,
      of.type === "symlink" ? { ...of, path } : { type: "hardlink", path, target: firstName(of, target) },
    );
    linkSync(this.#diskPath(target), this.#diskPath(path));
  }

  #addUnresolved(path: string, target: string, parent: DirectoryNode): void {
    const unresolved = { type: "unresolved", path, target } as const;
    this.index.addLeaf(path, parent, unresolved);
    this.#unresolved.push(unresolved);
  }

  /** A target below a symlink or a file of this layer would be found through it by a careless reader. */
  #refuseLinkedAncestor(target: string, path: string): void {
    for (let slash = target.indexOf("/"); slash !== -1; slash = target.indexOf("/", slash + 1)) {
      const above = target.slice(0, slash);
      if (this.index.get(above)?.kind === "leaf")
        refuse("HARDLINK_TARGET", path, `${printableName(above)} on the way to its target is no directory`);
    }
  }

  #whiteout(entry: TarEntry, path: string, base: string): void {
    if (base === WHITEOUT || base === ".wh.." || base === ".wh...")
      refuse("BAD_NAME", path, "a whiteout of nothing, `.` or `..`");
    if (entry.type !== "file" && entry.type !== "hardlink")
      refuse("ENTRY_TYPE", path, `a whiteout that is a ${entry.type}`);
    if (base !== OPAQUE && base.startsWith(".wh..wh.")) {
      this.counts.dropped.aufs += 1;
      return;
    }
    const above = path.slice(0, -base.length);
    if (base === OPAQUE) this.index.addMark({ type: "opaque", path: above.slice(0, -1) });
    else this.index.addMark({ type: "whiteout", path: above + base.slice(WHITEOUT.length) });
    this.counts.whiteouts += 1;
  }

  #diskPath(path: string): string | Buffer {
    return diskPath(`${this.#tree}/`, path);
  }
}

const EMPTY_SHA256 = hash("sha256", "", "hex");

/** Hard links in a chain all name the first: one hop is enough for who reads the changeset. */
const firstName = (of: Entry, target: string): string => (of.type === "hardlink" ? of.target : target);

function hardlinkTarget(linkName: string, path: string, limits: ImageLimits): string {
  let target: string;
  try {
    target = parsePath(linkName, limits);
  } catch {
    return refuse("HARDLINK_TARGET", path, `its target ${printableName(linkName)} is no path of this archive`);
  }
  if (target === path) refuse("HARDLINK_TARGET", path, "it is a link to itself");
  if (target === "") refuse("HARDLINK_TARGET", path, "its target is the image root");
  return target;
}

/** Whether a symlink points outside the image root when it is read where it stands. */
function escapes(path: string, target: string): boolean {
  if (target.startsWith("/")) return true;
  let depth = path.split("/").length - 1;
  for (const component of target.split("/")) {
    if (component === "..") depth -= 1;
    else if (component !== "" && component !== ".") depth += 1;
    if (depth < 0) return true;
  }
  return false;
}

type TreeCode = "BAD_NAME" | "BAD_LINK" | "ENTRY_TYPE" | "HARDLINK_TARGET" | "ROOT_TYPE";

function refuse(code: TreeCode, path: string, fact: string): never {
  throw new StrataError(code, `Cannot unpack ${printableName(path)}: ${fact}`);
}
