/**
 * What a hand does to a store of images.ts: a byte written through a root, a file of a layer removed, one made writable, one added.
 * Each may be done again, also where it is half mended.
 */
import { chmodSync, existsSync, lstatSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Names of the layers' top levels. */
interface Damaged {
  /** Of a layer that the root at `tree` has alone: a file of it is written. */
  readonly own: string;
  /** Of layers that several roots share: one loses a file, the other gets one and has one made writable. */
  readonly loses: string;
  readonly gains: string;
}

/** `tree` is a root of the store at `state`, by its name. */
export function damage(state: string, tree: string, { own, loses, gains }: Damaged): void {
  const written = join(tree, own, "bin/run");
  chmodSync(written, 0o755);
  writeFileSync(written, "RUN", { flag: "r+" });
  rmSync(join(layerTree(state, loses), loses, "bin/run"), { force: true });
  chmodSync(join(tree, gains, "bin/run"), 0o777);
  writeFileSync(join(layerTree(state, gains), gains, "added"), "added");
}

/** Whether a line of checkStore is about what that damages, or what it takes to mend it: directories are opened and put back. */
export function isOfDamage(problem: string, { own, loses, gains }: Damaged): boolean {
  const path = /^(?:layers|roots)\/[^ ]+: ([^ :]+)/.exec(problem)?.[1] ?? "";
  const [top = "", ...below] = path.split("/");
  return [own, loses, gains].includes(top) && ["", "bin", "bin/run", "again", "added"].includes(below.join("/"));
}

function layerTree(state: string, top: string): string {
  const layers = join(state, "layers/sha256");
  const found = readdirSync(layers).find((hex) => existsSync(join(layers, hex, "tree", top)));
  if (found === undefined || !lstatSync(join(layers, found, "tree", top)).isDirectory())
    throw new Error(`no layer with ${top}`);
  return join(layers, found, "tree");
}
