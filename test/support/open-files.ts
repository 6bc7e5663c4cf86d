/** What a process holds open. */
import { readdirSync, readlinkSync } from "node:fs";

/** Where its descriptors lead; "" for one that was closed since it was listed. */
export const openFiles = (pid: number | undefined): string[] =>
  readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return "";
    }
  });
