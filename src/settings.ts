/**
 * The table of settings: the loader, `config show`, and the README's table are all read from it.
 *
 * A row says what a value looks like and what stands in for one that nobody gave. Knows no file and no environment.
 */
import { availableParallelism } from "node:os";
import { isAbsolute, join } from "node:path";
import { parseSize } from "./byte-size.js";
import { overlaps } from "./choices.js";
import type { StratadPaths } from "./host/paths.js";
import {
  CACHE_BYTES,
  CACHE_INODES,
  DRAIN_TIMEOUT_MS,
  imageLimits,
  KEEP_GENERATIONS,
  type LimitName,
  MAX_GENERATIONS,
  SCRUB_BYTES_PER_SECOND,
  SPARE_ENTRIES,
  STALL_TIMEOUT_MS,
} from "./limits.js";
import { logLevels } from "./log.js";
import { isRegistryHost } from "./oci/reference.js";
import { decoderChoices, dedupChoices } from "./tasks.js";

export interface Setting {
  /** As in the file; a dot leads into a table. */
  readonly name: string;
  readonly doc: string;
  /** The value as Config has it, of one that the file or `fromText` gives. Throws UnfitValue. */
  readonly read: (given: unknown) => unknown;
  /** A value of the environment or a flag, as the file would have it. */
  readonly fromText: (text: string) => unknown;
  /** Absent: the setting has no value unless one is given. */
  readonly fallback?: (context: { paths: StratadPaths; system: boolean; runtimeDir: string }) => unknown;
  /** The flag of `stratad serve`. */
  readonly flag?: string;
}

export interface ListenAddress {
  readonly host: "127.0.0.1" | "::1";
  readonly port: number;
}

/** What a setting may not be; the message says it of "it". */
export class UnfitValue extends Error {}

export function absolutePath(given: unknown): string {
  if (typeof given === "string" && isAbsolute(given) && !given.includes("\0")) return given;
  throw new UnfitValue("it is not an absolute path");
}

/** https://host:port, or the like of a browser's extension. */
function origin(given: unknown): string {
  if (typeof given === "string" && /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/.test(given)) return given;
  throw new UnfitValue("an origin looks like https://host:port");
}

/** As references have it. */
function registryHost(given: unknown): string {
  const host = typeof given === "string" ? given.toLowerCase() : "";
  if (isRegistryHost(host)) return host;
  throw new UnfitValue("a registry is HOST or HOST:PORT, without a scheme and a path");
}

function loopbackAddress(given: unknown): ListenAddress {
  const text = typeof given === "string" ? given : "";
  const [, v4, v6, port = "0"] = /^(?:(127\.0\.0\.1)|\[(::1)\])(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = v4 ?? v6;
  if ((host === "127.0.0.1" || host === "::1") && Number(port) <= 65535) return { host, port: Number(port) };
  throw new UnfitValue("it is neither 127.0.0.1:PORT nor [::1]:PORT");
}

const wholeNumber =
  (min: number, max: number, unfit: string) =>
  (given: unknown): number => {
    if (!Number.isSafeInteger(given)) throw new UnfitValue(unfit);
    const number = given as number;
    if (number < min) throw new UnfitValue(`it is less than ${min}`);
    if (number > max) throw new UnfitValue(`it is more than ${max}`);
    return number;
  };

const listOf =
  <Item>(item: (given: unknown) => Item, min = 0) =>
  (given: unknown): readonly Item[] => {
    if (!Array.isArray(given)) throw new UnfitValue("it is no list");
    if (given.length < min) throw new UnfitValue("it is an empty list");
    return given.map(item);
  };

const oneOf =
  <Choice extends string>(choices: readonly Choice[]) =>
  (given: unknown): Choice => {
    const found = choices.find((choice) => choice === given);
    if (found === undefined) throw new UnfitValue(`it is none of ${choices.join(", ")}`);
    return found;
  };

const asIs = (text: string): unknown => text;
const splitBy = (separator: string) => (text: string) =>
  text
    .split(separator)
    .map((item) => item.trim())
    .filter((item) => item !== "");

const commaSeparated = splitBy(",");

const path = { read: absolutePath, fromText: asIs };
const paths = { read: listOf(absolutePath), fromText: splitBy(":") };
const count = (max: number, min = 1) => ({
  read: wholeNumber(min, max, "it is no whole number"),
  fromText: (text: string) => (/^\d+$/.test(text) ? Number(text) : text),
});
/** Bytes, also as a text with a unit. */
const size = (min = 1, max = Number.MAX_SAFE_INTEGER) => {
  const bytes = wholeNumber(min, max, "it is no number of bytes, like 500MB, 2GiB or 1000000");
  return { read: (given: unknown) => bytes(typeof given === "string" ? parseSize(given) : given), fromText: asIs };
};
/** 0 is none at all. */
const most = count(Number.MAX_SAFE_INTEGER, 0);
/** What a timer of Node takes. */
const milliseconds = count(2 ** 31 - 1);

const loopback = { read: loopbackAddress, fromText: asIs };
const level = { read: oneOf(logLevels), fromText: asIs };
const policy = { read: oneOf(overlaps), fromText: asIs };
const policies = { read: listOf(policy.read, 1), fromText: commaSeparated };
const engines = { read: oneOf(decoderChoices), fromText: asIs };
const dedup = { read: oneOf(dedupChoices), fromText: asIs };
const origins = { read: listOf(origin), fromText: commaSeparated };
const registries = { read: listOf(registryHost), fromText: commaSeparated };

// biome-ignore format: a table is read one row a line
const plain = [
  { name: "state_dir", ...path, flag: "--state", fallback: (c) => c.paths.stateDir, doc: "store and roots, on one file system" },
  { name: "runtime_dir", ...path, fallback: (c) => c.paths.runtimeDir, doc: "sockets, tokens and daemon.json of one daemon" },
  { name: "socket", ...path, flag: "--socket", fallback: (c) => join(c.runtimeDir, "stratad.sock"), doc: "the socket of full scope; that of read scope stands beside it, with -ro" },
  { name: "listen", ...loopback, flag: "--listen", doc: "loopback TCP as well: 127.0.0.1:PORT or [::1]:PORT, port 0 for any" },
  { name: "allowed_origins", ...origins, fallback: () => [], doc: "origins of web pages that may connect; `null` never may" },
  { name: "workers", ...count(1024), fallback: () => Math.max(2, availableParallelism()), doc: "threads that unpack and link; by default one for each processor, and two at least: one may wait for a download" },
  { name: "decoders", ...engines, fallback: () => "native", doc: "native (the default), or javascript: the same engines on every Node version, slower (see Codecs)" },
  { name: "store.dedup", ...dedup, fallback: () => "off", doc: "files: equal files of several layers are stored once (see Files that layers share); off" },
  { name: "overlap", ...policy, fallback: () => "c", doc: "the overlap policy of an install that names none: c, b or a (c)" },
  { name: "allowed_overlaps", ...policies, fallback: () => ["c", "b", "a"], doc: "the policies that an install may name (all)" },
  { name: "log_level", ...level, fallback: () => "info", doc: "debug, info, warn or error (info)" },
  { name: "insecure_registries", ...registries, fallback: () => [], doc: "HOST[:PORT] of registries asked over plain HTTP, besides loopback" },
  { name: "import_dirs", ...paths, fallback: (c) => (c.system ? [] : undefined), doc: "local images must lie below one of these; absent, a user's daemon reads anywhere and the system's nowhere" },
  { name: "keep_generations", ...count(MAX_GENERATIONS), fallback: () => KEEP_GENERATIONS, doc: `generations of a name that a rollback finds, the newest; older roots are removed (${KEEP_GENERATIONS})` },
  { name: "cache_bytes", ...size(0), fallback: () => CACHE_BYTES, doc: `layers that no root needs stay up to this, the last used longest, for the next install (${CACHE_BYTES}, 10 GiB)` },
  { name: "cache_inodes", ...most, fallback: () => CACHE_INODES, doc: `the same in inodes (${CACHE_INODES}, as many as ext4 has for those bytes)` },
  { name: "spare_entries", ...most, fallback: () => SPARE_ENTRIES, doc: `links that are made ahead, while nothing else is to do, for the next root of a layer (${SPARE_ENTRIES}; see Spares)` },
  { name: "idle_exit_ms", ...milliseconds, doc: "ends the daemon after this long without sessions and jobs; absent, never (one that a command started: ten minutes)" },
  { name: "scrub_bytes_per_second", ...size(), fallback: (c) => (c.system ? SCRUB_BYTES_PER_SECOND : undefined), doc: "reads stored layers again in the background, each once a week, at this rate and only while nothing else is to do; absent, not at all (the system's daemon: 4 MiB)" },
  { name: "drain_timeout_ms", ...milliseconds, fallback: () => DRAIN_TIMEOUT_MS, doc: `how long SIGTERM waits for running jobs (${DRAIN_TIMEOUT_MS})` },
  { name: "stall_timeout_ms", ...milliseconds, fallback: () => STALL_TIMEOUT_MS, doc: `a worker without progress for this long is ended (${STALL_TIMEOUT_MS})` },
  { name: "reserve_bytes", ...size(0), doc: "what installs leave free; absent, a twentieth of the file system, 1 GiB at most" },
  { name: "reserve_inodes", ...most, doc: "the same in inodes; absent, a twentieth, 10,000 at most" },
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
  maxWindowBytes: { doc: "bytes of a zstd window (which has 128 MiB at most) or an xz dictionary" },
};
export const limitNames = Object.keys(imageLimits) as LimitName[];
const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
export const limitKey = (name: LimitName): `limits.${string}` => `limits.${snakeCase(name)}`;

export type SettingName = (typeof plain)[number]["name"] | `limits.${string}`;

/** Every setting, in the order of the documentation. */
export const settings: readonly (Setting & { readonly name: SettingName })[] = [
  ...plain,
  ...limitNames.map((name) => ({
    name: limitKey(name),
    ...(name.endsWith("Bytes")
      ? size(1, limitRows[name].most)
      : count(limitRows[name].most ?? Number.MAX_SAFE_INTEGER)),
    fallback: () => imageLimits[name],
    doc: limitRows[name].doc,
  })),
];

type PlainSetting = (typeof plain)[number];
/** The values of all settings but the limits, as they are read. */
export type PlainValues = { readonly [Row in PlainSetting as Row["name"]]: ReturnType<Row["read"]> };
