/**
 * A registry on 127.0.0.1 that does what its script says: honest by default, wrong in one place where a test wants it.
 *
 * `buildImage` makes the documents of an image from its layers; `startRegistry` serves them and remembers every request. Nothing here
 * waits for time to pass.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { gzipSync } from "node:zlib";

export interface TestDescriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { os: string; architecture: string; variant?: string };
}

/** A manifest or an index with everything below it. */
export interface TestImage {
  readonly descriptor: TestDescriptor;
  readonly bytes: Buffer;
  /** Manifests below an index, by digest. */
  readonly manifests: ReadonlyMap<string, { readonly mediaType: string; readonly bytes: Buffer }>;
  /** Configs and layers, by digest. */
  readonly blobs: ReadonlyMap<string, Buffer>;
}

export interface ImageOptions {
  readonly platform?: { os: string; architecture: string; variant?: string };
  readonly codec?: "none" | "gzip";
  /** Merged into the documents last, so that a test may break them. */
  readonly manifest?: object;
  readonly config?: object;
}

/** `layers` are uncompressed tars, the lowest first. */
export function buildImage(layers: readonly Buffer[], options: ImageOptions = {}): TestImage {
  const { platform = { os: "linux", architecture: "amd64" }, codec = "gzip" } = options;
  const blobs = new Map<string, Buffer>();
  const put = (mediaType: string, bytes: Buffer): TestDescriptor => {
    const digest = sha256(bytes);
    blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.byteLength };
  };
  const suffix = codec === "gzip" ? "+gzip" : "";
  const descriptors = layers.map((tar) =>
    put(`application/vnd.oci.image.layer.v1.tar${suffix}`, codec === "gzip" ? gzipSync(tar) : tar),
  );
  const rootfs = { type: "layers", diff_ids: layers.map(sha256) };
  const config = put("application/vnd.oci.image.config.v1+json", json({ ...platform, rootfs, ...options.config }));
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const bytes = json({ schemaVersion: 2, mediaType, config, layers: descriptors, ...options.manifest });
  return {
    descriptor: { mediaType, digest: sha256(bytes), size: bytes.byteLength, platform },
    bytes,
    manifests: new Map(),
    blobs,
  };
}

export function buildIndex(images: readonly TestImage[]): TestImage {
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const bytes = json({ schemaVersion: 2, mediaType, manifests: images.map(({ descriptor }) => descriptor) });
  return {
    descriptor: { mediaType, digest: sha256(bytes), size: bytes.byteLength },
    bytes,
    manifests: new Map(
      images.flatMap((image) => [
        [image.descriptor.digest, { mediaType: image.descriptor.mediaType, bytes: image.bytes }] as const,
        ...image.manifests,
      ]),
    ),
    blobs: new Map(images.flatMap(({ blobs }) => [...blobs])),
  };
}

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

/** Called for each request, `count` being how often this path was asked for, from 1. True where it answered itself. */
export type Script = (exchange: Exchange) => boolean | Promise<boolean>;

export interface Exchange {
  readonly request: SeenRequest;
  readonly count: number;
  readonly response: ServerResponse;
  readonly socket: Socket;
  /** The honest answer's bytes; undefined where that is a 404 or something else than a document or a blob. */
  readonly body: Buffer | undefined;
  readonly mediaType: string;
}

export interface RegistryScript {
  /** `repository:tag` → image; each is also served by its digest. */
  readonly images: Readonly<Record<string, TestImage>>;
  readonly script?: Script;
  /** Who may read: nobody asked (default), a user and a password, or a token from `/token`. */
  readonly auth?: "anonymous" | "basic" | "bearer";
  /** False: Range is ignored. */
  readonly ranges?: boolean;
}

export interface TestRegistry {
  readonly url: string;
  /** `127.0.0.1:PORT`, as it stands in a reference. */
  readonly host: string;
  readonly requests: readonly SeenRequest[];
  /** What Basic and the token service accept. */
  readonly user: { readonly username: string; readonly password: string };
  /** Tokens given so far; the last is the one that is accepted. */
  readonly tokens: readonly string[];
  /** From now on earlier tokens are refused. */
  expireTokens(): void;
  close(): Promise<void>;
}

export async function startRegistry(options: RegistryScript): Promise<TestRegistry> {
  const requests: SeenRequest[] = [];
  const tokens: string[] = [];
  let valid = "";
  const user = { username: "tester", password: "s3cret:word" };
  const basic = `Basic ${Buffer.from(`${user.username}:${user.password}`).toString("base64")}`;
  const counts = new Map<string, number>();

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => response.destroy(error as Error));
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "/";
    const seen: SeenRequest = { method: request.method ?? "GET", path, headers: request.headers };
    requests.push(seen);
    const count = (counts.get(path) ?? 0) + 1;
    counts.set(path, count);
    const found = lookUp(options.images, path);
    const exchange: Exchange = {
      request: seen,
      count,
      response,
      socket: request.socket,
      body: found?.bytes,
      mediaType: found?.mediaType ?? "",
    };
    if ((await options.script?.(exchange)) === true) return;
    if (path.startsWith("/token")) return giveToken(seen, response);
    const challenge = refusal(seen.headers.authorization);
    if (challenge !== undefined) {
      response.writeHead(401, { "www-authenticate": challenge }).end("{}");
      return;
    }
    serve(exchange, options.ranges !== false);
  }

  function giveToken(request: SeenRequest, response: ServerResponse): void {
    const { authorization } = request.headers;
    if (authorization !== undefined && authorization !== basic) {
      response.writeHead(401).end("{}");
      return;
    }
    valid = `token-${tokens.length + 1}`;
    tokens.push(valid);
    response
      .writeHead(200, { "content-type": "application/json" })
      .end(JSON.stringify({ token: valid, expires_in: 60 }));
  }

  function refusal(authorization: string | undefined): string | undefined {
    if (options.auth === "basic") return authorization === basic ? undefined : 'Basic realm="test"';
    if (options.auth !== "bearer") return undefined;
    if (valid !== "" && authorization === `Bearer ${valid}`) return undefined;
    return `Bearer realm="http://${host()}/token",service="test",scope="repository:any:pull"`;
  }

  const host = () => `127.0.0.1:${(server.address() as AddressInfo).port}`;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://${host()}`,
    host: host(),
    requests,
    user,
    tokens,
    expireTokens: () => {
      valid = "";
    },
    close: async () => {
      if (!server.listening) return;
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** The honest answer, for a script that changes only what is around it. */
export function serve({ request, response, body, mediaType }: Exchange, ranges = true): void {
  if (body === undefined) {
    response.writeHead(404, { "content-type": "application/json" }).end('{"errors":[]}');
    return;
  }
  const start = ranges ? Number(/^bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0) : 0;
  const headers = { "content-type": mediaType, "docker-content-digest": sha256(body) };
  if (start > 0) {
    response.writeHead(206, {
      ...headers,
      "content-length": body.byteLength - start,
      "content-range": `bytes ${start}-${body.byteLength - 1}/${body.byteLength}`,
    });
  } else {
    response.writeHead(200, { ...headers, "content-length": body.byteLength });
  }
  response.end(body.subarray(start));
}

/** Announces the whole body, sends `bytes` of it and breaks the connection. */
export function breakOff({ response, socket, body, mediaType }: Exchange, bytes: number): void {
  response.writeHead(200, { "content-type": mediaType, "content-length": body?.byteLength ?? 0 });
  response.write(body?.subarray(0, bytes), () => socket.destroy());
}

/** Announces the whole body, sends `bytes` of it and then nothing. */
export function stall({ response, body, mediaType }: Exchange, bytes: number): void {
  response.writeHead(200, { "content-type": mediaType, "content-length": body?.byteLength ?? 0 });
  response.write(body?.subarray(0, bytes));
}

export const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
export const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

function lookUp(
  images: Readonly<Record<string, TestImage>>,
  path: string,
): { readonly mediaType: string; readonly bytes: Buffer } | undefined {
  const [, repository = "", kind, name = ""] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)$/.exec(path) ?? [];
  for (const [key, image] of Object.entries(images)) {
    const colon = key.lastIndexOf(":");
    if (key.slice(0, colon) !== repository) continue;
    if (kind === "blobs") {
      const bytes = image.blobs.get(name);
      if (bytes !== undefined) return { mediaType: "application/octet-stream", bytes };
    } else if (name === key.slice(colon + 1) || name === image.descriptor.digest) {
      return { mediaType: image.descriptor.mediaType, bytes: image.bytes };
    } else if (image.manifests.has(name)) {
      return image.manifests.get(name);
    }
  }
  return undefined;
}
