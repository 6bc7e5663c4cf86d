/**
 * The table of settings: the loader, `config show`, and the README's table are all read from it.
 *
 * A row says what a value looks like and what stands in for one that nobody gave. Knows no file and no environment.
 */
import { availableParallelism } from "node:os";
import { isAbsolute, join } from "node:path";
import { z } from "zod";
import { parseSize } from "./byte-size.js";
import { Overlap } from "./choices.js";
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
  STALL_TIMEOUT_MS,
} from "./limits.js";
import { decoderChoices, dedupChoices } from "./tasks.js";

export interface Setting {
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

export interface ListenAddress {
  readonly host: "127.0.0.1" | "::1";
  readonly port: number;
}

const asIs = (text: string): unknown => text;
const splitBy = (separator: string) => (text: string) =>
  text
    .split(separator)
    .map((item) => item.trim())
    .filter((item) => item !== "");

export const absolute = z
  .string()
  .refine((text) => isAbsolute(text) && !text.includes("\0"), { error: "it is not an absolute path" });
const path = { schema: absolute, fromText: asIs };
const paths = { schema: z.array(absolute), fromText: splitBy(":") };
const words = { schema: z.array(z.string().min(1)), fromText: splitBy(",") };
const count = (max: number, min = 1) => ({
  schema: z.int().min(min).max(max),
  fromText: (text: string) => (/^\d+$/.test(text) ? Number(text) : text),
});
/** Bytes, also as a text with a unit. */
const size = (min = 1, max = Number.MAX_SAFE_INTEGER) => ({
  schema: z
    .union([z.number(), z.string().transform((text) => parseSize(text) ?? text)])
    .pipe(z.int("it is no number of bytes, like 500MB, 2GiB or 1000000").min(min).max(max)),
  fromText: asIs,
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
  { name: "cache_bytes", ...size(0), fallback: () => CACHE_BYTES, doc: `layers that no root needs stay up to this, the last used longest, for the next install (${CACHE_BYTES}, 10 GiB)` },
  { name: "cache_inodes", ...most, fallback: () => CACHE_INODES, doc: `the same in inodes (${CACHE_INODES}, as many as ext4 has for those bytes)` },
  { name: "idle_exit_ms", ...milliseconds, doc: "ends the daemon after this long without sessions and jobs; absent, never (one that a command started: ten minutes)" },
  { name: "scrub_bytes_per_second", ...size(), fallback: (c) => (c.system ? SCRUB_BYTES_PER_SECOND : undefined), doc: "reads stored layers again in the background, each once a week, at this rate and only while nothing else is to do; absent, not at all (the system's daemon: 4 MiB)" },
  { name: "drain_timeout_ms", ...milliseconds, fallback: () => DRAIN_TIMEOUT_MS, doc: "how long SIGTERM waits for running jobs" },
  { name: "stall_timeout_ms", ...milliseconds, fallback: () => STALL_TIMEOUT_MS, doc: "a worker without progress for this long is ended" },
  { name: "reserve_bytes", ...size(0), doc: "what installs leave free; absent, a twentieth of the file system, 1 GiB at most" },
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
/** The values of all settings but the limits, as their schemas give them. */
export type PlainValues = { readonly [Row in PlainSetting as Row["name"]]: z.output<Row["schema"]> };
