/**
 * What a file system can and cannot do, tried out in a directory of the store: no call tells. Each leaves the directory as it was.
 */
import { constants, copyFile, link, mkdir, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode, toStrataError } from "../errors.js";
import type { Folding } from "../overlap/name-folding.js";
import { succeeds } from "../succeeds.js";
import { stands } from "./looks.js";

/** Which names it takes for the same; undefined where it keeps all of them apart. NO_SPACE where it is too full to tell. */
export const probeFolding = (directory: string): Promise<Folding | undefined> =>
  inProbe(directory, async (probe) => {
    await writeFile(join(probe, "case"), "");
    await writeFile(join(probe, "\u00e9"), "");
    const folding = { case: await stands(join(probe, "CASE")), unicode: await stands(join(probe, "e\u0301")) };
    return folding.case || folding.unicode ? folding : undefined;
  });

/** Whether two files may share their blocks (btrfs, xfs). */
export const probeReflink = (directory: string): Promise<boolean> =>
  inProbe(directory, async (probe) => {
    await writeFile(join(probe, "from"), "shared");
    const cloned = copyFile(join(probe, "from"), join(probe, "to"), constants.COPYFILE_FICLONE_FORCE);
    return succeeds(cloned);
  });

/** Whether files of `from` can have links in `to`; where not, they stand on two mounts. NO_SPACE. */
export async function probeLink(from: string, to: string): Promise<boolean> {
  const [file, linked] = [join(from, PROBE), join(to, `.${PROBE}`)];
  const clear = () => Promise.all([file, linked].map((path) => rm(path, { force: true })));
  // What a start that was killed here has left.
  await clear();
  try {
    await writeFile(file, "");
    await link(file, linked);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EXDEV") return false;
    throw toStrataError(error, `Cannot try out links from ${from} to ${to}`);
  } finally {
    await clear();
  }
}

/** The store's lock is held: there is no other. */
const PROBE = "probe";

async function inProbe<Value>(directory: string, look: (probe: string) => Promise<Value>): Promise<Value> {
  const probe = join(directory, PROBE);
  await rm(probe, { recursive: true, force: true });
  try {
    await mkdir(probe);
    return await look(probe);
  } catch (error) {
    throw toStrataError(error, `Cannot try out the file system of ${directory}`);
  } finally {
    await rm(probe, { recursive: true, force: true });
  }
}

/** By what statfs(2) calls it; some have the same number. */
const fileSystems: Readonly<Record<number, string>> = {
  61267: "ext4 (or ext2, ext3)",
  16914836: "tmpfs",
  2435016766: "btrfs",
  1481003842: "xfs",
  2035054128: "overlayfs",
  801189825: "zfs",
  3393526350: "bcachefs",
  4076150800: "f2fs",
  26985: "nfs",
};

export async function fileSystemName(directory: string): Promise<string> {
  const { type } = await statfs(directory);
  return fileSystems[type] ?? `a file system of type 0x${type.toString(16)}`;
}
