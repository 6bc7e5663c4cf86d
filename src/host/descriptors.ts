/** How many descriptors this process may have open (proc(5), limits). Linux only. */
import { readFile } from "node:fs/promises";

/** The soft limit, which Node raises to the hard one when it starts; without end where there is none, or nothing says. */
export async function descriptorLimit(): Promise<number> {
  const text = await readFile("/proc/self/limits", "latin1").catch(() => "");
  const [, soft] = /^Max open files +(\d+)/m.exec(text) ?? [];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}
