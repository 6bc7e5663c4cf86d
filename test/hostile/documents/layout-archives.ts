/** OCI layouts as tar archives: members that are something else. */
import { writeFile } from "node:fs/promises";
import { layoutFiles } from "../../support/images.js";
import { json, type TestImage } from "../../support/registry.js";
import { directory, file, member, symlink as symlinkEntry, tar } from "../../support/tar-builder.js";
import { configDigest, honest, layerDigest } from "./images.js";
import type { DocumentRow } from "./row.js";
import { no, yes } from "./scene-row.js";
import { inArchivedFiles, type Scene } from "./scenes.js";

const archivedLayout = (change: (files: Map<string, Buffer>, image: TestImage) => unknown): Scene => {
  const image = honest();
  const files = layoutFiles([["app", image]]);
  change(files, image);
  return inArchivedFiles(files);
};

const layoutMembers = (members: (image: TestImage, files: Map<string, Buffer>) => readonly Buffer[]): Scene => {
  return async ({ path }) => {
    const image = honest();
    const files = layoutFiles([["app", image]]);
    await writeFile(path, tar(...members(image, files)));
    return { reference: `oci-archive:${path}:app` };
  };
};

const all = (files: ReadonlyMap<string, Buffer>): Buffer[] => [...files].map(([name, bytes]) => file(name, bytes));

const nameOf = (digest: string): string => `blobs/${digest.replace(":", "/")}`;

export const layoutArchives: DocumentRow[] = [
  no(
    "oci-layout is missing",
    "LAYOUT_INVALID",
    archivedLayout((files) => files.delete("oci-layout")),
  ),
  no(
    "index.json is missing",
    "LAYOUT_INVALID",
    archivedLayout((files) => files.delete("index.json")),
  ),
  no(
    "a bad version",
    "LAYOUT_INVALID",
    archivedLayout((files) => files.set("oci-layout", json({ imageLayoutVersion: "2.0.0" }))),
  ),
  no(
    "index.json is there twice",
    "ARCHIVE_LAYOUT",
    layoutMembers((_image, files) => [...all(files), file("./index.json", "{}")]),
  ),
  ...Object.entries({
    "a symlink out": (name: string) => symlinkEntry(name, "../../../../etc/passwd"),
    "an absolute symlink": (name: string) => symlinkEntry(name, "/etc/passwd"),
    "a symlink to itself": (name: string) => symlinkEntry(name, name.slice(name.lastIndexOf("/") + 1)),
    "a FIFO": (name: string) => member({ name, type: "6" }),
    "a directory": (name: string) => directory(name),
  }).flatMap(([what, replace]) =>
    [layerDigest, configDigest].map((digest) =>
      no(
        `${digest === configDigest ? "the config" : "a layer"} is ${what}`,
        "ARCHIVE_LAYOUT",
        layoutMembers((image, files) => {
          const name = nameOf(digest(image, 1));
          files.delete(name);
          return [...all(files), replace(name)];
        }),
      ),
    ),
  ),
  yes(
    "a layer is one symlink to a member",
    layoutMembers((image, files) => {
      const name = nameOf(layerDigest(image, 1));
      const bytes = files.get(name) as Buffer;
      files.delete(name);
      return [...all(files), symlinkEntry(name, "../../real"), file("real", bytes)];
    }),
  ),
  no(
    "a layer is one symlink to another layer",
    ["DIGEST_MISMATCH", "SIZE_MISMATCH"],
    layoutMembers((image, files) => {
      const [first, second] = [layerDigest(image, 0), layerDigest(image, 1)];
      files.delete(nameOf(second));
      return [...all(files), symlinkEntry(nameOf(second), first.slice("sha256:".length))];
    }),
  ),
];
