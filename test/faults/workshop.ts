/** What all fault runs need: the compiled shim, and a place for their stores, in memory where there is one. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileFaultShim } from "../support/faults.js";
import { placeOn } from "../support/file-systems.js";
import type { Scope } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";

export interface Workshop {
  readonly library: string;
  /** An empty directory for one state directory, on a tmpfs or on `kind`. */
  place(kind?: "tmpfs" | "ext4"): Promise<string>;
}

const compiler = toolOrSkip("cc");
/** What `node:test` takes. */
export const { skip } = compiler;

export async function openWorkshop(scope: Scope): Promise<Workshop> {
  const directory = await mkdtemp(join(tmpdir(), "faults-"));
  scope.after(() => rm(directory, { recursive: true, force: true }));
  const places = {
    tmpfs: await placeOn(scope, "tmpfs"),
    ext4: await placeOn(scope, "ext4"),
  };
  let count = 0;
  return {
    library: compileFaultShim(compiler.path ?? "cc", directory),
    place: async (kind = "tmpfs") => {
      const place = join(places[kind].directory ?? directory, String(count++));
      await mkdir(place);
      return place;
    },
  };
}
