/**
 * Credentials as docker and podman store them: the `auths` of their JSON files, read when a registry asks.
 *
 * Files are looked at in order and the first that knows the registry wins; a missing one is fine, a broken one is CONFIG_INVALID.
 * Helper programs (`credsStore`, `credHelpers`) are not run.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { StrataError, systemErrorCode } from "../../errors.js";
import { parseJson } from "../../oci/json.js";
import { printable } from "../../printable.js";

export type Credential =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, for the token service only. */
  | { readonly kind: "identity"; readonly token: string };

export interface CredentialSource {
  /** Undefined where nothing is known: the registry is then asked as anybody. CONFIG_INVALID. */
  find(registry: string, repository: string): Promise<Credential | undefined>;
}

export const noCredentials: CredentialSource = { find: async () => undefined };

/** The files of the environment's user. */
export function userCredentials(environment: NodeJS.ProcessEnv = process.env): CredentialSource {
  const { DOCKER_CONFIG, REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, HOME } = environment;
  return fileCredentials([
    ...(DOCKER_CONFIG ? [join(DOCKER_CONFIG, "config.json")] : []),
    ...(REGISTRY_AUTH_FILE ? [REGISTRY_AUTH_FILE] : []),
    ...(XDG_RUNTIME_DIR ? [join(XDG_RUNTIME_DIR, "containers/auth.json")] : []),
    ...(HOME ? [join(HOME, ".docker/config.json")] : []),
  ]);
}

export function fileCredentials(paths: readonly string[]): CredentialSource {
  return {
    find: async (registry, repository) => {
      for (const path of paths) {
        const found = lookUp(await readAuths(path), registry, repository);
        if (found !== undefined) return credentialOf(found, path);
      }
      return undefined;
    },
  };
}

const Auth = z.looseObject({
  auth: z.string().nullish(),
  username: z.string().nullish(),
  password: z.string().nullish(),
  identitytoken: z.string().nullish(),
});
type Auth = z.infer<typeof Auth>;
const AuthFile = z.looseObject({ auths: z.record(z.string(), Auth).nullish() });

async function readAuths(path: string): Promise<Readonly<Record<string, Auth>>> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === "ENOENT" || errno === "ENOTDIR") return {};
    throw invalid(path, errno ?? "it cannot be read");
  }
  if (bytes.byteLength === 0) return {};
  const parsed = AuthFile.safeParse(jsonOf(bytes, path));
  if (parsed.success) return parsed.data.auths ?? {};
  throw invalid(path, "its `auths` are not of docker's form");
}

/** `host/a/b`, then `host/a`, then `host` (containers-auth.json(5)). */
function lookUp(auths: Readonly<Record<string, Auth>>, registry: string, repository: string): Auth | undefined {
  const hosts = registry === "docker.io" ? DOCKER_HUB : [registry];
  const entries = Object.entries(auths).filter(
    ([, auth]) => auth.auth || auth.identitytoken || (auth.username && auth.password),
  );
  const parts = repository.split("/");
  for (let count = parts.length; count >= 0; count -= 1) {
    for (const host of hosts) {
      const wanted = [host, ...parts.slice(0, count)].join("/");
      const entry = entries.find(([key]) => normalKey(key) === wanted);
      if (entry !== undefined) return entry[1];
    }
  }
  return undefined;
}

const DOCKER_HUB = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/** With a scheme only the host counts (`https://index.docker.io/v1/`); without one a path is a prefix of repositories. */
function normalKey(key: string): string {
  const host = /^https?:\/\/([^/]*)/.exec(key)?.[1];
  return (host ?? key.replace(/\/(?:v[12]\/?)?$/, "")).toLowerCase();
}

function credentialOf({ auth, username, password, identitytoken }: Auth, path: string): Credential {
  if (identitytoken) return { kind: "identity", token: identitytoken };
  if (username && password) return { kind: "basic", username, password };
  const decoded = Buffer.from(auth ?? "", "base64")
    .toString("utf8")
    .replace(/\0+$/, "");
  const colon = decoded.indexOf(":");
  if (colon < 1) throw invalid(path, "an `auth` is not the base64 of user:password");
  return { kind: "basic", username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

function jsonOf(bytes: Buffer, path: string): unknown {
  try {
    return parseJson(bytes, "the file");
  } catch {
    throw invalid(path, "it is not JSON");
  }
}

/** Without a cause: it could quote the file. */
function invalid(path: string, fact: string): StrataError {
  return new StrataError("CONFIG_INVALID", `Cannot read the credentials in ${printable(path)}: ${fact}`);
}
