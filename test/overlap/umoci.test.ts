/**
 * Random images, and some by hand, unpacked by umoci and planned under policy a: the same tree, path for path, with the same
 * content, modes, link targets, and the same names for one inode.
 *
 * Archives have their whiteouts before what stands beside them, as image-spec asks of who writes them. Where umoci 0.4 refuses an
 * image, one of the reasons below has to be its own.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { hash } from "node:crypto";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import fc from "fast-check";
import {
  baseName,
  type Changeset,
  type Entry,
  isDirectory,
  isWhiteout,
  parentPath,
  type RootEntry,
} from "../../src/overlap/changeset.js";
import type { RootPlan } from "../../src/overlap/plan-root.js";
import { writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { directory, file, hardlink, symlink, tar } from "../support/tar-builder.js";
import { toolOrSkip } from "../support/tools.js";
import { onDisk, withUnpacked } from "../workers/unpacking.js";
import { stackedLayers } from "./arbitrary-layers.js";
import { contentOf, planOf } from "./planning.js";

const umoci = toolOrSkip("umoci");
const RANDOM_IMAGES = 60;

/** What umoci 0.4 says of images that policy a can plan. */
const knownRefusals: readonly RegExp[] = [
  // An entry below what is a file in a lower layer: umoci 0.6 replaces the file, and so do we.
  /mkdir parent: .*: not a directory$/,
  // An entry below a symlink that leads in a circle: it replaces the symlink.
  /sanitise symlinks in root: .*: too many levels of symbolic links$/,
  // A hard link to what its own layer hides or replaces: it names what was there before.
  /: link: (no such file or directory|not a directory|operation not permitted)$/,
];

suite("umoci unpack", { skip: umoci.skip }, () => {
  let work: string;
  const umask = process.umask(0o022);
  before(() => {
    work = mkdtempSync(join(tmpdir(), "umoci-"));
  });
  after(() => {
    process.umask(umask);
    rmSync(work, { recursive: true, force: true });
  });

  test(`${RANDOM_IMAGES} random images: the tree that policy a plans`, async () => {
    const seen = { same: 0, refused: 0 };
    const images = stackedLayers.filter((layers) => !layers.some(hidesThroughItself));
    for (const layers of fc.sample(images, { seed: 20_260_203, numRuns: RANDOM_IMAGES })) {
      const { planned, unpacked, refusal } = await judge(layers.map(archiveOf));
      const told = JSON.stringify(layers);
      if (refusal === undefined) assert.deepEqual(planned, unpacked, told);
      else
        assert.ok(planned === undefined || knownRefusals.some((known) => known.test(refusal)), `${refusal}: ${told}`);
      seen[refusal === undefined ? "same" : "refused"] += 1;
    }
    assert.ok(seen.same > RANDOM_IMAGES / 2, JSON.stringify(seen));
  });

  const byHand: readonly [title: string, ...layers: (readonly Buffer[])[]][] = [
    [
      "a usrmerge symlink that an upper layer installs through, and deletes through",
      [
        directory("usr/"),
        directory("usr/lib/"),
        file("usr/lib/a", "a"),
        file("usr/lib/b", "b"),
        symlink("lib", "usr/lib"),
      ],
      [file("lib/.wh.a"), file("lib/c", "c"), directory("lib/d/", { mode: 0o700 }), file("lib/d/e", "e")],
      [file("lib/d/f", "f"), directory("usr/lib/d/", { mode: 0o711 })],
    ],
    [
      "a directory over that symlink",
      [directory("usr/"), file("usr/a", "a"), symlink("lib", "/usr")],
      [directory("lib/"), file("lib/.wh.a"), file("lib/b", "b")],
    ],
    [
      "directories replaced by files, and files by directories",
      [directory("d/"), file("d/a", "a"), file("f", "f"), symlink("s", "d")],
      [file("d", "d"), directory("f/"), file("f/b", "b"), directory("s/"), file("s/c", "c")],
      [directory("d/"), symlink("f", "d"), file("s", "s")],
    ],
    [
      "opaque directories, one of them with contents of its own",
      [directory("a/", { mode: 0o700 }), file("a/x", "x"), directory("b/"), directory("b/c/"), file("b/c/x", "x")],
      [
        file("a/.wh..wh..opq"),
        directory("b/", { mode: 0o711 }),
        file("b/.wh..wh..opq"),
        directory("b/c/"),
        file("b/c/y", "y"),
      ],
    ],
    [
      "a directory deleted, then made again by the next layer",
      [directory("d/", { mode: 0o700 }), file("d/a", "a"), file("e", "e")],
      [file(".wh.d"), file(".wh.e")],
      [file("d/b", "b")],
    ],
    [
      "hard links into lower layers, whose first names then change",
      [
        file("f", "f", { mode: 0o640 }),
        hardlink("g", "f"),
        symlink("s", "f"),
        directory("d/"),
        symlink("e", "/d"),
        file("d/x", "x"),
      ],
      [hardlink("h", "f"), hardlink("i", "s"), hardlink("j", "e/x")],
      [file(".wh.f"), file("g", "new"), hardlink("k", "h")],
    ],
    [
      "one layer twice, with another between",
      [directory("d/"), file("d/a", "a"), file(".wh.b")],
      [file("d/a", "other"), file("b", "b")],
      [directory("d/"), file("d/a", "a"), file(".wh.b")],
    ],
    [
      "files where directories were, and below them the whiteouts that umoci repack writes of what these held",
      [directory("d/"), directory("d/e/"), file("d/e/a", "a"), file("d/b", "b"), directory("f/"), file("f/a", "a")],
      [file("d", "d"), file("d/.wh.b"), file("d/.wh.e"), symlink("f", "g"), file("f/.wh.a")],
    ],
  ];
  for (const [title, ...layers] of byHand) {
    test(`${title}: the tree that policy a plans`, async () => {
      const { planned, unpacked, refusal } = await judge(layers.map((parts) => tar(...parts)));
      assert.equal(refusal, undefined);
      assert.deepEqual(planned, unpacked);
    });
  }

  interface Judged {
    /** Undefined where policy a refuses the image. */
    readonly planned: Described | undefined;
    readonly unpacked: Described;
    /** Umoci's last line where it failed. */
    readonly refusal?: string;
  }

  async function judge(archives: readonly Buffer[]): Promise<Judged> {
    const changesets: Changeset[] = [];
    for (const archive of archives) {
      const changeset = await withUnpacked(archive, {}, ({ error, changeset }) => {
        assert.equal(error, undefined, error?.message);
        return changeset;
      });
      changesets.push(changeset);
    }
    const result = planOf(changesets, "a");
    const planned = result.ok ? describePlan(result.plan) : undefined;
    const layout = mkdtempSync(join(work, "image-"));
    await writeLayout(layout, { judged: buildImage(archives, { codec: "none" }) });
    const root = join(layout, "root");
    const rootless = process.getuid?.() === 0 ? [] : ["--rootless"];
    const { status, stderr } = spawnSync(
      umoci.path as string,
      ["raw", "unpack", ...rootless, "--image", `${layout}:judged`, root],
      {
        encoding: "utf8",
      },
    );
    if (status !== 0) return { planned, unpacked: {}, refusal: stderr.trim().split("\n").at(-1) ?? "" };
    return { planned, unpacked: describeTree(root) };
  }
});

/** Umoci applies a whiteout below a layer's own symlink to where that leads, unlike an author who put the symlink in a directory's place. */
function hidesThroughItself(changeset: Changeset): boolean {
  const marks = changeset.filter(isWhiteout).map(({ type, path }) => (type === "opaque" ? `${path}/` : path));
  return changeset.some(
    (entry) => !isWhiteout(entry) && !isDirectory(entry) && marks.some((mark) => mark.startsWith(`${entry.path}/`)),
  );
}

/**
 * In the changeset's order, but a hard link not before its file; whiteouts behind the directories that their layer declares above
 * them, and the shallow ones before the others.
 */
function archiveOf(changeset: Changeset): Buffer {
  const ordered: Entry[] = [];
  for (const entry of changeset) {
    if (isWhiteout(entry) || entry.type === "implied" || ordered.includes(entry)) continue;
    if (entry.type === "hardlink" && !ordered.some(({ path }) => path === entry.target))
      ordered.push(changeset.find(({ path }) => path === entry.target) as Entry);
    ordered.push(entry);
  }
  const inside = ({ type, path }: Entry): string => (type === "opaque" ? `${path}/` : path);
  const depth = (mark: Entry): number => inside(mark).split("/").length;
  for (const mark of changeset.filter(isWhiteout).toSorted((a, b) => depth(b) - depth(a))) {
    const above = ordered.findLastIndex(({ type, path }) => type === "dir" && inside(mark).startsWith(`${path}/`));
    ordered.splice(above + 1, 0, mark);
  }
  return tar(...ordered.map(memberOf));
}

function memberOf(entry: Entry): Buffer {
  const { type, path } = entry;
  switch (type) {
    case "dir":
      return directory(`${path}/`, { mode: entry.mode });
    case "file":
      return file(path, entry.size === 0 ? "" : contentOf(entry), { mode: entry.mode });
    case "symlink":
      return symlink(path, entry.target);
    case "hardlink":
    case "unresolved":
      return hardlink(path, entry.target);
    case "whiteout":
      return file(`${parentPath(path)}/.wh.${baseName(path)}`);
    case "opaque":
      return file(`${path}/.wh..wh..opq`);
    case "implied":
      throw new Error("an archive has no entry for it");
  }
}

/** By path what stands there; for a file its content's hash and all names of its inode. */
type Described = Readonly<Record<string, string>>;

interface DescribedFile {
  readonly path: string;
  readonly inode: string | number;
  readonly text: string;
}

function withNames(found: Record<string, string>, files: readonly DescribedFile[]): Described {
  for (const { path, inode, text } of files) {
    const names = files.filter((each) => each.inode === inode).map((each) => each.path);
    found[path] = `${text}, which is ${names.sort().join(" = ")}`;
  }
  return found;
}

function describePlan(plan: RootPlan): Described {
  const byPath = new Map(plan.map(({ entry }) => [entry.path, entry]));
  const found: Record<string, string> = {};
  const files: DescribedFile[] = [];
  for (const { entry } of plan) {
    const { path } = entry;
    if (entry.type === "dir") found[path] = `directory ${entry.mode.toString(8)}`;
    else if (entry.type === "implied") found[path] = "directory 755";
    else if (entry.type === "symlink") found[path] = `symlink to ${entry.target} at ${entry.mtime}`;
    else {
      const inode = entry.type === "hardlink" ? entry.target : path;
      const { mode, mtime, sha256 } = byPath.get(inode) as RootEntry & { type: "file" };
      files.push({ path, inode, text: `file ${mode.toString(8)} ${sha256} at ${mtime}` });
    }
  }
  return withNames(found, files);
}

function describeTree(top: string): Described {
  const found: Record<string, string> = {};
  const files: DescribedFile[] = [];
  const walk = (below: string): void => {
    for (const name of readdirSync(onDisk(top, below), "latin1")) {
      const path = below === "" ? name : `${below}/${name}`;
      const stat = lstatSync(onDisk(top, path));
      const mode = (stat.mode & 0o777).toString(8);
      const mtime = stat.mtimeMs / 1000;
      if (stat.isDirectory()) {
        found[path] = `directory ${mode}`;
        walk(path);
      } else if (stat.isSymbolicLink())
        found[path] = `symlink to ${readlinkSync(onDisk(top, path), "latin1")} at ${mtime}`;
      else {
        const content = hash("sha256", readFileSync(onDisk(top, path)), "hex");
        files.push({ path, inode: stat.ino, text: `file ${mode} ${content} at ${mtime}` });
      }
    }
  };
  walk("");
  return withNames(found, files);
}
