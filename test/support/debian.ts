/**
 * Real material for images: packages of Debian (or of what this machine's apt knows), and a base that they make together.
 */
import { hash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { cached, run } from "./cached.js";

/** The `.deb` of each package, in this order. */
export async function debianPackages(names: readonly string[]): Promise<string[]> {
  const key = hash("sha256", names.join(), "hex").slice(0, 12);
  const directory = await cached(`packages-${key}`, async (into) => {
    await run(["apt-get", "download", "--quiet", ...names], into);
  });
  const files = await readdir(directory);
  return names.map((name) =>
    join(directory, files.find((file) => file.startsWith(`${name}_`)) ?? `${name} is missing`),
  );
}

export interface DebianBase {
  /** Everything below the root but devices: tar. */
  readonly tar: string;
  readonly madeBy: string;
}

/** By debootstrap where that may make devices, and else of packages, on the same merged directories. */
export async function debianBase(): Promise<DebianBase> {
  try {
    const directory = await cached(`debootstrap-${SUITE}`, bootstrap);
    return { tar: join(directory, "base.tar"), madeBy: "debootstrap" };
  } catch (error) {
    const packages = await debianPackages(BASE_PACKAGES);
    const directory = await cached("base-of-packages", (into) => extract(packages, into));
    return { tar: join(directory, "base.tar"), madeBy: `dpkg-deb, since ${(error as Error).message.split("\n")[0]}` };
  }
}

const SUITE = "bookworm";
const MIRROR = "http://deb.debian.org/debian";
/** Left out of what Debian calls required: nothing runs in this base, and a third of it has all that matters to a layer. */
const EXCLUDED = [
  "adduser,apt,bsdutils,debconf,debian-archive-keyring,diffutils,e2fsprogs,gpgv,init-system-helpers,libapt-pkg6.0",
  "libaudit-common,libaudit1,libblkid1,libc-bin,libcap-ng0,libcom-err2,libdb5.3,libdebconfclient0,libext2fs2,libffi8",
  "libgcrypt20,libgnutls30,libgpg-error0,libhogweed6,libidn2-0,libmount1,libnettle8,libp11-kit0,libpam-modules",
  "libpam-modules-bin,libpam-runtime,libpam0g,libseccomp2,libsemanage-common,libsemanage2,libsepol2,libsmartcols1",
  "libss2,libstdc++6,libsystemd0,libtasn1-6,libudev1,libunistring2,libuuid1,libxxhash0,login,logsave,mount",
  "ncurses-bin,passwd,sysvinit-utils,tzdata,util-linux,util-linux-extra",
].join();

/** The first stage: packages extracted, nothing configured. As root, since that makes devices. */
async function bootstrap(into: string): Promise<void> {
  const asRoot = process.getuid?.() === 0 ? [] : ["sudo", "-n"];
  const as = (...command: [string, ...string[]]): [string, ...string[]] =>
    [...asRoot, ...command] as [string, ...string[]];
  const root = join(into, "root");
  await run(as("debootstrap", "--foreign", "--variant=minbase", `--exclude=${EXCLUDED}`, SUITE, root, MIRROR), into);
  const workings = ["./dev/*", "./debootstrap", "./var/lib/apt/lists/*", "./var/cache/apt/*"];
  await run(as(...pack(root, workings)), into);
  await run(as("rm", "-rf", root), into);
}

const BASE_PACKAGES = [
  ...["base-files", "bash", "coreutils", "dash", "debianutils", "findutils", "grep", "gzip", "hostname", "libacl1"],
  ...["libattr1", "libc6", "libtinfo6", "ncurses-base", "perl-base", "sed", "tar"],
];
const MERGED = ["bin", "lib", "lib64", "sbin"];

async function extract(packages: readonly string[], into: string): Promise<void> {
  const root = join(into, "root");
  for (const name of MERGED) {
    await run(["mkdir", "-p", `root/usr/${name}`], into);
    await run(["ln", "-s", `usr/${name}`, `root/${name}`], into);
  }
  for (const file of packages)
    await run(["sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C root`, "sh", file], into);
  await run(pack(root, []), into);
  await run(["rm", "-rf", root], into);
}

function pack(root: string, excluded: readonly string[]): [string, ...string[]] {
  const exclude = excluded.map((pattern) => `--exclude=${pattern}`);
  return ["tar", "--create", "--file=base.tar", "--sort=name", "--numeric-owner", ...exclude, "-C", root, "."];
}
