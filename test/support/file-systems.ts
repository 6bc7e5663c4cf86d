/**
 * A directory on a file system of a certain kind: one of this machine's, or one in a file, mounted for the test.
 *
 * Mounting is for root, and a container may forbid it even then; no package changes that. So where there is none the test is
 * skipped with the reason, under CI=true too.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, statfs, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { until } from "./deadline.js";
import type { Scope } from "./sandbox.js";

export type FileSystemKind = "ext4" | "tmpfs" | "xfs" | "btrfs" | "ext4 that folds" | "ntfs that folds";

export type Place =
  | { readonly directory: string; readonly skip: false }
  | { readonly directory?: undefined; readonly skip: string };

interface Kind {
  /** What statfs(2) calls it; absent: none that is there already will do. */
  readonly type?: number;
  readonly megabytes: number;
  /** Makes one in the file that is given last; absent: it needs no file. */
  readonly make?: readonly [string, ...string[]];
  /** The file and the directory follow. */
  readonly mount: readonly [string, ...string[]];
  /** Makes an empty directory of it what the kind promises. */
  readonly prepare?: readonly [string, ...string[]];
}

const LOOP = ["mount", "-o", "loop"] as const;
const kinds: Readonly<Record<FileSystemKind, Kind>> = {
  ext4: { type: 0xef53, megabytes: 256, make: ["mkfs.ext4", "-q"], mount: LOOP },
  tmpfs: { type: 0x0102_1994, megabytes: 0, mount: ["mount", "-t", "tmpfs", "tmpfs"] },
  xfs: { type: 0x5846_5342, megabytes: 400, make: ["mkfs.xfs", "-q", "-m", "reflink=1"], mount: LOOP },
  btrfs: { type: 0x9123_683e, megabytes: 256, make: ["mkfs.btrfs", "-q"], mount: LOOP },
  "ext4 that folds": {
    megabytes: 256,
    make: ["mkfs.ext4", "-q", "-O", "casefold", "-E", "encoding=utf8"],
    mount: LOOP,
    prepare: ["chattr", "+F"],
  },
  "ntfs that folds": {
    megabytes: 256,
    make: ["mkntfs", "--quick", "--force", "--quiet"],
    mount: ["lowntfs-3g", "-o", "ignore_case,permissions"],
  },
};

/** An empty directory; it ends with the scope, which ends before it whatever works there (`lastFirst`). */
export async function placeOn(scope: Scope, kind: FileSystemKind): Promise<Place> {
  for (const there of [tmpdir(), "/dev/shm"])
    if (kinds[kind].type !== undefined && (await typeOf(there)) === kinds[kind].type) {
      const directory = await mkdtemp(join(there, "place-"));
      scope.after(() => rm(directory, { recursive: true, force: true }));
      return { directory, skip: false };
    }
  return mounted(scope, kind);
}

/** One of its own in a sparse file, empty: nothing was removed there before. */
export function freshFileSystem(scope: Scope, kind: FileSystemKind, megabytes: number): Promise<Place> {
  return mounted(scope, kind, megabytes);
}

/** A file system of its own that is soon full, of so many bytes or inodes. */
export async function smallTmpfs(
  scope: Scope,
  size: { readonly megabytes: number; readonly inodes: number },
): Promise<Place> {
  if (process.getuid?.() !== 0) return { skip: "mounting tmpfs is for root" };
  const at = await mkdtemp(join(tmpdir(), "small-"));
  try {
    await run("mount", "-t", "tmpfs", "-o", `size=${size.megabytes}m,nr_inodes=${size.inodes},mode=0755`, "tmpfs", at);
  } catch (error) {
    await rm(at, { recursive: true });
    return { skip: `tmpfs cannot be mounted here: ${(error as Error).message.replaceAll("\n", " ")}` };
  }
  scope.after(async () => {
    await unmounted(at);
    await rm(at, { recursive: true, force: true });
  });
  return { directory: at, skip: false };
}

/** Of what `smallTmpfs` gave: it gets another size, no less than what is used. */
export async function resizeTmpfs(
  at: string,
  { bytes, inodes }: { readonly bytes: number; readonly inodes: number },
): Promise<void> {
  await run("mount", "-o", `remount,size=${bytes},nr_inodes=${inodes}`, at);
}

/** A process that was killed may not have let go of it yet. */
function unmounted(at: string): Promise<true> {
  return until(`${at} is unmounted`, () =>
    run("umount", at).then(
      () => true as const,
      () => undefined,
    ),
  );
}

async function mounted(scope: Scope, kind: FileSystemKind, megabytes = kinds[kind].megabytes): Promise<Place> {
  const { make, mount, prepare } = kinds[kind];
  if (process.getuid?.() !== 0) return { skip: `mounting ${kind} is for root` };
  const work = await mkdtemp(join(tmpdir(), "mount-"));
  const [image, at] = [join(work, "image"), join(work, "at")];
  const directory = join(at, "place");
  let isMounted = false;
  scope.after(async () => {
    if (isMounted) await unmounted(at);
    await rm(work, { recursive: true, force: true });
  });
  try {
    await mkdir(at);
    await writeFile(image, "");
    await truncate(image, megabytes * 1024 * 1024);
    if (make !== undefined) await run(...make, image);
    await run(...mount, ...(make === undefined ? [] : [image]), at);
    isMounted = true;
    await mkdir(directory);
    if (prepare !== undefined) await run(...prepare, directory);
    return { directory, skip: false };
  } catch (error) {
    return { skip: `${kind} cannot be had here: ${(error as Error).message.replaceAll("\n", " ")}` };
  }
}

const typeOf = async (directory: string): Promise<number | undefined> =>
  statfs(directory).then(
    ({ type }) => type,
    () => undefined,
  );

async function run(program: string, ...args: string[]): Promise<void> {
  await promisify(execFile)(program, args, { timeout: 60_000 });
}
