/**
 * The flags that every verb takes, before or after it, and their mirrors in the environment (cli.md).
 *
 * A flag wins over its variable; an empty variable is none. `--json` and `--events` belong to one call and have no mirror.
 */
import { type Command, Option } from "commander";
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";
import { parseDuration } from "./duration.js";

const progressModes = ["auto", "tty", "plain", "none"] as const;
const colorModes = ["auto", "always", "never"] as const;
export type ProgressMode = (typeof progressModes)[number];
export type ColorMode = (typeof colorModes)[number];

export interface Globals {
  readonly json: boolean;
  /** `--events ndjson`: a stream of jobs, then the document. */
  readonly events: boolean;
  readonly quiet: boolean;
  readonly progress: ProgressMode;
  readonly color: ColorMode;
  /** Where the caller says that the daemon is, by flag or environment: no other is looked for, none is started. */
  readonly endpoint?: string;
  readonly timeoutMs?: number;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** Before the command line could be read, so that even a failure to read it is one document. */
export function guessGlobals(argv: readonly string[]): Globals {
  const end = argv.indexOf("--");
  const flags = end < 0 ? argv : argv.slice(0, end);
  const events = flags.some((flag, index) => flag === "--events=ndjson" || flags[index - 1] === "--events");
  return { json: flags.includes("--json"), events, quiet: false, progress: "none", color: "auto" };
}

export function addGlobalOptions(program: Command): void {
  program
    .option("--json", "print one JSON document on stdout, also on failure")
    .addOption(new Option("--events <format>", "print a stream of jobs before the document").choices(["ndjson"]))
    .option("-q, --quiet", "results and errors only: no progress, no messages, no table headers")
    .addOption(
      new Option("--progress <mode>", "how progress is shown on stderr (default: auto)").choices(progressModes),
    )
    .addOption(new Option("--color <when>", "colours on stderr (default: auto; NO_COLOR is heard)").choices(colorModes))
    .option("--endpoint <address>", "the daemon's socket or URL, instead of looking for it")
    .option("--timeout <duration>", "give up waiting after this long, e.g. 30s or 5m; a job goes on");
}

/** Throws USAGE for a value that the flag or its variable may not have. */
export function readGlobals(options: Readonly<Record<string, unknown>>, env: Environment): Globals {
  const text = (name: string): { value: string; from: string } | undefined => {
    const flag = options[name];
    if (typeof flag === "string") return { value: flag, from: `--${name}` };
    const variable = `STRATAD_${name.toUpperCase()}`;
    const value = env[variable];
    return value === undefined || value === "" ? undefined : { value, from: variable };
  };
  const choice = <T extends string>(name: string, choices: readonly [T, ...T[]]): T => {
    const given = text(name);
    if (given === undefined) return choices[0];
    const found = choices.find((known) => known === given.value);
    if (found === undefined) throw unknownValue(given, choices);
    return found;
  };
  const quiet = text("quiet");
  const endpoint = text("endpoint")?.value;
  const timeout = text("timeout");
  return {
    json: options.json === true,
    events: options.events !== undefined,
    quiet: options.quiet === true || (quiet !== undefined && isOn(quiet)),
    progress: choice("progress", progressModes),
    color: choice("color", colorModes),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(timeout === undefined ? {} : { timeoutMs: parseDuration(timeout.value, timeout.from) }),
  };
}

function isOn(given: { value: string; from: string }): boolean {
  if (/^(1|true|yes|on)$/i.test(given.value)) return true;
  if (/^(0|false|no|off)$/i.test(given.value)) return false;
  throw unknownValue(given, ["true", "false"]);
}

function unknownValue(given: { value: string; from: string }, choices: readonly string[]): StrataError {
  const fact = `'${printable(given.value, 64)}' is none of ${choices.join(", ")}`;
  return new StrataError("USAGE", `Cannot read ${given.from}: ${fact}`);
}
