/** Where is measured: memory, this machine's disk, and file systems in a file that are made for one scenario. */
import { tmpdir } from "node:os";
import { freshFileSystem, type Place } from "../support/file-systems.js";
import type { Scope } from "../support/sandbox.js";
import { inPlace } from "./measuring.js";

/** `disk` is the file system of the temporary directory; the last three are mounted from a file there. */
export const placeNames = ["tmpfs", "disk", "ext4", "xfs", "btrfs"] as const;
export type PlaceName = (typeof placeNames)[number];

/** Sparse: takes what is written. */
const MEGABYTES = 16 * 1024;

/** Runs `action` in an empty directory there, or says why there is none. Nothing is left. */
export async function withPlace(
  name: PlaceName,
  action: (directory: string, scope: Scope) => Promise<void>,
): Promise<Place> {
  if (name === "tmpfs" || name === "disk") {
    const below = name === "tmpfs" ? "/dev/shm" : tmpdir();
    await inPlace(below, action);
    return { directory: below, skip: false };
  }
  return inPlace(tmpdir(), async (_, scope) => {
    const place = await freshFileSystem(scope, name, MEGABYTES);
    if (place.skip === false) await inPlace(place.directory, action);
    return place;
  });
}
