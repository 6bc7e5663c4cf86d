/**
 * Platforms: which one this machine is, and which manifest of an index fits.
 *
 * Architectures have Go's names (image-spec v1.1 image-index.md). A variant is a level: a machine of a higher level runs
 * what was built for a lower one. Never another architecture.
 */
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";
import type { Descriptor } from "./documents.js";
import { isIndex, isManifest } from "./media-types.js";

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** For every machine, as OCX marks packages of scripts, jars and data. */
export const ANY_PLATFORM: Platform = { os: "any", architecture: "any" };

export const isAnyPlatform = ({ os, architecture, variant }: Platform): boolean =>
  os === ANY_PLATFORM.os && architecture === ANY_PLATFORM.architecture && variant === undefined;

/** What this process runs on. */
export function hostPlatform(): Platform {
  const os = process.platform === "win32" ? "windows" : process.platform;
  const architecture = nodeArchitectures[process.arch] ?? process.arch;
  if (architecture !== "arm") return { os, architecture };
  const { arm_version: version } = process.config.variables as { readonly arm_version?: string };
  return { os, architecture, variant: `v${version ?? 7}` };
}

/** `os/architecture[/variant]`, with the usual other spellings of architectures. INVALID_PARAMS. */
export function parsePlatform(text: string): Platform {
  if (!FORM.test(text)) {
    throw new StrataError(
      "INVALID_PARAMS",
      `Cannot read the platform '${printable(text)}': it is not OS/ARCH[/VARIANT]`,
      { hint: "Platforms look like linux/arm64 or linux/arm/v7." },
    );
  }
  const [os = "", spelled = "", given] = text.split("/");
  const [architecture, implied] = spellings[spelled.toLowerCase()] ?? [spelled.toLowerCase()];
  const variant = given ?? implied;
  return variant === undefined ? { os, architecture } : { os, architecture, variant };
}

/** Total: also for what an image says; the caller escapes it. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** Whether it is of the form that parsePlatform reads: an image may say anything. */
export function isPlainPlatform(platform: Platform): boolean {
  return FORM.test(formatPlatform(platform));
}

/** Whether a machine that is `wanted` runs what was built for `offered`. */
export function platformMatches(offered: Platform, wanted: Platform): boolean {
  return rank(offered, wanted) !== undefined;
}

/**
 * The manifest of an index for `wanted`: of those that match, the one of the highest variant, of equals the first; one for any
 * platform where none is for this one. Attestations (`unknown/unknown`) are skipped. Where none matches but a manifest or index is there
 * without a platform, the first of those: its config decides. A media type that is not known is no error while another one fits
 * (image-spec v1.1 image-index.md, mediaType).
 * NO_PLATFORM, listing what there is.
 */
export function selectPlatform(descriptors: readonly Descriptor[], wanted: Platform): Descriptor {
  const candidates = descriptors.filter((descriptor) => !isAttestation(descriptor));
  const readable = candidates.filter(({ mediaType }) => isManifest(mediaType) || isIndex(mediaType));
  const unmarked = ({ platform }: Descriptor) => platform === undefined;
  const chosen = best(readable, wanted) ?? readable.find(unmarked) ?? best(candidates, wanted);
  if (chosen !== undefined) return chosen;
  throw noPlatform(
    wanted,
    candidates.flatMap(({ platform }) => (platform === undefined ? [] : [platform])),
  );
}

function best(descriptors: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  let found: { readonly descriptor: Descriptor; readonly rank: number } | undefined;
  for (const descriptor of descriptors) {
    const own = descriptor.platform === undefined ? undefined : rank(descriptor.platform, wanted);
    if (own !== undefined && (found === undefined || own > found.rank)) found = { descriptor, rank: own };
  }
  return found?.descriptor;
}

/** NO_PLATFORM, to be thrown; `available` is what the image says. */
export function noPlatform(wanted: Platform, available: readonly Platform[]): StrataError {
  const listed = [...new Set(available.map((platform) => printable(formatPlatform(platform), 64)))].slice(
    0,
    MAX_LISTED,
  );
  const fact = listed.length === 0 ? "it names no platform" : `there is only ${listed.join(", ")}`;
  return new StrataError("NO_PLATFORM", `Cannot find the image for ${formatPlatform(wanted)}: ${fact}`, {
    details: { wanted: formatPlatform(wanted), available: listed },
  });
}

const FORM = /^[a-z0-9_]{1,32}\/[A-Za-z0-9_]{1,32}(?:\/[A-Za-z0-9_.]{1,32})?$/;

/** Platforms named in one message; real images have about ten. */
const MAX_LISTED = 32;

const nodeArchitectures: Readonly<Record<string, string>> = {
  x64: "amd64",
  ia32: "386",
  ppc64: "ppc64le",
  mipsel: "mipsle",
};

const spellings: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x86_64: ["amd64"],
  x64: ["amd64"],
  i386: ["386"],
  i686: ["386"],
  aarch64: ["arm64"],
  armhf: ["arm", "v7"],
  armel: ["arm", "v6"],
};

/** The level of a platform that names none, as containerd has it. */
const defaultLevels: Readonly<Record<string, number>> = { amd64: 1, arm: 7, arm64: 8 };

/** Below every level. */
const ANY_RANK = -1;

/** Undefined where `wanted` cannot run it; higher is nearer. */
function rank(offered: Platform, wanted: Platform): number | undefined {
  if (!isPlainPlatform(offered)) return undefined;
  if (isAnyPlatform(offered)) return ANY_RANK;
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return undefined;
  const base = defaultLevels[wanted.architecture];
  const own = level(offered.variant, base);
  const limit = level(wanted.variant, base);
  if (own !== undefined && limit !== undefined) return own <= limit ? own : undefined;
  return offered.variant === undefined || wanted.variant === undefined || offered.variant === wanted.variant
    ? 0
    : undefined;
}

function level(variant: string | undefined, base: number | undefined): number | undefined {
  if (variant === undefined || variant === "" || base === undefined) return base;
  const digits = /^v?(\d{1,2})(?:\.\d+)?$/.exec(variant)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** What says something of another manifest of its index, as buildkit writes it. */
export function isAttestation({ platform, annotations }: Descriptor): boolean {
  return (
    (platform?.os === "unknown" && platform.architecture === "unknown") ||
    annotations?.["vnd.docker.reference.type"] === "attestation-manifest"
  );
}
