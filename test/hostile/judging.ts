/**
 * The judge of archives that other programs wrote: what GNU tar extracts from the same tar. Type, content, link target, permissions,
 * time, and which names share an inode must be the same. Owns the source that the writers archive, and everything they write.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import type { Codec } from "../../src/oci/media-types.js";
import type { Entry } from "../../src/overlap/changeset.js";
import { padded } from "../support/tar-builder.js";
import { onDisk, unpackFile } from "../workers/unpacking.js";

export interface Bench {
  /** Runs in the bench's directory, where `source` holds one of everything that a layer may hold. */
  run(program: string, ...args: readonly string[]): Buffer;
  /** A new directory; all of them are removed after the suite. */
  directory(): string;
  judge(blob: string, layer?: { readonly codec?: Codec; readonly diffId?: string }): Promise<void>;
}

/** To be called in a suite, which it gives its hooks. */
export function bench(): Bench {
  let work: string;
  before(() => {
    work = mkdtempSync(join(tmpdir(), "judges-"));
    makeSource(join(work, "source"));
  });
  after(() => {
    // Who is not root removes nothing from a directory without its write bit.
    execFileSync("chmod", ["-R", "u+rwX", work]);
    rmSync(work, { recursive: true });
  });

  const directory = (): string => mkdtempSync(join(work, "made-"));
  const run: Bench["run"] = (program, ...args) =>
    execFileSync(program, args, {
      cwd: work,
      env: { ...process.env, TMPDIR: work, XDG_RUNTIME_DIR: work },
      maxBuffer: 1 << 28,
      stdio: ["ignore", "pipe", "ignore"],
    });

  const judge: Bench["judge"] = async (blob, { codec = "none", diffId } = {}) => {
    const [staging, expected] = [directory(), directory()];
    const { error, changeset, layer } = await unpackFile(blob, staging, { codec });
    assert.equal(error, undefined, `${error?.code}: ${error?.message}`);
    const bytes = codec === "none" ? readFileSync(blob) : run(inflaters[codec], "-dc", blob);
    assert.equal(layer?.diffId, `sha256:${createHash("sha256").update(bytes).digest("hex")}`);
    assert.equal(layer?.diffId, diffId ?? layer?.diffId);
    const tar = join(directory(), "layer.tar");
    // umoci leaves out the padding of the last content; GNU tar extracts that, and says that it failed.
    writeFileSync(tar, padded(bytes));
    run("tar", "-C", expected, "--numeric-owner", "--same-permissions", "--delay-directory-restore", "-xf", tar);
    const implied = new Set(changeset.filter(({ type }) => type === "implied").map(({ path }) => path));
    const tree = { ...facts(join(staging, "tree"), implied), ...marks(changeset) };
    assert.deepEqual(tree, facts(expected, implied));
  };
  return { run, directory, judge };
}

const inflaters = { gzip: "gzip", zstd: "zstd", xz: "xz" } as const;

/** One of everything that a layer may hold. */
function makeSource(top: string): void {
  mkdirSync(join(top, "empty dir"), { recursive: true });
  mkdirSync(join(top, "deep", ...Array<string>(12).fill("long-directory-name")), { recursive: true });
  const at = (name: string): Buffer => onDisk(top, name);
  writeFileSync(at("empty"), "");
  writeFileSync(at("a block"), "b".repeat(512));
  writeFileSync(at("large"), createHash("shake256", { outputLength: 300_000 }).digest(), { mode: 0o755 });
  writeFileSync(at(`deep/${"long-directory-name/".repeat(12)}file`), "deep");
  writeFileSync(at(`long-${"n".repeat(200)}`), "a long name");
  writeFileSync(at("gr\xc3\xbc\xc3\x9fe"), "UTF-8");
  writeFileSync(at("latin1-\xfc"), "no UTF-8");
  writeFileSync(at("new\nline \\ \x1b[m"), "odd");
  writeFileSync(at("setid"), "s");
  chmodSync(at("setid"), 0o6711);
  writeFileSync(at("secret"), "s", { mode: 0o600 });
  for (const name of ["linked", "empty dir/linked", `deep/long-${"l".repeat(150)}`]) linkSync(at("large"), at(name));
  linkSync(at("empty"), at("empty-linked"));
  symlinkSync("a block", at("symlink"));
  symlinkSync("/nowhere/at all", at("dangling"));
  symlinkSync(`../${"t".repeat(180)}`, at("long-symlink"));
  symlinkSync("\u65e5\u672c\u8a9e", at("symlink-without-ASCII"));
  linkSync(at("symlink"), at("symlink-linked"));
  for (const [name, mtime] of [
    ["empty", 0],
    ["a block", 1.5],
    ["secret", 2 ** 33 - 1],
    ["setid", 2 ** 32],
  ] as const)
    utimesSync(at(name), mtime, mtime);
  chmodSync(at("empty dir"), 0o555);
  utimesSync(at("empty dir"), 12_345, 12_345);
}

/** By path: what the store keeps of it. The directories in `implied` have no attributes of their own. */
function facts(top: string, implied: ReadonlySet<string>): Record<string, string> {
  const found: Record<string, string> = {};
  const firstName = new Map<number, string>();
  const walk = (below: string): void => {
    for (const name of readdirSync(onDisk(top, below), "latin1").sort()) {
      const path = below === "" ? name : `${below}/${name}`;
      const stat = lstatSync(onDisk(top, path));
      const mtime = Math.floor(stat.mtimeMs / 1000);
      if (name.startsWith(".wh.")) found[path] = "mark";
      else if (stat.isDirectory()) {
        found[path] = implied.has(path) ? "dir" : `dir ${(stat.mode & 0o777).toString(8)} ${mtime}`;
        walk(path);
      } else if (stat.isSymbolicLink()) found[path] = `symlink ${readlinkSync(onDisk(top, path), "latin1")} ${mtime}`;
      else {
        const content = createHash("sha256")
          .update(readFileSync(onDisk(top, path)))
          .digest("hex");
        const first = firstName.get(stat.ino) ?? path;
        firstName.set(stat.ino, first);
        found[path] = `file ${(stat.mode & 0o555).toString(8)} ${mtime} ${content} inode of ${first}`;
      }
    }
  };
  walk("");
  return found;
}

/** Whiteouts, which GNU tar takes for files, by the paths that it gives them. */
function marks(changeset: readonly Entry[]): Record<string, string> {
  const hidden = changeset
    .filter(({ type }) => type === "whiteout")
    .map(({ path }) => path.replace(/[^/]+$/, ".wh.$&"));
  const opaque = changeset.filter(({ type }) => type === "opaque").map(({ path }) => join(path, ".wh..wh..opq"));
  return Object.fromEntries([...hidden, ...opaque].map((path) => [path, "mark"]));
}
