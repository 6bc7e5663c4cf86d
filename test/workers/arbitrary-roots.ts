/**
 * Random things that archives hold, and how they may be dealt out to the two layers of a root. Names are few, so that what is drawn
 * anew often is what was there; some files have several names, below one top-level name or more.
 */
import fc from "fast-check";
import type { PlannedPolicy } from "../../src/overlap/plan-root.js";
import type { ShownRoot } from "../../src/root-tasks.js";
import { directory, file, hardlink, symlink, tar } from "../support/tar-builder.js";

/** One thing that an archive has, under one or more names. */
export interface Thing {
  readonly kind: "file" | "dir" | "symlink";
  readonly names: readonly string[];
  readonly text: string;
  readonly mode: number;
  readonly mtime: number;
}

const TOPS = ["a", "b", "c", "\xff"] as const;
const path = fc
  .tuple(fc.constantFrom(...TOPS), fc.constantFrom("", "/x", "/y", "/d", "/d/x", "/d/y"))
  .map(([top, below]) => top + below);
export const thing: fc.Arbitrary<Thing> = fc.record({
  kind: fc.oneof({ weight: 4, arbitrary: fc.constant("file" as const) }, fc.constantFrom("dir", "symlink")),
  names: fc.uniqueArray(path, { minLength: 1, maxLength: 3 }),
  text: fc.constantFrom("", "1", "2"),
  mode: fc.constantFrom(0o644, 0o444, 0o755, 0o666),
  mtime: fc.constantFrom(0, 1_700_000_000),
});
export const things = fc.array(thing, { maxLength: 10 });

/** How things are dealt out: which top-level names stand in the second layer, how the root is planned, and how it shows them. */
export const dealing = fc.record({
  second: fc.subarray([...TOPS]),
  policy: fc.constantFrom(undefined, "c" as const, "b" as const, "a" as const),
  link: fc.constantFrom<ShownRoot["link"]>("hardlink", "copy", "symlink"),
});
export type Dealing = typeof dealing extends fc.Arbitrary<infer Value> ? Value : never;

export interface Making {
  readonly layers: readonly Buffer[];
  readonly link?: ShownRoot["link"];
  /** Absent: the layers as they stand, without a plan. */
  readonly policy?: PlannedPolicy;
}

/** The layers share no name at the image root. */
export function dealtOut(all: readonly Thing[], { second, policy, link }: Dealing): Making {
  const isSecond = (path: string): boolean => second.includes(path.split("/")[0] as (typeof TOPS)[number]);
  const layers = [false, true].map((which) => archiveOf(all, (path) => isSecond(path) === which));
  return { layers, link, ...(policy === undefined ? {} : { policy }) };
}

/** Whatever an unpacker would refuse is left out. */
function archiveOf(all: readonly Thing[], isOwn: (path: string) => boolean): Buffer {
  const kinds = new Map<string, Thing["kind"]>();
  const fits = (path: string, kind: Thing["kind"]): boolean => {
    const above = path.split("/").map((_, i, names) => names.slice(0, i).join("/"));
    const isFree = !kinds.has(path) && above.every((each) => (kinds.get(each) ?? "dir") === "dir");
    return isFree && (kind === "dir" || ![...kinds.keys()].some((each) => each.startsWith(`${path}/`)));
  };
  const members: Buffer[] = [];
  for (const { kind, names, text, mode, mtime } of all) {
    const own = names.filter(isOwn).filter((path) => {
      const isFitting = fits(path, kind);
      if (isFitting) kinds.set(path, kind);
      return isFitting;
    });
    const [first, ...others] = own;
    if (first === undefined) continue;
    if (kind === "dir") members.push(directory(`${first}/`, { mode, mtime }));
    else if (kind === "symlink") members.push(symlink(first, `to${text}`, { mtime }));
    else members.push(file(first, text, { mode, mtime }), ...others.map((name) => hardlink(name, first)));
  }
  return tar(...members);
}
