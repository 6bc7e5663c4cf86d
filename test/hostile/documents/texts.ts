/** Documents as text: what is no JSON, what two readers would read differently, and what is too much of it. */
import type { TestImage } from "../../support/registry.js";
import { type Edit, honest, inIndex, MAX_DOCUMENT, withConfig, withDescriptor, withManifest } from "./images.js";
import { type Codes, type DocumentRow, no, yes } from "./row.js";

/** The document as text, with `text` before its first key. */
const spliced =
  (text: string): Edit =>
  (document) =>
    Buffer.from(JSON.stringify(document).replace("{", `{${text},`));

const asText =
  (change: (text: string) => string | Buffer): Edit =>
  (document) =>
    Buffer.from(change(JSON.stringify(document)) as string);

const filled =
  (bytes: number): Edit =>
  (document) => {
    const text = Buffer.from(JSON.stringify(document));
    return Buffer.concat([text, Buffer.alloc(bytes - text.length, " ")]);
  };

const noJson: Readonly<Record<string, Edit>> = {
  "that is nothing": () => Buffer.alloc(0),
  "that is a space": () => Buffer.from(" "),
  "that is null": () => Buffer.from("null"),
  "that is a number": () => Buffer.from("5"),
  "that is a text": () => Buffer.from('"sha256"'),
  "that is a list": (document) => [document],
  "that is HTML": () => Buffer.from("<!DOCTYPE html><title>Log in</title>"),
  "a million levels deep": spliced(`"x":${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}`),
  "a million levels deep that never closes": () => Buffer.from('{"a":'.repeat(800_000)),
  "100 levels deep": spliced(`"x":${"[".repeat(100)}${"]".repeat(100)}`),
  "with a byte order mark": asText((text) => `\ufeff${text}`),
  "in UTF-16": asText((text) => Buffer.from(`\ufeff${text}`, "utf16le")),
  "with a byte that is not UTF-8": asText((text) =>
    Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.from(',"\xff":1}', "latin1")]),
  ),
  "with a key twice": spliced('"x":1,"x":2'),
  "with schemaVersion, or os, twice": spliced('"schemaVersion":2,"os":"linux","schemaVersion":2,"os":"linux"'),
  "with a key twice, once with an escape": spliced('"layers":[],"\\u006cayers":[]'),
  "with a key twice, deep within": spliced('"x":[{"y":{"z":1,"\\u007a":2}}]'),
  "with __proto__": spliced('"__proto__":{"schemaVersion":2}'),
  "with __proto__ escaped, deep within": spliced('"x":{"\\u005f_proto__":{"polluted":1}}'),
  "with a comma too many": asText((text) => `${text.slice(0, -1)},}`),
  "with a comment": asText((text) => `${text}// it is fine`),
  "with NaN": spliced('"x":NaN'),
  "in single quotes": asText((text) => text.replaceAll('"', "'")),
  "followed by another": asText((text) => text + text),
  "followed by a NUL": asText((text) => `${text}\0`),
  "that is cut": asText((text) => text.slice(0, -1)),
  "with a key that a reader of another case takes for one of ours": (document) =>
    "rootfs" in document ? { ...document, RootFS: document.rootfs } : { ...document, schemaversion: 2 },
};

const whole = {
  manifest: withManifest,
  config: withConfig,
  index: (image: TestImage, edit: Edit) => withManifest(inIndex(image), edit),
};

export const texts: DocumentRow[] = [
  ...Object.entries(whole).flatMap(([document, change]) => [
    ...Object.entries(noJson).flatMap(([what, edit]) =>
      no(`${document} ${what}`, "MANIFEST_INVALID", () => change(honest(), edit), {
        ways: [document === "config" ? "oci-archive" : document === "index" ? "oci" : "registry"],
      }),
    ),
    ...no(`${document} of one byte over 4 MiB`, "MANIFEST_TOO_BIG", () => change(honest(), filled(MAX_DOCUMENT + 1)), {
      ways: ["oci", "registry"],
    }),
    ...no(`${document} of 100 MiB`, "MANIFEST_TOO_BIG", () => change(honest(), filled(100 * 1024 * 1024)), {
      ways: ["registry"],
    }),
    ...yes(`${document} of 4 MiB`, () => change(honest(), filled(MAX_DOCUMENT)), { ways: ["registry"] }),
    ...yes(`${document} with fields that nobody knows, 60 levels deep`, () =>
      change(honest(), (own) => ({
        ...own,
        "x-unknown": JSON.parse(`${"[".repeat(60)}${"]".repeat(60)}`),
        constructor: { prototype: null },
        toString: 1,
        hasOwnProperty: "no",
      })),
    ),
    ...yes(
      `${document} with 5,000 keys that nobody knows`,
      () => change(honest(), spliced(Array.from({ length: 5000 }, (_, i) => `"k${i}":1`).join(","))),
      { ways: ["oci"] },
    ),
    ...no(
      `${document} with 300,000 keys that nobody knows`,
      "MANIFEST_INVALID",
      () => change(honest(), spliced(Array.from({ length: 300_000 }, (_, i) => `"k${i}":1`).join(","))),
      { ways: ["oci"] },
    ),
    ...no(
      `${document} with a million empty objects`,
      "MANIFEST_INVALID",
      () => change(honest(), spliced(`"x":[${"{},".repeat(1_000_000)}{}]`)),
      { ways: ["oci"] },
    ),
  ]),
  ...(
    [
      ["layers", "manifest", ["DESCRIPTOR_INVALID", "LIMIT_LAYERS"], (text) => ({ layers: text })],
      ["manifests", "index", "DESCRIPTOR_INVALID", (text) => ({ manifests: text })],
      ["diffIDs", "config", "MANIFEST_INVALID", (text) => ({ rootfs: { type: "layers", diff_ids: text } })],
      ["annotations", "manifest", "MANIFEST_INVALID", (text) => ({ annotations: text })],
    ] as readonly (readonly [string, keyof typeof whole, Codes, (text: string) => object])[]
  ).flatMap(([what, document, codes, fields]) =>
    no(
      `two million ${what} that are none`,
      codes,
      () => whole[document](honest(), (own) => flooded(JSON.stringify({ ...own, ...fields("MANY") }))),
      { ways: ["oci"] },
    ),
  ),
  ...no(
    "a descriptor with two million urls that are none",
    "DESCRIPTOR_INVALID",
    () =>
      withManifest(
        withDescriptor(honest(), "layer", (descriptor) => ({ ...descriptor, urls: "MANY" })),
        asText(flooded),
      ),
    { ways: ["oci"] },
  ),
  ...no("9,000 annotations that are none", "MANIFEST_INVALID", () =>
    withManifest(honest(), (manifest) => ({
      ...manifest,
      annotations: Object.fromEntries(Array.from({ length: 9000 }, (_, i) => [`k${i}`, 1])),
    })),
  ),
];

/** Two million numbers for the one text `MANY`: what collects a complaint about each takes gigabytes. */
function flooded(text: string): Buffer {
  return Buffer.from(text.replace('"MANY"', `[${"0,".repeat(2_000_000)}0]`));
}
