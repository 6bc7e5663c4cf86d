/**
 * The daemon's configuration: file < environment < flag -> one frozen Config that knows the origin of each value.
 *
 * A key of the file that the table of settings lacks is an error; environment variables that it lacks belong to the command
 * line. Acts on nothing.
 */
import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Overlap } from "./choices.js";
import { StrataError, systemErrorCode } from "./errors.js";
import { checkStateDir, type PathsInput, type StratadPaths, stratadPaths } from "./host/paths.js";
import { type ImageLimits, type LimitName, MAX_SOCKET_PATH_BYTES } from "./limits.js";
import type { LogLevel } from "./log.js";
import { printable } from "./printable.js";
import {
  absolutePath,
  type ListenAddress,
  limitKey,
  limitNames,
  type PlainValues,
  type Setting,
  type SettingName,
  settings,
  UnfitValue,
} from "./settings.js";
import type { Decoders, Dedup } from "./tasks.js";

export interface Config {
  readonly system: boolean;
  /** Where the file is looked for; it need not exist. */
  readonly configFile: string;
  readonly stateDir: string;
  readonly runtimeDir: string;
  /** The socket of full scope, and beside it that of read scope (`stratad.sock`, `stratad-ro.sock`). */
  readonly socket: string;
  readonly readOnlySocket: string;
  /** Loopback TCP, port 0 for any; absent: none. */
  readonly listen?: ListenAddress;
  readonly allowedOrigins: readonly string[];
  readonly workers: number;
  readonly decoders: Decoders;
  readonly dedup: Dedup;
  /** The overlap policy of an install that names none, and those that it may name. */
  readonly overlap: Overlap;
  readonly allowedOverlaps: readonly Overlap[];
  readonly logLevel: LogLevel;
  readonly insecureRegistries: readonly string[];
  /** Absent: anywhere. */
  readonly importDirs?: readonly string[];
  /** Absent: never. */
  readonly idleExitMs?: number;
  /** Absent: no scrub. */
  readonly scrubBytesPerSecond?: number;
  /** Of each name, those whose roots stay; the current one always does. */
  readonly keepGenerations: number;
  /** What layers that no root needs may take. */
  readonly cacheBytes: number;
  readonly cacheInodes: number;
  /** Of all spares; 0 makes none. */
  readonly spareEntries: number;
  readonly drainTimeoutMs: number;
  readonly stallTimeoutMs: number;
  /** What installs leave free; absent: a part of the file system. */
  readonly reserveBytes?: number;
  readonly reserveInodes?: number;
  readonly limits: ImageLimits;
  origin(name: SettingName): SettingOrigin;
}

export interface SettingOrigin {
  readonly value: unknown;
  /** `default`, `file:/path`, `env:STRATAD_WORKERS` or `flag:--state`. */
  readonly origin: string;
}

const settingNames = settings.map(({ name }) => name);

export interface ConfigInput extends PathsInput {
  /** What the command line gave, by setting; a relative path there is relative to the working directory. */
  readonly flags?: { readonly [Name in SettingName]?: string | undefined };
}

/** Reads and checks everything, once. CONFIG_INVALID says which value is wrong and where it came from. */
export async function loadConfig(input: ConfigInput): Promise<Config> {
  const locations = stratadPaths(input);
  const fromFile = await readConfigFile(locations.configFile);
  const values = new Map<SettingName, SettingOrigin>();
  for (const setting of settings) {
    const runtimeDir = String(values.get("runtime_dir")?.value);
    const given = givenValue(setting, input, fromFile);
    const found = given && { ...given, value: checked(setting, given) };
    const fallback = { value: setting.fallback?.({ paths: locations, system: input.system, runtimeDir }) };
    values.set(setting.name, deepFreeze(found ?? { ...fallback, origin: defaultOrigin(setting, locations) }));
  }
  return assemble(input.system, locations.configFile, values);
}

type Values = ReadonlyMap<SettingName, SettingOrigin>;

function assemble(system: boolean, configFile: string, values: Values): Config {
  const origin = (name: SettingName) => {
    const found = values.get(name);
    if (found === undefined) throw new Error(`no setting ${name}`);
    return found;
  };
  const value = <Name extends keyof PlainValues>(name: Name) => origin(name).value as PlainValues[Name];
  const optional = <Name extends keyof PlainValues>(name: Name) => value(name) as PlainValues[Name] | undefined;
  const [listen, importDirs, idleExitMs] = [optional("listen"), optional("import_dirs"), optional("idle_exit_ms")];
  const scrubBytesPerSecond = optional("scrub_bytes_per_second");
  const [reserveBytes, reserveInodes] = [optional("reserve_bytes"), optional("reserve_inodes")];
  const limits = limitNames.map((name) => [name, origin(limitKey(name)).value]);
  checkStateDir(value("state_dir"));
  return Object.freeze({
    system,
    configFile,
    stateDir: value("state_dir"),
    runtimeDir: value("runtime_dir"),
    ...socketPaths(value("socket")),
    ...(listen && { listen }),
    allowedOrigins: value("allowed_origins"),
    workers: value("workers"),
    decoders: value("decoders"),
    dedup: value("store.dedup"),
    ...overlapPolicies(value("overlap"), value("allowed_overlaps")),
    logLevel: value("log_level"),
    insecureRegistries: value("insecure_registries"),
    ...(importDirs && { importDirs }),
    ...(idleExitMs && { idleExitMs }),
    ...(scrubBytesPerSecond && { scrubBytesPerSecond }),
    keepGenerations: value("keep_generations"),
    cacheBytes: value("cache_bytes"),
    cacheInodes: value("cache_inodes"),
    spareEntries: value("spare_entries"),
    drainTimeoutMs: value("drain_timeout_ms"),
    stallTimeoutMs: value("stall_timeout_ms"),
    ...(reserveBytes === undefined ? {} : { reserveBytes }),
    ...(reserveInodes === undefined ? {} : { reserveInodes }),
    limits: Object.freeze(Object.fromEntries(limits) as Record<LimitName, number>),
    origin,
  });
}

function overlapPolicies(overlap: Overlap, allowedOverlaps: readonly Overlap[]) {
  if (allowedOverlaps.includes(overlap)) return { overlap, allowedOverlaps };
  throw invalid(`Cannot use overlap = ${overlap}: allowed_overlaps has only ${allowedOverlaps.join(", ")}`);
}

/** What the kernel would cut silently is refused here, before anything binds to the wrong path. */
function socketPaths(socket: string) {
  const readOnlySocket = `${socket.replace(/\.sock$/, "")}-ro.sock`;
  const bytes = Math.max(Buffer.byteLength(socket), Buffer.byteLength(readOnlySocket));
  if (bytes <= MAX_SOCKET_PATH_BYTES) return { socket, readOnlySocket };
  throw new StrataError(
    "CONFIG_INVALID",
    `Cannot use the socket ${printable(readOnlySocket)}: ${bytes} bytes are more than ${MAX_SOCKET_PATH_BYTES}`,
    { hint: "Choose a shorter path with --socket or STRATAD_RUNTIME_DIR." },
  );
}

/** The value of the highest origin that gives one; an empty variable gives none. */
function givenValue(setting: Setting, { flags, env }: ConfigInput, file: ReadonlyMap<string, SettingOrigin>) {
  const name = setting.name as SettingName;
  const flag = flags?.[name];
  if (flag !== undefined) {
    const text = setting.read === absolutePath && flag !== "" ? resolve(flag) : flag;
    return { value: setting.fromText(text), origin: `flag:${setting.flag ?? `--${name.replace(/[._]/g, "-")}`}` };
  }
  const variable = `STRATAD_${name.replace(".", "_").toUpperCase()}`;
  const text = env[variable];
  if (text !== undefined && text !== "") return { value: setting.fromText(text), origin: `env:${variable}` };
  return file.get(name);
}

function checked(setting: Setting, { value, origin }: SettingOrigin): unknown {
  try {
    return setting.read(value);
  } catch (error) {
    if (!(error instanceof UnfitValue)) throw error;
    const shown = printable(JSON.stringify(value) ?? "nothing");
    const from = printable(origin.replace(/^(?:flag|env|file):/, ""));
    throw invalid(`Cannot use ${setting.name} = ${shown} from ${from}: ${error.message}`);
  }
}

function defaultOrigin({ name }: Setting, { chosenBy }: StratadPaths): string {
  const variable = { state_dir: chosenBy.stateDir, runtime_dir: chosenBy.runtimeDir }[name];
  return variable === undefined ? "default" : `env:${variable}`;
}

/** The settings of the file; none when there is no file. */
async function readConfigFile(file: string): Promise<ReadonlyMap<string, SettingOrigin>> {
  const cannot = `Cannot read ${printable(file)}`;
  try {
    // A FIFO would block open(2) for ever.
    if (!(await stat(file)).isFile()) throw invalid(`${cannot}: it is not a regular file`);
    const entries = flatten(await parseToml(await readFile(file, "utf8"), cannot));
    for (const [name] of entries) {
      if ((settingNames as string[]).includes(name)) continue;
      const known = nearest(name, settingNames);
      throw invalid(`${cannot}: there is no setting '${printable(name)}'; the nearest is '${known}'`);
    }
    return new Map(entries.map(([name, value]) => [name, { value, origin: `file:${file}` }]));
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === "ENOENT" || errno === "ENOTDIR") return new Map();
    if (errno !== undefined) throw invalid(`${cannot}: ${errno}`);
    throw error;
  }
}

async function parseToml(text: string, cannot: string): Promise<object> {
  // Only here: most commands find no file, and do not pay for loading it.
  const { parse, TomlError } = await import("smol-toml");
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [fact = ""] = error.message.split("\n");
    throw invalid(`${cannot}: line ${error.line}, column ${error.column}: ${printable(fact)}`);
  }
}

function flatten(table: object, prefix = ""): [string, unknown][] {
  return Object.entries(table).flatMap(([key, value]): [string, unknown][] =>
    isTable(value) && prefix === "" ? flatten(value, `${key}.`) : [[`${prefix}${key}`, value]],
  );
}

function isTable(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/**
 * By Levenshtein's distance: the fewest letters to insert, drop or change; of several the first. A limit that stands outside its
 * table is one letter off.
 */
export function nearest<Name extends string>(name: string, known: readonly Name[]): Name | undefined {
  const typed = name.slice(0, 100);
  const distances = known.map((candidate) =>
    Math.min(distance(typed, candidate), distance(`limits.${typed}`, candidate) + 1),
  );
  return known[distances.indexOf(Math.min(...distances))];
}

function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...from].entries()) {
    let left = i + 1;
    const next = [left];
    for (let j = 0; j < to.length; j += 1) {
      const changed = (row[j] ?? 0) + (letter === to[j] ? 0 : 1);
      left = Math.min(left + 1, (row[j + 1] ?? 0) + 1, changed);
      next.push(left);
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

const invalid = (message: string) => new StrataError("CONFIG_INVALID", message);

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === "object" && value !== null)
    for (const inner of Object.values(Object.freeze(value))) deepFreeze(inner);
  return value;
}
