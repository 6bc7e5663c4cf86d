/** Registries: what they call what they serve, and how much of it. */
import assert from "node:assert/strict";
import type { Exchange, TestImage } from "../../support/registry.js";
import {
  configDigest,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  honest,
  in512,
  inIndex,
  layerDigest,
  OCI_INDEX,
  OCI_MANIFEST,
  SCHEMA_1,
  sha512,
  TERABYTE,
  withDescriptor,
  withManifest,
} from "./images.js";
import type { DocumentRow } from "./row.js";
import { no, yes } from "./scene-row.js";
import { fromRegistry, type RegistryRow, type Scene } from "./scenes.js";

/** Sends zeros until nobody listens, and says how many. */
function endless({ response, mediaType }: Exchange, headers: object = {}): () => number {
  const chunk = Buffer.alloc(64 * 1024, " ");
  let sent = 0;
  let open = true;
  response.on("close", () => {
    open = false;
  });
  response.writeHead(200, { "content-type": mediaType, ...headers });
  const send = (): void => {
    while (open) {
      sent += chunk.length;
      if (!response.write(chunk)) {
        response.once("drain", send);
        return;
      }
    }
  };
  send();
  return () => sent;
}

/** Buffers of the kernel and of HTTP hold some more than is read. */
const MAX_SENT = 16 * 1024 * 1024;

const isFor = ({ request }: Exchange, digest: string): boolean => request.path.endsWith(`/${digest}`);

function endlessly(digest: (image: TestImage) => string, image: TestImage, headers?: object): Scene {
  let sent = (): number => 0;
  return fromRegistry(image, {
    script: () => (exchange) => {
      if (!isFor(exchange, digest(image))) return false;
      sent = endless(exchange, headers);
      return true;
    },
    check: () => {
      assert.ok(sent() > 0 && sent() < MAX_SENT, `${sent()} bytes were sent`);
    },
  });
}

/** The honest answer under other headers, for requests that `when` holds for. */
const headed = (headers: Record<string, string>, when: (exchange: Exchange) => boolean = () => true): RegistryRow => ({
  script: () => (exchange) => {
    const { response, body, mediaType } = exchange;
    if (!when(exchange) || body === undefined) return false;
    response.writeHead(200, { "content-type": mediaType, ...headers }).end(body);
    return true;
  },
});

const isManifestRequest = ({ request }: Exchange): boolean => request.path.includes("/manifests/");

const isChild = ({ request }: Exchange): boolean => request.path.includes("/manifests/sha256:");

const typed = (type: string, when: (exchange: Exchange) => boolean = isManifestRequest) =>
  headed({ "content-type": type }, when);

const untyped = (image: TestImage): TestImage => withManifest(image, ({ mediaType, ...manifest }) => manifest);

export const registries: DocumentRow[] = [
  ...[OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].map((type) =>
    no(`a manifest served as ${type}`, "MANIFEST_AMBIGUOUS", fromRegistry(honest(), typed(type))),
  ),
  ...[OCI_MANIFEST, DOCKER_LIST].map((type) =>
    no(
      `an index served as ${type}`,
      "MANIFEST_AMBIGUOUS",
      fromRegistry(
        inIndex(honest()),
        typed(type, (e) => !isChild(e)),
      ),
    ),
  ),
  ...[OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, SCHEMA_1].map((type) =>
    no(
      `a manifest of an index served as ${type}`,
      "MANIFEST_AMBIGUOUS",
      fromRegistry(inIndex(honest()), typed(type, isChild)),
    ),
  ),
  no(
    "an index without a type of its own served as a manifest",
    ["MANIFEST_AMBIGUOUS", "MANIFEST_INVALID"],
    fromRegistry(
      untyped(inIndex(honest())),
      typed(OCI_MANIFEST, (e) => !isChild(e)),
    ),
  ),
  no(
    "a manifest without a type of its own served as an index",
    ["MANIFEST_AMBIGUOUS", "MANIFEST_INVALID"],
    fromRegistry(untyped(honest()), typed(OCI_INDEX)),
  ),
  no("schema 1 by Content-Type", "MEDIA_TYPE_UNSUPPORTED", fromRegistry(honest(), typed(SCHEMA_1))),
  no("a page", "REGISTRY_BAD_RESPONSE", fromRegistry(honest(), typed("text/html"))),
  ...[`${OCI_MANIFEST}; charset=utf-8`, OCI_MANIFEST.toUpperCase(), "application/json", ""].map((type) =>
    yes(`a manifest served as ${JSON.stringify(type)}`, fromRegistry(honest(), typed(type))),
  ),
  yes(
    "a manifest of an index served as application/json",
    fromRegistry(inIndex(honest()), typed("application/json", isChild)),
  ),
  no(
    "another Docker-Content-Digest",
    "DIGEST_MISMATCH",
    fromRegistry(honest(), headed({ "docker-content-digest": `sha256:${"0".repeat(64)}` }, isManifestRequest)),
  ),
  no(
    "a Docker-Content-Digest that leads out",
    ["REGISTRY_BAD_RESPONSE", "DIGEST_FORMAT"],
    fromRegistry(honest(), headed({ "docker-content-digest": "sha256:../../x" }, isManifestRequest)),
  ),
  no(
    "other bytes for the digest of the reference",
    "DIGEST_MISMATCH",
    servesOther((image) => `@${image.descriptor.digest}`),
  ),
  yes("a sha512 in the reference", async (ground) => {
    const image = in512();
    return fromRegistry(image, { name: `@${image.descriptor.digest}` })(ground);
  }),
  no(
    "other bytes for a sha512 in the reference",
    "DIGEST_MISMATCH",
    servesOther(({ bytes }) => `@${sha512(bytes)}`),
  ),
  no(
    "a manifest that does not end",
    "MANIFEST_TOO_BIG",
    endlessly(() => "v1", honest()),
  ),
  no(
    "a manifest of an index that does not end",
    ["SIZE_MISMATCH", "MANIFEST_TOO_BIG"],
    ((image) => endlessly(() => image.descriptor.digest, inIndex(image)))(honest()),
  ),
  no("a config that does not end", ["SIZE_MISMATCH", "MANIFEST_TOO_BIG"], endlessly(configDigest, honest())),
  no(
    "a config that announces a gigabyte",
    ["SIZE_MISMATCH", "MANIFEST_TOO_BIG"],
    endlessly(configDigest, honest(), { "content-length": 2 ** 30 }),
  ),
  no(
    "a layer that does not end",
    "SIZE_MISMATCH",
    endlessly((image) => layerDigest(image, 1), honest()),
  ),
  no(
    "a layer that announces a terabyte",
    "SIZE_MISMATCH",
    endlessly((image) => layerDigest(image, 1), honest(), { "content-length": TERABYTE }),
  ),
  no(
    "a layer that does not end, of 2^50 bytes",
    "LIMIT_BYTES",
    endlessly(
      (image) => layerDigest(image, 1),
      withDescriptor(honest(), "layer", (layer) => ({ ...layer, size: 2 ** 50 })),
    ),
  ),
  no(
    "a layer whose announced length is its size, and whose bytes are more",
    ["SIZE_MISMATCH", "DIGEST_MISMATCH", "REGISTRY_UNREACHABLE"],
    async (ground) => {
      const image = honest();
      const digest = layerDigest(image, 1);
      const script = () => (exchange: Exchange) => {
        if (!isFor(exchange, digest)) return false;
        const body = exchange.body as Buffer;
        exchange.socket.end(
          Buffer.concat([
            Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n`),
            body.map((byte) => byte ^ 1),
            Buffer.alloc(100_000),
          ]),
        );
        return true;
      };
      return fromRegistry(image, { script })(ground);
    },
  ),
];

function servesOther(name: (image: TestImage) => string): Scene {
  return async (ground) => {
    const image = honest();
    const other = withManifest(image, (manifest) => ({ ...manifest, x: 1 }));
    const script = () => (exchange: Exchange) => {
      if (!isManifestRequest(exchange)) return false;
      const { response } = exchange;
      response.writeHead(200, { "content-type": OCI_MANIFEST }).end(other.bytes);
      return true;
    };
    return fromRegistry(image, { name: name(image), script })(ground);
  };
}
