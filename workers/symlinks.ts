/**
 * Worker entry: a root of symlinks, one for each top-level entry of a layer, whatever is below it. What is a symlink in the layer is
 * made anew instead: where it leads depends on where it stands.
 */
import { mkdirSync, readlinkSync, symlinkSync } from "node:fs";
import { type Outermost, outermost } from "../src/overlap/outermost.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import type { SymlinkTask } from "../src/root-tasks.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { diskPath, fromHere } from "./disk-path.js";
import { withEntries } from "./entries-file.js";
import { IMPLIED_MODE } from "./stored-mode.js";

export default (task: SymlinkTask): Promise<Outcome<{ symlinks: number }>> =>
  outcomeOf("Cannot link the root", () => {
    const symlinks = new Symlinks(task);
    for (const [layer, { topLevel = [] }] of task.layers.entries())
      for (const [name, type] of topLevel) symlinks.make({ layer, from: name }, name, type);
    if (task.plan !== undefined)
      withEntries(task.plan, (plan) => symlinks.makePlaced(outermost(() => plan.part(0, 1))));
    return { symlinks: symlinks.count };
  });

class Symlinks {
  readonly #to: string;
  readonly #layers: SymlinkTask["layers"];
  count = 0;

  constructor({ tree, layers }: SymlinkTask) {
    this.#to = `${fromHere(tree)}/`;
    this.#layers = layers;
  }

  make({ layer, from }: Pick<PlannedEntry, "layer" | "from">, path: string, type: string): void {
    const { tree, target } = this.#layers[layer] as SymlinkTask["layers"][number];
    const up = "../".repeat(path.split("/").length - 1);
    const leadsTo =
      type === "symlink"
        ? readlinkSync(diskPath(`${fromHere(tree)}/`, from), { encoding: "buffer" })
        : diskPath(`${up}${target}/`, from);
    symlinkSync(leadsTo, diskPath(this.#to, path));
    this.count += 1;
  }

  makePlaced(entries: Iterable<Outermost>): void {
    for (const { planned, isOwnDirectory } of entries) {
      const { path, type } = planned.entry;
      if (isOwnDirectory) mkdirSync(diskPath(this.#to, path), IMPLIED_MODE);
      else this.make(planned, path, type);
    }
  }
}
