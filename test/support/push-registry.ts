/**
 * A registry on 127.0.0.1 that takes what is pushed, in memory, and does what its script says: honest by default, strict about
 * distribution-spec's order of things, wrong in one place where a test wants it.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json, type SeenRequest, sha256 } from "./registry.js";

export interface PushExchange {
  readonly request: SeenRequest;
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  /** What it is: `head blob`, `mount`, `begin`, `patch`, `put blob`, `put manifest`, `token` or `other`. */
  readonly kind: string;
  /** How often there was one of the kind, from 1. */
  readonly count: number;
}

/** True where it answered itself. The body is unread. */
export type PushScript = (exchange: PushExchange) => boolean | undefined | Promise<boolean | undefined>;

export interface PushRegistryOptions {
  readonly script?: PushScript;
  /** Bearer: a token gives the scopes that were asked for, but for those of `unreadable` repositories. */
  readonly auth?: "basic" | "bearer";
  readonly unreadable?: readonly string[];
  readonly minChunkBytes?: number;
  /** Of a Location; relative by default. */
  readonly locationBase?: string;
  /** False: a mount gets a session. */
  readonly mounts?: boolean;
}

export interface Repository {
  readonly blobs: Map<string, Buffer>;
  /** By tag and by digest. */
  readonly manifests: Map<string, { readonly bytes: Buffer; readonly mediaType: string }>;
}

export interface PushRegistry {
  readonly host: string;
  readonly url: string;
  readonly requests: readonly SeenRequest[];
  /** As `kind`, in order. */
  readonly kinds: readonly string[];
  readonly user: { readonly username: string; readonly password: string };
  repository(name: string): Repository;
  close(): Promise<void>;
}

export async function startPushRegistry(options: PushRegistryOptions = {}): Promise<PushRegistry> {
  const requests: SeenRequest[] = [];
  const kinds: string[] = [];
  const repositories = new Map<string, Repository>();
  const sessions = new Map<string, Buffer>();
  let begun = 0;
  const user = { username: "pusher", password: "s3cret" };
  const basic = `Basic ${Buffer.from(`${user.username}:${user.password}`).toString("base64")}`;
  const repository = (name: string): Repository => {
    const known = repositories.get(name) ?? { blobs: new Map(), manifests: new Map() };
    repositories.set(name, known);
    return known;
  };

  const server = createServer((incoming, response) => {
    handle(incoming, response).catch(() => response.destroy());
  });

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path, method] = [incoming.url ?? "/", incoming.method ?? "GET"];
    const kind = kindOf(method, path);
    kinds.push(kind);
    const request = { method, path, headers: incoming.headers };
    requests.push(request);
    const count = kinds.filter((one) => one === kind).length;
    if ((await options.script?.({ request, incoming, response, kind, count })) === true) return;
    const url = new URL(path, "http://registry");
    if (kind === "token") {
      const asked = url.searchParams.getAll("scope");
      const granted = asked.filter((scope) => !options.unreadable?.includes(scope.split(":")[1] ?? ""));
      if (incoming.headers.authorization !== basic || granted.length < asked.length)
        return void response.writeHead(401).end();
      return void response.writeHead(200).end(json({ token: Buffer.from(granted.join(" ")).toString("base64url") }));
    }
    const [, name = "", what = "", rest = ""] = /^\/v2\/(.+)\/(blobs|manifests)\/(.*)$/.exec(url.pathname) ?? [];
    const challenge = refusal(incoming.headers.authorization, needed(name, method, url));
    if (challenge !== undefined) return void response.writeHead(401, { "www-authenticate": challenge }).end("{}");
    const body = await bodyOf(incoming);
    const { blobs, manifests } = repository(name);
    const refuse = (status: number, code: string) => void response.writeHead(status).end(json({ errors: [{ code }] }));
    const session = (id: string, status = 202, headers = {}) =>
      void response
        .writeHead(status, {
          location: `${options.locationBase ?? ""}/v2/${name}/blobs/uploads/${id}?_state=a%20b`,
          ...(options.minChunkBytes === undefined ? {} : { "oci-chunk-min-length": options.minChunkBytes }),
          ...headers,
        })
        .end();
    if (what === "manifests" && method === "PUT") {
      for (const digest of JSON.parse(body.toString()).layers?.map((layer: { digest: string }) => layer.digest) ?? [])
        if (!blobs.has(digest)) return refuse(400, "MANIFEST_BLOB_UNKNOWN");
      const manifest = { bytes: body, mediaType: incoming.headers["content-type"] ?? "" };
      for (const one of [rest, sha256(body)]) manifests.set(one, manifest);
      return void response.writeHead(201, { "docker-content-digest": sha256(body) }).end();
    }
    if (what === "blobs" && method === "HEAD") {
      const found = blobs.get(rest);
      return void (
        found === undefined ? response.writeHead(404) : response.writeHead(200, { "content-length": found.length })
      ).end();
    }
    if (method === "POST" && rest === "uploads/") {
      const [mount, from] = [url.searchParams.get("mount"), url.searchParams.get("from")];
      const source = mount === null ? undefined : repository(from ?? "").blobs.get(mount);
      if (source !== undefined && mount !== null && options.mounts !== false) {
        blobs.set(mount, source);
        return void response
          .writeHead(201, { location: `/v2/${name}/blobs/${mount}`, "docker-content-digest": mount })
          .end();
      }
      const id = `session-${begun++}`;
      sessions.set(id, Buffer.alloc(0));
      return session(id);
    }
    const id = rest.slice("uploads/".length);
    const before = sessions.get(id);
    if (before === undefined || url.searchParams.get("_state") !== "a b") return refuse(404, "BLOB_UPLOAD_UNKNOWN");
    const range = incoming.headers["content-range"];
    if (range !== undefined && range !== `${before.length}-${before.length + body.length - 1}`)
      return refuse(416, "BLOB_UPLOAD_INVALID");
    const content = Buffer.concat([before, body]);
    if (method === "PATCH") {
      if (body.length < (options.minChunkBytes ?? 0)) return refuse(400, "SIZE_INVALID");
      sessions.set(id, content);
      return session(id, 202, { range: `0-${content.length - 1}` });
    }
    sessions.delete(id);
    const digest = url.searchParams.get("digest") ?? "";
    if (sha256(content) !== digest) return refuse(400, "DIGEST_INVALID");
    blobs.set(digest, content);
    response.writeHead(201, { location: `/v2/${name}/blobs/${digest}`, "docker-content-digest": digest }).end();
  }

  function needed(name: string, method: string, url: URL): readonly string[] {
    if (method === "HEAD") return [`repository:${name}:pull`];
    const from = url.searchParams.get("from");
    return [`repository:${name}:pull,push`, ...(from === null ? [] : [`repository:${from}:pull`])];
  }

  function refusal(authorization: string | undefined, scopes: readonly string[]): string | undefined {
    if (options.auth === "basic") return authorization === basic ? undefined : 'Basic realm="test"';
    if (options.auth === undefined) return undefined;
    const has = Buffer.from(authorization?.slice("Bearer ".length) ?? "", "base64url")
      .toString()
      .split(" ");
    const covers = (scope: string) => has.includes(scope) || has.includes(`${scope},push`);
    if (scopes.every(covers)) return undefined;
    return `Bearer realm="http://${host()}/token",service="test",scope="${scopes[0]}"`;
  }

  const host = () => `127.0.0.1:${(server.address() as AddressInfo).port}`;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    host: host(),
    url: `http://${host()}`,
    requests,
    kinds,
    user,
    repository,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

export async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function kindOf(method: string, path: string): string {
  if (path.startsWith("/token")) return "token";
  if (path.includes("/manifests/")) return `${method.toLowerCase()} manifest`;
  if (method === "POST") return path.includes("mount=") ? "mount" : "begin";
  if (method === "PATCH") return "patch";
  return `${method.toLowerCase()} blob`;
}
