/**
 * Archives that other programs wrote, judged by what GNU tar extracts from the same bytes: type, content, link target,
 * permissions, time, and which names share an inode.
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
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { toolOrSkip } from "../support/tools.js";
import { onDisk, unpackFile } from "../workers/unpacking.js";

const tar = toolOrSkip("tar");
const bsdtar = toolOrSkip("bsdtar");
const python = toolOrSkip("python3");
const npm = toolOrSkip("npm");
const dpkgDeb = toolOrSkip("dpkg-deb");

suite("archives of other writers", { skip: tar.skip }, () => {
  let work: string;
  before(() => {
    work = mkdtempSync(join(tmpdir(), "judges-"));
    makeSource(join(work, "source"));
  });
  after(() => rmSync(work, { recursive: true, force: true }));

  const run = (program: string, ...args: string[]): Buffer =>
    execFileSync(program, args, { maxBuffer: 1 << 28, cwd: work, stdio: ["ignore", "pipe", "ignore"] });

  interface Writer {
    readonly title: string;
    readonly skip: string | false;
    readonly write: (archive: string) => void;
  }
  const gnu = (...options: string[]): Writer => ({
    title: `GNU tar ${options.join(" ")}`,
    skip: tar.skip,
    write: (archive) => run("tar", "-C", "source", ...options, "-cf", archive, "."),
  });
  const bsd = (format: string): Writer => ({
    title: `bsdtar --format ${format}`,
    skip: bsdtar.skip,
    write: (archive) => run("bsdtar", "-C", "source", "--format", format, "-cf", archive, "."),
  });
  const PYTHON =
    "import sys, tarfile; t = tarfile.open(sys.argv[1], 'w', format=int(sys.argv[2])); t.add('source', arcname=sys.argv[3], filter=lambda m: None if 'long' in m.name + m.linkname and sys.argv[2] == '0' else m); t.close()";
  const py = (format: string, number: number, top: string): Writer => ({
    title: `Python tarfile ${format} below ${JSON.stringify(top)}`,
    skip: python.skip,
    write: (archive) => run("python3", "-c", PYTHON, archive, String(number), top),
  });
  const long = ["--exclude=*long*"];
  const writers: readonly Writer[] = [
    gnu("--format=gnu"),
    gnu("--format=pax"),
    gnu("--format=posix", "--pax-option=delete=atime,delete=ctime"),
    gnu("--format=ustar", ...long),
    gnu("--format=gnu", "--hard-dereference"),
    gnu("--format=pax", "--sort=name", "--numeric-owner", "--xattrs"),
    gnu("--format=gnu", "--owner=somebody:3000000", "--mtime=@0"),
    gnu("--format=gnu", "--no-recursion", "--null", "--files-from=/dev/null"),
    bsd("pax"),
    bsd("gnutar"),
    py("ustar", 0, "."),
    py("GNU", 1, "."),
    py("PAX", 2, "below"),
  ];
  for (const { title, skip, write } of writers) {
    test(`${title}: the tree that GNU tar extracts`, { skip }, async () => {
      const archive = join(mkdtempSync(join(work, "archive-")), "layer.tar");
      write(archive);
      await judge(archive);
    });
  }

  for (const format of ["gnu", "posix"]) {
    test(`GNU tar --sparse --format=${format} is refused: TAR_SPARSE`, async () => {
      const directory = mkdtempSync(join(work, "sparse-"));
      writeFileSync(join(directory, "holes"), "x");
      truncateSync(join(directory, "holes"), 1 << 20);
      run("tar", "-C", directory, "--sparse", `--format=${format}`, "-cf", `${directory}.tar`, ".");
      const staging = mkdtempSync(join(work, "staging-"));
      assert.equal((await unpackFile(`${directory}.tar`, staging, {})).error?.code, "TAR_SPARSE");
    });
  }

  test("npm pack: the tree that GNU tar extracts", { skip: npm.skip }, async () => {
    const directory = mkdtempSync(join(work, "package-"));
    writeFileSync(join(directory, "package.json"), JSON.stringify({ name: "judged", version: "1.0.0", bin: "run.js" }));
    writeFileSync(join(directory, "run.js"), "#!/usr/bin/env node\n", { mode: 0o755 });
    writeFileSync(join(directory, `${"n".repeat(120)}.txt`), "a long name");
    run("npm", "pack", "--silent", "--offline", "--pack-destination", directory, directory);
    await judge(join(directory, "judged-1.0.0.tgz"), "gzip");
  });

  test("dpkg-deb --fsys-tarfile: the tree that GNU tar extracts", { skip: dpkgDeb.skip }, async () => {
    const directory = mkdtempSync(join(work, "deb-"));
    mkdirSync(join(directory, "root/DEBIAN"), { recursive: true });
    writeFileSync(
      join(directory, "root/DEBIAN/control"),
      "Package: judged\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n",
    );
    mkdirSync(join(directory, "root/usr"));
    execFileSync("cp", ["-a", join(work, "source"), join(directory, "root/usr/share")]);
    // A name that dpkg-deb refuses.
    rmSync(join(directory, "root/usr/share/new\nline \\ \x1b[m"));
    run("dpkg-deb", "--root-owner-group", "-b", join(directory, "root"), join(directory, "judged.deb"));
    writeFileSync(join(directory, "fsys.tar"), run("dpkg-deb", "--fsys-tarfile", join(directory, "judged.deb")));
    await judge(join(directory, "fsys.tar"));
  });

  async function judge(archive: string, codec: "none" | "gzip" = "none"): Promise<void> {
    const staging = mkdtempSync(join(work, "staging-"));
    const expected = mkdtempSync(join(work, "expected-"));
    const { error, changeset } = await unpackFile(archive, staging, { codec });
    assert.equal(error, undefined, `${error?.code}: ${error?.message}`);
    run("tar", "-C", expected, "--numeric-owner", "--same-permissions", "--delay-directory-restore", "-xf", archive);
    const implied = new Set(changeset.filter(({ type }) => type === "implied").map(({ path }) => path));
    assert.deepEqual(facts(join(staging, "tree"), implied), facts(expected, implied));
  }
});

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
      if (stat.isDirectory()) {
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
  assert.ok(statSync(top).isDirectory());
  return found;
}
