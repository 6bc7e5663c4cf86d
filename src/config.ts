/**
 * The daemon's configuration: file < environment < flag -> one frozen Config that knows the origin of each value.
 *
 * `settings` is the one table: the loader, `config show`, and the README's table are all read from it. A key of the file that
 * it lacks is an error; environment variables that it lacks belong to the command line. Acts on nothing.
 */
import { readFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import { z } from "zod";
import { StrataError, systemErrorCode } from "./errors.js";
import { checkStateDir, type PathsInput, type StratadPaths, stratadPaths } from "./host/paths.js";
import {
  CACHE_BYTES,
  CACHE_INODES,
  DRAIN_TIMEOUT_MS,
  type ImageLimits,
  imageLimits,
  KEEP_GENERATIONS,
  type LimitName,
  MAX_GENERATIONS,
  MAX_SOCKET_PATH_BYTES,
  SCRUB_BYTES_PER_SECOND,
  STALL_TIMEOUT_MS,
} from "./limits.js";
import type { LogLevel } from "./log.js";
import { Overlap } from "./messages/choices.js";
import { printable } from "./printable.js";
import { type Decoders, type Dedup, decoderChoices, dedupChoices } from "./tasks.js";

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
  readonly drainTimeoutMs: number;
  readonly stallTimeoutMs: number;
  /** What installs leave free; absent: a part of the file system. */
  readonly reserveBytes?: number;
  readonly reserveInodes?: number;
  readonly limits: ImageLimits;
  origin(name: SettingName): SettingOrigin;
}

export interface ListenAddress {
  readonly host: "127.0.0.1" | "::1";
  readonly port: number;
}

export interface SettingOrigin {
  readonly value: unknown;
  /** `default`, `file:/path`, `env:STRATAD_WORKERS` or `flag:--state`. */
  readonly origin: string;
}

interface Setting {
  /** As in the file; a dot leads into a table. */
  readonly name: string;
  readonly doc: string;
  readonly schema: z.ZodType;
  /** A value of the environment or a flag, as the file would have it. */
  readonly fromText: (text: string) => unknown;
  /** Absent: the setting has no value unless one is given. */
  readonly fallback?: (context: { paths: StratadPaths; system: boolean; runtimeDir: string }) => unknown;
  /** The flag of `stratad serve`. */
  readonly flag?: string;
}

const asIs = (text: string): unknown => text;
const splitBy = (separator: string) => (text: string) =>
  text
    .split(separator)
    .map((item) => item.trim())
    .filter((item) => item !== "");

const absolute = z
  .string()
  .refine((text) => isAbsolute(text) && !text.includes("\0"), { error: "it is not an absolute path" });
const path = { schema: absolute, fromText: asIs };
const paths = { schema: z.array(absolute), fromText: splitBy(":") };
const words = { schema: z.array(z.string().min(1)), fromText: splitBy(",") };
const count = (max: number, min = 1) => ({
  schema: z.int().min(min).max(max),
  fromText: (text: string) => (/^\d+$/.test(text) ? Number(text) : text),
});
/** 0 is none at all. */
const most = count(Number.MAX_SAFE_INTEGER, 0);
/** What a timer of Node takes. */
const milliseconds = count(2 ** 31 - 1);

const loopback = { schema: z.string().transform(parseLoopback), fromText: asIs };
const level = { schema: z.enum(["debug", "info", "warn", "error"]), fromText: asIs };
const policy = { schema: Overlap, fromText: asIs };
const policies = { schema: z.array(Overlap).min(1), fromText: words.fromText };
const engines = { schema: z.enum(decoderChoices), fromText: asIs };
const dedup = { schema: z.enum(dedupChoices), fromText: asIs };
const anOrigin = z.string().regex(/^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/, "an origin looks like https://host:port");
const origins = { schema: z.array(anOrigin), fromText: words.fromText };

function parseLoopback(text: string, context: z.RefinementCtx): ListenAddress {
  const [, v4, v6, port = "0"] = /^(?:(127\.0\.0\.1)|\[(::1)\])(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = v4 ?? v6;
  if ((host === "127.0.0.1" || host === "::1") && Number(port) <= 65535) return { host, port: Number(port) };
  context.addIssue("it is neither 127.0.0.1:PORT nor [::1]:PORT");
  return z.NEVER;
}

// biome-ignore format: a table is read one row a line
const plain = [
  { name: "state_dir", ...path, flag: "--state", fallback: (c) => c.paths.stateDir, doc: "store and roots, on one file system" },
  { name: "runtime_dir", ...path, fallback: (c) => c.paths.runtimeDir, doc: "sockets and daemon.json" },
  { name: "socket", ...path, flag: "--socket", fallback: (c) => join(c.runtimeDir, "stratad.sock"), doc: "the socket of full scope; that of read scope stands beside it, with -ro" },
  { name: "listen", ...loopback, flag: "--listen", doc: "loopback TCP as well: 127.0.0.1:PORT or [::1]:PORT, port 0 for any" },
  { name: "allowed_origins", ...origins, fallback: () => [], doc: "origins of web pages that may connect; `null` never may" },
  { name: "workers", ...count(1024), fallback: () => Math.max(1, availableParallelism()), doc: "threads that unpack and link; by default one for each processor" },
  { name: "decoders", ...engines, fallback: () => "native", doc: "native, or javascript: the same engines on every Node version, slower (see Codecs)" },
  { name: "store.dedup", ...dedup, fallback: () => "off", doc: "files: equal files of several layers are stored once (see Files that layers share); off" },
  { name: "overlap", ...policy, fallback: () => "c", doc: "the overlap policy of an install that names none: c, b or a" },
  { name: "allowed_overlaps", ...policies, fallback: () => ["c", "b", "a"], doc: "the policies that an install may name" },
  { name: "log_level", ...level, fallback: () => "info", doc: "debug, info, warn or error" },
  { name: "insecure_registries", ...words, fallback: () => [], doc: "HOST[:PORT] of registries asked over plain HTTP, besides loopback" },
  { name: "import_dirs", ...paths, fallback: (c) => (c.system ? [] : undefined), doc: "local images must lie below one of these; absent, a user's daemon reads anywhere and the system's nowhere" },
  { name: "keep_generations", ...count(MAX_GENERATIONS), fallback: () => KEEP_GENERATIONS, doc: `generations of a name that a rollback finds, the newest; older roots are removed (${KEEP_GENERATIONS})` },
  { name: "cache_bytes", ...most, fallback: () => CACHE_BYTES, doc: `layers that no root needs stay up to this, the last used longest, for the next install (${CACHE_BYTES}, 10 GiB)` },
  { name: "cache_inodes", ...most, fallback: () => CACHE_INODES, doc: `the same in inodes (${CACHE_INODES}, as many as ext4 has for those bytes)` },
  { name: "idle_exit_ms", ...milliseconds, doc: "ends the daemon after this long without sessions and jobs; absent, never (one that a command started: ten minutes)" },
  { name: "scrub_bytes_per_second", ...count(Number.MAX_SAFE_INTEGER), fallback: (c) => (c.system ? SCRUB_BYTES_PER_SECOND : undefined), doc: "reads stored layers again in the background, each once a week, at this rate and only while nothing else is to do; absent, not at all (the system's daemon: 4 MiB)" },
  { name: "drain_timeout_ms", ...milliseconds, fallback: () => DRAIN_TIMEOUT_MS, doc: "how long SIGTERM waits for running jobs" },
  { name: "stall_timeout_ms", ...milliseconds, fallback: () => STALL_TIMEOUT_MS, doc: "a worker without progress for this long is ended" },
  { name: "reserve_bytes", ...count(Number.MAX_SAFE_INTEGER, 0), doc: "what installs leave free; absent, a twentieth of the file system, 1 GiB at most" },
  { name: "reserve_inodes", ...count(Number.MAX_SAFE_INTEGER, 0), doc: "the same in inodes; absent, a twentieth, 10,000 at most" },
] as const satisfies readonly Setting[];

/** `most` where raising the limit would only move the failure into the kernel. */
const limitRows: Readonly<Record<LimitName, { doc: string; most?: number }>> = {
  maxLayers: { doc: "layers of an image" },
  maxEntriesPerLayer: { doc: "entries of a layer" },
  maxNameBytesPerLayer: { doc: "bytes of all paths and link targets of a layer" },
  maxEntriesPerImage: { doc: "entries of an image" },
  maxLayerBytes: { doc: "bytes of a layer unpacked" },
  maxImageBytes: { doc: "bytes of an image unpacked" },
  maxRatio: { doc: "unpacked to compressed bytes of a layer" },
  ratioFloorBytes: { doc: "unpacked bytes below which the ratio is not judged" },
  maxDepth: { doc: "directories below one another" },
  maxComponentBytes: { doc: "bytes of one name", most: imageLimits.maxComponentBytes },
  maxPathBytes: { doc: "bytes of a path in a layer", most: imageLimits.maxPathBytes },
  maxLinkBytes: { doc: "bytes of a symlink's target", most: imageLimits.maxLinkBytes },
  maxHeaderBytes: { doc: "bytes of a PAX or GNU long header" },
  maxGzipHeaderBytes: { doc: "bytes of a gzip header" },
  maxWindowBytes: { doc: "bytes of a zstd window or an xz dictionary" },
};
const limitNames = Object.keys(imageLimits) as LimitName[];
const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const limitKey = (name: LimitName): `limits.${string}` => `limits.${snakeCase(name)}`;

export type SettingName = (typeof plain)[number]["name"] | `limits.${string}`;

/** Every setting, in the order of the documentation. */
export const settings: readonly (Setting & { readonly name: SettingName })[] = [
  ...plain,
  ...limitNames.map((name) => ({
    name: limitKey(name),
    ...count(limitRows[name].most ?? Number.MAX_SAFE_INTEGER),
    fallback: () => imageLimits[name],
    doc: limitRows[name].doc,
  })),
];
const settingNames = settings.map(({ name }) => name);

type PlainSetting = (typeof plain)[number];
type PlainValues = { readonly [Row in PlainSetting as Row["name"]]: z.output<Row["schema"]> };

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
    const text = setting.schema === absolute && flag !== "" ? resolve(flag) : flag;
    return { value: setting.fromText(text), origin: `flag:${setting.flag ?? `--${name.replace(/[._]/g, "-")}`}` };
  }
  const variable = `STRATAD_${name.replace(".", "_").toUpperCase()}`;
  const text = env[variable];
  if (text !== undefined && text !== "") return { value: setting.fromText(text), origin: `env:${variable}` };
  return file.get(name);
}

function checked(setting: Setting, { value, origin }: SettingOrigin): unknown {
  const outcome = setting.schema.safeParse(value);
  if (outcome.success) return outcome.data;
  const fact = outcome.error.issues[0]?.message ?? "it is not valid";
  const shown = printable(JSON.stringify(value) ?? "nothing");
  throw invalid(`Cannot use ${setting.name} = ${shown} from ${printable(origin)}: ${fact}`);
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
    const entries = flatten(parse(await readFile(file, "utf8")));
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
