/** docker-archive: manifest.json, and which image is meant. */
import { json } from "../../support/registry.js";
import { directory, file } from "../../support/tar-builder.js";
import { MAX_DOCUMENT } from "./images.js";
import type { DocumentRow } from "./row.js";
import { no, yes } from "./scene-row.js";
import { type DockerParts, inDockerArchive as docker } from "./scenes.js";

export const dockerListings: DocumentRow[] = [
  yes(
    "what docker save writes",
    docker(({ layers, config, manifest }) => [...layers, config, manifest]),
  ),
  yes(
    "manifest.json first",
    docker(({ layers, config, manifest }) => [manifest, config, ...layers]),
  ),
  yes(
    "manifest.json last, behind much",
    docker(({ layers, config, manifest }) => [
      config,
      file("x", Buffer.alloc(1 << 20)),
      ...layers,
      directory("d/"),
      manifest,
    ]),
  ),
  yes(
    "names with `./` before them",
    docker(({ tars, config, manifest }) => [
      file("./1/layer.tar", tars[0]),
      file(".//2/./layer.tar", tars[1]),
      config,
      manifest,
    ]),
  ),
  no(
    "manifest.json is missing",
    "ARCHIVE_LAYOUT",
    docker(({ layers, config }) => [...layers, config]),
  ),
  no(
    "manifest.json is there twice",
    "ARCHIVE_LAYOUT",
    docker(({ layers, config, manifest, listing: list }) => [list({ Layers: [] }), ...layers, config, manifest]),
  ),
  no(
    "manifest.json is there twice, once as ./manifest.json",
    "ARCHIVE_LAYOUT",
    docker(({ layers, config, manifest }) => [...layers, config, manifest, file("./manifest.json", "[]")]),
  ),
  no(
    "manifest.json over 4 MiB",
    "MANIFEST_TOO_BIG",
    docker(({ layers, config, listing: list }) => [...layers, config, list(Buffer.alloc(MAX_DOCUMENT + 1, " "))]),
  ),
  no(
    "a config over 4 MiB",
    "MANIFEST_TOO_BIG",
    docker(({ layers, manifest, configured }) => [...layers, configured({ x: "x".repeat(MAX_DOCUMENT) }), manifest]),
  ),
  ...Object.entries({
    "no JSON": "{",
    "a million levels deep": "[".repeat(1_000_000),
    "with a key twice": '[{"Config":"config.json","Layers":[],"\\u004cayers":[]}]',
    "with __proto__": '[{"Config":"config.json","__proto__":{}}]',
    "with a byte order mark": "\ufeff[]",
  }).map(([what, text]) =>
    no(
      `manifest.json ${what}`,
      "MANIFEST_INVALID",
      docker(({ layers, config, listing: list }) => [...layers, config, list(Buffer.from(text))]),
    ),
  ),
  ...Object.entries({
    "an object": "{}",
    "a text": '"x"',
    null: "null",
    "a list of numbers": "[1]",
    "two million numbers": `[${"0,".repeat(2_000_000)}0]`,
    "without Config": '[{"Layers":[]}]',
    "with a Config that is a number": '[{"Config":1,"Layers":[]}]',
    "with Layers that are numbers": '[{"Config":"config.json","Layers":[1,2]}]',
    "with two million Layers that are numbers": `[{"Config":"config.json","Layers":[${"0,".repeat(2_000_000)}0]}]`,
    "with Layers that are a text": '[{"Config":"config.json","Layers":"1/layer.tar"}]',
    "with a key of another case": '[{"Config":"config.json","Layers":["1/layer.tar","2/layer.tar"],"layers":[]}]',
  }).map(([what, text]) =>
    no(
      `manifest.json that is ${what}`,
      "ARCHIVE_LAYOUT",
      docker(({ layers, config, listing: list }) => [...layers, config, list(Buffer.from(text))]),
    ),
  ),
  no(
    "manifest.json of no image",
    "MANIFEST_UNKNOWN",
    docker(({ layers, config, listing: list }) => [...layers, config, list(Buffer.from("[]"))]),
  ),
  no("two images and no name", "MANIFEST_UNKNOWN", docker(twoImages)),
  yes("two images, one of them named", docker(twoImages, ":app:v1")),
  no("a name that is missing", "MANIFEST_UNKNOWN", docker(twoImages, ":app:v3")),
  yes(
    "tags that nobody could ask for",
    docker(
      ({ layers, config, listing: list }) => [
        ...layers,
        config,
        list({ RepoTags: ["\x1b[2J", "", "../..", "A:b:c", "app:v1"] }),
      ],
      ":app:v1",
    ),
  ),
  yes(
    "half a million tags, the last of which is asked for",
    docker(
      ({ layers, config, listing: list }) => [
        ...layers,
        config,
        list({ RepoTags: [...Array(500_000).fill("a"), "app:v1"] }),
      ],
      ":app:v1",
    ),
  ),
];

function twoImages({ layers, config, listing: list }: DockerParts): Buffer[] {
  const [entry] = JSON.parse(list({}).subarray(512).toString().replace(/\0+$/, ""));
  return [...layers, config, list(json([entry, { ...entry, RepoTags: ["app:v2"], Layers: [] }]))];
}
