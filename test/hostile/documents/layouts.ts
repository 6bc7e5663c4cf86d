/** OCI layouts on the disk: files that are something else, and the marker, the table and the tags. */
import { appendFile, link, readFile, rename, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { layoutFiles, writeFiles } from "../../support/images.js";
import { buildImage, type TestImage } from "../../support/registry.js";
import { file, tar } from "../../support/tar-builder.js";
import type { Json } from "../../support/wire.js";
import { configDigest, flipped, honest, in512, instead, layerDigest, MAX_DOCUMENT, TERABYTE } from "./images.js";
import { replacements } from "./replacements.js";
import type { DocumentRow } from "./row.js";
import { no, yes } from "./scene-row.js";
import { inAlteredLayout, inFiles, type LayoutGround, type Scene } from "./scenes.js";

/** Every file of a layout that is opened, by what it is. */
const places: Readonly<Record<string, (ground: LayoutGround) => string>> = {
  "oci-layout": ({ path }) => join(path, "oci-layout"),
  "index.json": ({ path }) => join(path, "index.json"),
  "the manifest": ({ blob, image }) => blob(image.descriptor.digest),
  "the config": ({ blob, image }) => blob(configDigest(image)),
  "a layer": ({ blob, image }) => blob(layerDigest(image, 1)),
};

const rewritten =
  (name: string, change: (bytes: Buffer) => Buffer | string) =>
  async ({ path }: LayoutGround): Promise<void> =>
    writeFile(join(path, name), change(await readFile(join(path, name))));

const version = (document: unknown) => rewritten("oci-layout", () => JSON.stringify(document) ?? "");

/** An index.json of these descriptors of the image's own. */
const listing = (change: (descriptor: Json) => Json[]) =>
  rewritten("index.json", (bytes) => {
    const index = JSON.parse(String(bytes));
    return JSON.stringify({ ...index, manifests: change(index.manifests[0]) });
  });

const REF_NAME = "org.opencontainers.image.ref.name";

const tagged = (descriptor: Json, tag: unknown): Json => ({ ...descriptor, annotations: { [REF_NAME]: tag } });

/** Two images under the same tag, or under two. */
async function withTwo({ path }: { path: string }, tags: readonly [string, string]): Promise<void> {
  await writeFiles(
    path,
    layoutFiles([
      [tags[0], honest()],
      [tags[1], buildImage([tar(file("other"))])],
    ]),
  );
}

export const layouts: DocumentRow[] = [
  ...Object.entries(places).flatMap(([what, place]) => [
    ...Object.entries(replacements).map(([instead, replace]) =>
      no(
        `${what} is ${instead}`,
        "LAYOUT_INVALID",
        inAlteredLayout(async (ground) => {
          const path = place(ground);
          if (instead !== "a symlink to the very bytes") await rm(path);
          await replace(path, ground);
        }),
      ),
    ),
    no(
      `${what} is missing`,
      what === "oci-layout" || what === "index.json" ? "LAYOUT_INVALID" : "BLOB_UNKNOWN",
      inAlteredLayout((ground) => rm(place(ground))),
    ),
    no(
      `${what} is a file of a terabyte`,
      ["SIZE_MISMATCH", "MANIFEST_TOO_BIG", "LAYOUT_INVALID"],
      inAlteredLayout((ground) => truncate(place(ground), TERABYTE)),
    ),
    no(
      `${what} is empty`,
      ["SIZE_MISMATCH", "MANIFEST_INVALID", "LAYOUT_INVALID"],
      inAlteredLayout((ground) => truncate(place(ground), 0)),
    ),
  ]),
  yes(
    "a hard link for a blob is its file",
    inAlteredLayout(async ({ path, blob, image }) => {
      const layer = blob(layerDigest(image, 0));
      await link(layer, `${path}.same`);
      await rm(layer);
      await link(`${path}.same`, layer);
    }),
  ),
  no(
    "a layer to which bytes were added",
    "SIZE_MISMATCH",
    inAlteredLayout(({ blob, image }) => appendFile(blob(layerDigest(image, 0)), "x")),
  ),
  ...["blobs", "blobs/sha256"].flatMap((name) => [
    no(
      `${name} is a symlink to where the blobs are`,
      "LAYOUT_INVALID",
      inAlteredLayout(async ({ path }) => {
        await rename(join(path, name), `${path}.elsewhere`);
        await symlink(`${path}.elsewhere`, join(path, name));
      }),
    ),
    no(
      `${name} is a file`,
      ["LAYOUT_INVALID", "BLOB_UNKNOWN"],
      inAlteredLayout(async ({ path }) => {
        await rm(join(path, name), { recursive: true });
        await writeFile(join(path, name), "x");
      }),
    ),
    no(
      `${name} is a symlink to itself`,
      ["LAYOUT_INVALID", "BLOB_UNKNOWN"],
      inAlteredLayout(async ({ path }) => {
        await rm(join(path, name), { recursive: true });
        await symlink(join(path, name), join(path, name));
      }),
    ),
    no(
      `${name} is missing`,
      "BLOB_UNKNOWN",
      inAlteredLayout(({ path }) => rm(join(path, name), { recursive: true })),
    ),
  ]),
  ...[
    { imageLayoutVersion: "2.0.0" },
    { imageLayoutVersion: "1" },
    { imageLayoutVersion: "1.0.0\n" },
    { imageLayoutVersion: "../1.0.0" },
    { imageLayoutVersion: "\x1b[2J" },
    { imageLayoutVersion: 1 },
    { imageLayoutVersion: null },
    { imageLayoutVersion: ["1.0.0"] },
    { ImageLayoutVersion: "1.0.0" },
    {},
    [],
    null,
    "1.0.0",
    undefined,
  ].map((document) =>
    no(`oci-layout holds ${JSON.stringify(document)}`, "LAYOUT_INVALID", inAlteredLayout(version(document))),
  ),
  no(
    "oci-layout with a key twice",
    "LAYOUT_INVALID",
    inAlteredLayout(rewritten("oci-layout", () => '{"imageLayoutVersion":"2.0.0","imageLayoutVersion":"1.0.0"}')),
  ),
  no(
    "oci-layout with a byte order mark",
    "LAYOUT_INVALID",
    inAlteredLayout(rewritten("oci-layout", (bytes) => `\ufeff${bytes}`)),
  ),
  yes(
    "oci-layout of a later minor version, with more in it",
    inAlteredLayout(version({ imageLayoutVersion: "1.1.0", more: [] })),
  ),
  ...Object.entries({
    "no JSON": "{",
    "a million levels": "[".repeat(1_000_000),
    "a key twice": '{"schemaVersion":2,"manifests":[],"\\u006danifests":[]}',
    __proto__: '{"schemaVersion":2,"manifests":[],"__proto__":{}}',
    "a list": "[]",
    "no manifests": '{"schemaVersion":2}',
  }).map(([what, text]) =>
    no(`index.json: ${what}`, "MANIFEST_INVALID", inAlteredLayout(rewritten("index.json", () => text))),
  ),
  no(
    "index.json with layers",
    "MANIFEST_AMBIGUOUS",
    inAlteredLayout(rewritten("index.json", (bytes) => `${bytes.subarray(0, -1)},"layers":[]}`)),
  ),
  no(
    "index.json over 4 MiB",
    "MANIFEST_TOO_BIG",
    inAlteredLayout(rewritten("index.json", (bytes) => Buffer.concat([bytes, Buffer.alloc(MAX_DOCUMENT, " ")]))),
  ),
  no(
    "index.json without any",
    "MANIFEST_UNKNOWN",
    inAlteredLayout(
      listing(() => []),
      "",
    ),
  ),
  no(
    "a tag that is missing",
    "MANIFEST_UNKNOWN",
    inAlteredLayout(() => undefined, ":other"),
  ),
  no(
    "a tag that nobody could have",
    "MANIFEST_UNKNOWN",
    inAlteredLayout(listing((own) => [tagged(own, "\x1b[2J\u202e"), tagged(own, "x".repeat(100_000))])),
  ),
  no("a tag for two images", "LAYOUT_INVALID", async (ground) => {
    await withTwo(ground, ["app", "app"]);
    return { reference: `oci:${ground.path}:app` };
  }),
  yes("a tag twice for one image", inAlteredLayout(listing((own) => [own, own]))),
  no("two images and no tag", "MANIFEST_UNKNOWN", async (ground) => {
    await withTwo(ground, ["app", "other"]);
    return { reference: `oci:${ground.path}` };
  }),
  yes("one image and no tag", inFiles(layoutFiles([[undefined, honest()]]), "")),
  no(
    "a manifest that index.json gives the type of a layer",
    "MEDIA_TYPE_UNSUPPORTED",
    inAlteredLayout(listing((own) => [{ ...own, mediaType: "application/vnd.oci.image.layer.v1.tar" }])),
  ),
  no(
    "a manifest of a digest that leads out",
    "DIGEST_FORMAT",
    inAlteredLayout(listing((own) => [{ ...own, digest: "sha256:../../../outside/canary" }])),
  ),
  no(
    "a digest that the layout does not hold",
    "MANIFEST_UNKNOWN",
    inAlteredLayout(() => undefined, `@sha256:${"0".repeat(64)}`),
  ),
  no(
    "the digest of a layer",
    ["MANIFEST_INVALID", "MANIFEST_UNKNOWN"],
    byDigest((image) => layerDigest(image, 0)),
  ),
  no("the digest of a config", ["MANIFEST_INVALID", "MANIFEST_UNKNOWN"], byDigest(configDigest)),
  yes(
    "the digest of the manifest",
    byDigest((image) => image.descriptor.digest),
  ),
  yes(
    "the sha512 of the manifest",
    byDigest((image) => image.descriptor.digest, in512),
  ),
  no("a manifest whose sha512 is another's", "DIGEST_MISMATCH", async (ground) => {
    const image = in512();
    await writeFiles(ground.path, layoutFiles([["app", instead(image, image.descriptor.digest, flipped)]]));
    return { reference: `oci:${ground.path}@${image.descriptor.digest}` };
  }),
];

function byDigest(digest: (image: TestImage) => string, make: () => TestImage = honest): Scene {
  return async ({ path }) => {
    const image = make();
    await writeFiles(path, layoutFiles([["app", image]]));
    return { reference: `oci:${path}@${digest(image)}` };
  };
}
