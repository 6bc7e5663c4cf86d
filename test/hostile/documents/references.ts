/** References that are none, and paths that lead elsewhere. */
import { symlink, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { layoutFiles, writeFiles } from "../../support/images.js";
import { hex, honest } from "./images.js";
import { mkfifo } from "./replacements.js";
import type { DocumentRow } from "./row.js";
import { no, yes } from "./scene-row.js";
import { directoryAt, inAlteredLayout } from "./scenes.js";

const noReferences = [
  " ",
  "Alpine",
  "user/App:v1",
  "host.example/Team/app",
  "alpine\0",
  "alpine:v1\r\nHost: evil.example",
  "alpine\n",
  "alpine:v1\t",
  " alpine",
  `alpine:${"t".repeat(129)}`,
  "alpine:-v1",
  "alpine:.v1",
  "alpine:v1:v2",
  "alpine:",
  "alpine@",
  `alpine@sha256:${hex.slice(1)}`,
  `alpine@sha256:${hex.toUpperCase()}`,
  `alpine@sha512:${hex}`,
  `alpine@md5:${hex.slice(32)}`,
  `alpine@sha256:${hex}@sha256:${hex}`,
  "alpine@sha256:../../x",
  hex,
  "../alpine",
  "a/../b",
  "/etc/passwd",
  "a//b",
  "http://host.example/a",
  "user:password@host.example/a",
  "host.example:99999/a",
  "host_name.example/a",
  "host.example/a?x=1",
  "host.example/a#b",
  "host.example/a%2e%2e/b",
  "аlpine",
  "alpine\u202e",
  "docker://",
  "docker://docker://alpine",
  "oci:",
  "oci::v1",
  "oci:/tmp/x:",
  `oci:/tmp/x:${"t".repeat(129)}`,
  "oci:/tmp/x:v 1",
  "oci:/tmp/x\0y",
  "oci:/tmp/x\r\n",
  "oci:/tmp/x@sha256:abc",
  "oci-archive:",
  "docker-archive:/tmp/x.tar:UPPER",
  `docker-archive:/tmp/x.tar:a@sha256:${hex}`,
  "a".repeat(300),
  "oci:/".padEnd(5000, "x"),
];

export const references: DocumentRow[] = [
  // The schema of the request knows that already.
  no("no reference at all", "INVALID_PARAMS", () => ({ reference: "" })),
  ...noReferences.map((reference) =>
    no(`the reference ${JSON.stringify(reference.slice(0, 60))}`, "INVALID_REFERENCE", () => ({ reference })),
  ),
  ...["oci:x", "oci:../x", "oci:./x:v1", "oci-archive:x.tar", "docker-archive:~/x.tar", "oci:-rf"].map((reference) =>
    no(`the relative path ${reference}`, "INVALID_REFERENCE", () => ({ reference })),
  ),
  no("a path that is a file", "LAYOUT_INVALID", async ({ path }) => {
    await writeFile(path, "x");
    return { reference: `oci:${path}` };
  }),
  no("a path below a file", "LAYOUT_INVALID", async ({ path }) => {
    await writeFile(path, "x");
    return { reference: `oci:${path}/x` };
  }),
  no("a path that is a FIFO", "LAYOUT_INVALID", ({ path }) => {
    mkfifo(path);
    return { reference: `oci:${path}` };
  }),
  no("a path that is a loop of symlinks", "LAYOUT_INVALID", async ({ path }) => {
    await symlink(path, path);
    return { reference: `oci:${path}` };
  }),
  no("a path with a component of 300 bytes", "LAYOUT_INVALID", ({ path }) => ({
    reference: `oci:${path}/${"x".repeat(300)}`,
  })),
  no("a path of controls", "LAYOUT_INVALID", ({ path }) => ({ reference: `oci:${path}\x1b[2J\u202e\ud800` })),
  no("an empty directory", "LAYOUT_INVALID", async (ground) => ({ reference: `oci:${await directoryAt(ground)}` })),
  ...["/", "/dev/null", "/proc/self/fd", "/dev/zero"].map((path) =>
    no(`the layout ${path}`, "LAYOUT_INVALID", () => ({ reference: `oci:${path}` })),
  ),
  ...["/dev/zero", "/dev/null", "/proc/self/mem", "/"].map((path) =>
    no(`the archive ${path}`, ["ARCHIVE_LAYOUT", "IMPORT_DENIED"], () => ({ reference: `docker-archive:${path}` })),
  ),
  yes("a layout through a symlink, `..` and slashes", async ({ path }) => {
    await writeFiles(path, layoutFiles([["app", honest()]]));
    await symlink(path, `${path}.link`);
    const above = dirname(path);
    return { reference: `oci:${above}/../${basename(above)}//./${basename(path)}.link/:app` };
  }),
  no(
    "a tag of the layout with a path in it",
    "MANIFEST_UNKNOWN",
    inAlteredLayout(() => undefined, ":a/../../../b"),
  ),
];
