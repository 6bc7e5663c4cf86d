/**
 * A name's history: which generation is current, and what an install, a rollback and a lost root make of it. As with nix's
 * profiles, a rollback makes a remembered generation current and no new one; numbers only rise. Pure: names.ts keeps it on the disk.
 */
import { StrataError } from "../errors.js";
import { MAX_GENERATIONS } from "../limits.js";
import { printable } from "../printable.js";
import type { Generation, NameDocument } from "./documents.js";

export type NewGeneration = Omit<Generation, "generation" | "at">;

/** The schema has checked that `current` is among the generations; undefined only where there are none. */
export function currentOf({ generations, current }: NameDocument): Generation | undefined {
  return current === undefined ? generations.at(-1) : generations.find(({ generation }) => generation === current);
}

/** A new generation behind the last, and current; the oldest are forgotten. */
export function withInstalled(
  name: string,
  document: NameDocument | undefined,
  next: NewGeneration,
): { document: NameDocument; generation: Generation } {
  const known = document?.generations ?? [];
  const generation = { ...next, generation: (known.at(-1)?.generation ?? 0) + 1, at: new Date().toISOString() };
  return { document: { schema: 1, name, generations: [...known, generation].slice(-MAX_GENERATIONS) }, generation };
}

/** The same history with this generation current; `current` is left out for the last, as in a store that knows no rollback. */
export function withCurrent({ current: _, ...document }: NameDocument, { generation }: Generation): NameDocument {
  return document.generations.at(-1)?.generation === generation ? document : { ...document, current: generation };
}

/**
 * The history with a current generation that stands: the same, else the nearest before it, as a rollback would choose, else the
 * nearest behind it. Undefined where none stands. Those that do not stand stay remembered: their root may be made again.
 */
export function withStandingCurrent(
  document: NameDocument,
  standing: (rootId: string) => boolean,
): NameDocument | undefined {
  const at = currentOf(document)?.generation ?? 0;
  const left = document.generations.filter(({ rootId }) => standing(rootId));
  const next = left.findLast(({ generation }) => generation <= at) ?? left[0];
  return next === undefined ? undefined : withCurrent(document, next);
}

/** The generation that a rollback leads to: the wanted one, or the one before the current. UNKNOWN_ROOT where there is none. */
export function rollbackTarget(document: NameDocument, wanted: number | undefined): Generation {
  const { name, generations } = document;
  const at = currentOf(document)?.generation ?? 0;
  const found = generations.findLast(({ generation }) =>
    wanted === undefined ? generation < at : generation === wanted,
  );
  if (found !== undefined) return found;
  const fact =
    wanted === undefined
      ? `generation ${at} is current and none is remembered before it`
      : `no generation ${wanted} is remembered`;
  throw rollbackError(name, fact);
}

/** UNKNOWN_ROOT: the name is known, and there is no root to go to. */
export function rollbackError(name: string, fact: string): StrataError {
  return new StrataError("UNKNOWN_ROOT", `Cannot roll back ${printable(name, 128)}: ${fact}`, {
    hint: `\`stratad status ${printable(name, 128)}\` lists its generations.`,
  });
}
