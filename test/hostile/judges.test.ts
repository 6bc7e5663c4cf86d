/**
 * Archives as programs that write tars write them: the tree is the one that GNU tar extracts from the same bytes.
 */
import assert from "node:assert/strict";
import { mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { toolOrSkip } from "../support/tools.js";
import { unpackFile } from "../workers/unpacking.js";
import { bench } from "./judging.js";

const tar = toolOrSkip("tar");
const bsdtar = toolOrSkip("bsdtar");
const busybox = toolOrSkip("busybox");
const python = toolOrSkip("python3");
const npm = toolOrSkip("npm");
const dpkgDeb = toolOrSkip("dpkg-deb");

suite("archives of other writers", { skip: tar.skip }, () => {
  const { run, directory, judge } = bench();

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
  const bsd = (...options: string[]): Writer => ({
    title: ["bsdtar", ...options].join(" "),
    skip: bsdtar.skip,
    write: (archive) => run("bsdtar", "-C", "source", ...options, "-cf", archive, "."),
  });
  const busy: Writer = {
    title: "busybox tar",
    skip: busybox.skip,
    write: (archive) => run("busybox", "tar", "-C", "source", "-cf", archive, "."),
  };
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
    bsd(),
    bsd("--format=pax"),
    bsd("--format=gnutar"),
    bsd("--format=ustar", ...long),
    busy,
    py("ustar", 0, "."),
    py("GNU", 1, "."),
    py("PAX", 2, "below"),
  ];
  for (const { title, skip, write } of writers) {
    test(`${title}: the tree that GNU tar extracts`, { skip }, async () => {
      const archive = join(directory(), "layer.tar");
      write(archive);
      await judge(archive);
    });
  }

  for (const format of ["gnu", "posix"]) {
    test(`GNU tar --sparse --format=${format} is refused: TAR_SPARSE`, async () => {
      const made = directory();
      writeFileSync(join(made, "holes"), "x");
      truncateSync(join(made, "holes"), 1 << 20);
      run("tar", "-C", made, "--sparse", `--format=${format}`, "-cf", `${made}.tar`, ".");
      assert.equal((await unpackFile(`${made}.tar`, directory(), {})).error?.code, "TAR_SPARSE");
    });
  }

  test("npm pack: the tree that GNU tar extracts", { skip: npm.skip }, async () => {
    const made = directory();
    writeFileSync(join(made, "package.json"), JSON.stringify({ name: "judged", version: "1.0.0", bin: "run.js" }));
    writeFileSync(join(made, "run.js"), "#!/usr/bin/env node\n", { mode: 0o755 });
    writeFileSync(join(made, `${"n".repeat(120)}.txt`), "a long name");
    run("npm", "pack", "--silent", "--offline", "--pack-destination", made, made);
    await judge(join(made, "judged-1.0.0.tgz"), { codec: "gzip" });
  });

  test("dpkg-deb --fsys-tarfile: the tree that GNU tar extracts", { skip: dpkgDeb.skip }, async () => {
    const made = directory();
    mkdirSync(join(made, "root/DEBIAN"), { recursive: true });
    writeFileSync(
      join(made, "root/DEBIAN/control"),
      "Package: judged\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: d\n",
    );
    mkdirSync(join(made, "root/usr"));
    run("cp", "-a", "source", join(made, "root/usr/share"));
    // A name that dpkg-deb refuses.
    rmSync(join(made, "root/usr/share/new\nline \\ \x1b[m"));
    run("dpkg-deb", "--root-owner-group", "-b", join(made, "root"), join(made, "judged.deb"));
    writeFileSync(join(made, "fsys.tar"), run("dpkg-deb", "--fsys-tarfile", join(made, "judged.deb")));
    await judge(join(made, "fsys.tar"));
  });
});
