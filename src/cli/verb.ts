/**
 * What a verb is: its place in the help, its arguments and options, and what it does.
 *
 * `run` returns the exit code; what it throws is told as a failure by program.ts.
 */
import type { Command } from "commander";
import type { Context } from "./context.js";

export type Options = Readonly<Record<string, unknown>>;

export interface Verb {
  readonly name: string;
  readonly summary: string;
  /** Adds arguments and options; what stands in the help after them. */
  define(command: Command): void;
  run(context: Context, args: readonly string[], options: Options): Promise<number>;
}

/** A string option as it was given, for a field that is left out otherwise. */
export function given<K extends string>(options: Options, key: K): { [key in K]?: string } {
  const value = options[key];
  return typeof value === "string" ? ({ [key]: value } as { [key in K]: string }) : {};
}
