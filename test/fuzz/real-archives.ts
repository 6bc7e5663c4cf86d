/**
 * Archives as GNU tar, bsdtar and Python write them, cut into headers with their contents: what the fuzzer changes. The same bytes each
 * time: names in order, times and owners given, nothing of the file system in them.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BLOCK } from "../support/tar-builder.js";
import { onDisk } from "../workers/unpacking.js";

/** The parts of each archive, without the end marker. Writes below `work`, which is the caller's. */
export function realArchives(work: string): readonly (readonly Buffer[])[] {
  makeSource(join(work, "source"));
  const run = (program: string, args: readonly string[]): Buffer =>
    execFileSync(program, args, {
      cwd: work,
      stdio: ["ignore", "pipe", "ignore"],
      env: { ...process.env, LC_ALL: "C.UTF-8" },
    });
  const fixed = ["--sort=name", "--mtime=@1700000000.5", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"];
  const gnu = (...options: string[]): Buffer => run("tar", ["-C", "source", ...fixed, ...options, "-cf", "-", "."]);
  const plainPax = "--pax-option=delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f,globexthdr.name=g";
  const short = "--exclude=*long*";
  writeFileSync(join(work, "gnu.tar"), gnu("--format=gnu", "--owner=200000"));
  const bsd = (...options: string[]): Buffer => run("bsdtar", [...options, "-cf", "-", "@gnu.tar"]);
  return [
    gnu("--format=gnu", "--owner=3000000"),
    gnu("--format=pax", "--owner=3000000", plainPax),
    gnu("--format=pax", "--owner=0", `${plainPax},globexthdr.mtime=0,comment=all`),
    gnu("--format=ustar", "--owner=0", short),
    bsd("--format=pax"),
    bsd("--format=gnutar"),
    bsd("--format=ustar", short),
    ...[0, 1, 2].map((format) => run("python3", ["-c", PYTHON, String(format)])),
  ].map(partsOf);
}

function makeSource(top: string): void {
  mkdirSync(join(top, "d"), { recursive: true });
  const at = (name: string): Buffer => onDisk(top, name);
  writeFileSync(at("a"), "hello");
  writeFileSync(at("block"), "b".repeat(BLOCK));
  writeFileSync(at("d/more"), "m".repeat(700));
  writeFileSync(at("empty"), "");
  writeFileSync(at("gr\xc3\xbc\xc3\x9fe"), "UTF-8");
  writeFileSync(at("latin1-\xfc"), "no UTF-8");
  writeFileSync(at(`d/long-${"n".repeat(150)}`), "long");
  linkSync(at("a"), at("hard"));
  linkSync(at(`d/long-${"n".repeat(150)}`), at("hard-to-long"));
  symlinkSync("a", at("soft"));
  symlinkSync("t".repeat(150), at("soft-long"));
}

const PYTHON = `
import io, sys, tarfile
form = int(sys.argv[1])
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=form, encoding="utf-8", errors="surrogateescape") as tar:
    def add(name, kind=tarfile.REGTYPE, body=b"", link="", **more):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname, info.mtime = kind, len(body), link, 1700000000
        for key, value in more.items(): setattr(info, key, value)
        tar.addfile(info, io.BytesIO(body))
    add("d", tarfile.DIRTYPE, mode=0o755)
    add("d/a", body=b"hello")
    add("gr\\u00fc\\u00dfe", body=b"b" * 600)
    add("latin1-\\udcfc")
    add("soft", tarfile.SYMTYPE, link="d/a")
    add("hard", tarfile.LNKTYPE, link="d/a")
    add("owned", body=b"o", uid=2000000, uname="somebody", gname="gr\\u00fcppe")
    add("d/" * 40 + "n" * 90, body=b"prefix")
    if form != tarfile.USTAR_FORMAT:
        add("n" * 150, body=b"long")
        add("far", tarfile.SYMTYPE, link="t" * 150)
        add("timed", body=b"t", mtime=1.5, pax_headers={"comment": "a", "SCHILY.xattr.user.x": "y"})
`;

function partsOf(archive: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; archive[at] !== undefined && archive[at] !== 0; ) {
    const size = Number.parseInt(archive.toString("latin1", at + 124, at + 136), 8);
    const end = at + BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    parts.push(archive.subarray(at, end));
    at = end;
  }
  assert.ok(parts.length > 5, "a writer wrote nothing");
  return parts;
}
