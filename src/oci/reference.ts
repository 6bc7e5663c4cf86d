/**
 * References: what a client names, as text and as data (cli.md, References).
 *
 * `parseReference(formatReference(x))` is x. Names and local paths are checked for form only; whether they exist, and whether
 * the daemon may look at them, is for sources/.
 */
import { basename, extname, isAbsolute, resolve } from "node:path";
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";
import { type Digest, parseDigest } from "./digest.js";

export interface DockerReference {
  readonly transport: "docker";
  /** `host` or `host:port`, lower case; Docker Hub is `docker.io`. */
  readonly registry: string;
  readonly repository: string;
  /** Where both are there the digest wins. One of them always is. */
  readonly tag?: string;
  readonly digest?: Digest;
}

export interface LayoutReference {
  readonly transport: "oci";
  readonly path: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

export interface ArchiveReference {
  /** The tag of a docker-archive is `repository[:tag]`. */
  readonly transport: "oci-archive" | "docker-archive";
  readonly path: string;
  readonly tag?: string;
}

export type Reference = DockerReference | LayoutReference | ArchiveReference;

/** The grammar of containers-transports and, for registries, of distribution/reference. INVALID_REFERENCE. */
export function parseReference(text: string): Reference {
  if (text.length > MAX_TEXT) refuse(text, `it is longer than ${MAX_TEXT} characters`);
  if (/[\0\r\n]/.test(text)) refuse(text, "it contains NUL or a line break");
  const transport = /^(oci|oci-archive|docker-archive):/.exec(text)?.[1] as LocalTransport | undefined;
  if (transport !== undefined) return parseLocal(text, transport);
  return parseDocker(text, text.startsWith("docker://") ? text.slice("docker://".length) : text);
}

/** The canonical text: host, `library/` and tag are spelled out. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? "" : `:${reference.tag}`;
  switch (reference.transport) {
    case "docker":
      return `${reference.registry}/${reference.repository}${tag}${atDigest(reference.digest)}`;
    case "oci":
      return `oci:${reference.path}${tag}${atDigest(reference.digest)}`;
    case "oci-archive":
    case "docker-archive":
      return `${reference.transport}:${reference.path}${tag}`;
  }
}

/** The path of a layout or an archive; undefined for a registry. */
export function localPath(reference: Reference): string | undefined {
  return reference.transport === "docker" ? undefined : reference.path;
}

/** The same reference with a local path made absolute from `cwd`. INVALID_REFERENCE where a directory above has a `:` in its name. */
export function withAbsolutePath(reference: Reference, cwd: string): Reference {
  if (reference.transport === "docker" || isAbsolute(reference.path)) return reference;
  const path = resolve(cwd, reference.path);
  if (path.includes(":")) refuse(path, "a path with ':' cannot be told from its tag");
  return { ...reference, path };
}

/** What an install is called when nobody says: not validated yet, see `parseName`. */
export function defaultName(reference: Reference): string {
  if (reference.transport === "docker") return lastComponent(reference.repository);
  if (reference.tag === undefined) return basename(reference.path, extname(reference.path));
  if (reference.transport === "docker-archive") return lastComponent(parseDockerTag(reference.tag).repository);
  return reference.tag;
}

export const mayBeName = (text: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(text);

/** The text itself where it may be a name. INVALID_NAME. */
export function parseName(text: string, hint?: string): string {
  if (mayBeName(text)) return text;
  throw new StrataError("INVALID_NAME", `Cannot use '${printable(text)}' as a name: it is not of the allowed form`, {
    hint,
  });
}

/** As parseName, for one that is to be there. */
export const parseKnownName = (text: string): string => parseName(text, "`stratad roots` lists the names.");

/** The `REF` of a docker-archive, or an entry of its RepoTags, in canonical form: `alpine` is `docker.io/library/alpine:latest`. INVALID_REFERENCE. */
export function parseDockerTag(text: string): DockerReference {
  const reference = parseDocker(text, text);
  return reference.digest === undefined ? reference : refuse(text, "a digest cannot choose in an archive");
}

type LocalTransport = Exclude<Reference["transport"], "docker">;

const MAX_TEXT = 4096;
const MAX_NAME = 255;
const HOST = /^(?:[a-z0-9]+(?:-+[a-z0-9]+)*(?:\.[a-z0-9]+(?:-+[a-z0-9]+)*)*|\[[a-f0-9:]+\])(?::(\d{1,5}))?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
/** `org.opencontainers.image.ref.name` may hold a whole reference (image-spec v1.1 annotations.md). */
const LOCAL_TAG = /^[A-Za-z0-9_][A-Za-z0-9_.:@/+-]{0,127}$/;

function parseDocker(text: string, rest: string): DockerReference {
  const at = rest.indexOf("@");
  const named = at < 0 ? rest : rest.slice(0, at);
  const digest = at < 0 ? undefined : digestIn(text, rest.slice(at + 1));
  const colon = named.lastIndexOf(":");
  const tagged = colon > named.lastIndexOf("/");
  const tag = tagged ? named.slice(colon + 1) : digest === undefined ? "latest" : undefined;
  if (tag !== undefined && !TAG.test(tag)) refuse(text, "the tag is not 1-128 of A-Z a-z 0-9 _ . -");
  const name = splitName(text, tagged ? named.slice(0, colon) : named);
  return { transport: "docker", ...name, ...(tag === undefined ? {} : { tag }), ...withDigest(digest) };
}

/** `host` or `host:port`, lower case. */
export function isRegistryHost(text: string): boolean {
  const port = HOST.exec(text);
  return port !== null && Number(port[1] ?? 0) <= 65_535;
}

/** The first component is a host where it could not be part of a repository: it has a `.` or a `:`, or is `localhost`. */
function splitName(text: string, name: string): { registry: string; repository: string } {
  if (/^[0-9a-f]{64}$/.test(name)) refuse(text, "64 hex digits are an identifier, not a name");
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  const hasHost = /[.:]/.test(first) || first.toLowerCase() === "localhost";
  const host = hasHost ? first.toLowerCase() : "docker.io";
  const registry = host === "index.docker.io" ? "docker.io" : host;
  const path = hasHost ? name.slice(slash + 1) : name;
  const repository = registry === "docker.io" && !path.includes("/") ? `library/${path}` : path;
  if (!isRegistryHost(registry)) refuse(text, "the host is not a host name with an optional port");
  if (!REPOSITORY.test(repository)) refuse(text, "the repository is not lower-case components of a-z 0-9 . _ -");
  if (registry.length + repository.length >= MAX_NAME) refuse(text, `the name is longer than ${MAX_NAME} characters`);
  return { registry, repository };
}

/** A path ends at its first `:`, as in containers-transports; a digest may follow after `@`. */
function parseLocal(text: string, transport: LocalTransport): Reference {
  const rest = text.slice(transport.length + 1);
  const found = transport === "oci" ? /@((?:sha256|sha512):[^@]*|[a-z0-9+._-]+:[0-9a-fA-F]{32,})$/.exec(rest) : null;
  const digest = found?.[1] === undefined ? undefined : digestIn(text, found[1]);
  const named = found === null ? rest : rest.slice(0, found.index);
  const colon = named.indexOf(":");
  const path = colon < 0 ? named : named.slice(0, colon);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (path === "") refuse(text, "there is no path in it");
  if (tag !== undefined && transport === "docker-archive") parseDockerTag(tag);
  else if (tag !== undefined && !LOCAL_TAG.test(tag)) refuse(text, "the tag is not 1-128 of A-Z a-z 0-9 _ . : @ / + -");
  const tagPart = tag === undefined ? {} : { tag };
  return transport === "oci" ? { transport, path, ...tagPart, ...withDigest(digest) } : { transport, path, ...tagPart };
}

function digestIn(text: string, digest: string): Digest {
  try {
    return parseDigest(digest);
  } catch {
    return refuse(text, "what follows @ is not a sha256 or sha512 digest");
  }
}

const withDigest = (digest: Digest | undefined) => (digest === undefined ? {} : { digest });
const atDigest = (digest: Digest | undefined) => (digest === undefined ? "" : `@${digest}`);
const lastComponent = (repository: string) => repository.slice(repository.lastIndexOf("/") + 1);

function refuse(text: string, fact: string): never {
  throw new StrataError("INVALID_REFERENCE", `Cannot read the reference '${printable(text)}': ${fact}`);
}
