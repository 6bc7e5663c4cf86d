/** docker-archive: what manifest.json names among the members, and what that is. */
import { gzipSync } from "node:zlib";
import { sha256 } from "../../support/registry.js";
import {
  base256,
  directory,
  END,
  file,
  hardlink,
  header,
  member,
  pax,
  symlink as symlinkEntry,
  tar,
} from "../../support/tar-builder.js";
import { sha512 } from "./images.js";
import type { DocumentRow } from "./row.js";
import { no, yes } from "./scene-row.js";
import { type DockerParts, inDockerArchive as docker } from "./scenes.js";

const withSecond = (member: (parts: DockerParts) => Buffer) =>
  docker((parts) => [parts.layers[0], member(parts), parts.config, parts.manifest]);

const named = (...Layers: unknown[]) =>
  docker(({ layers, config, listing: list }) => [...layers, config, list({ Layers })]);

const configNamed = (Config: unknown, ...more: Buffer[]) =>
  docker(({ layers, config, listing: list }) => [...layers, config, ...more, list({ Config })]);

export const dockerMembers: DocumentRow[] = [
  ...[
    "../../etc/shadow",
    "/etc/shadow",
    "1/../1/layer.tar",
    "..",
    ".",
    "",
    "/",
    "1",
    "1/layer.tar/",
    "layer.tar",
    "1/layer.tar\0",
    "\x1b[2J",
    "x".repeat(100_000),
  ].map((name) =>
    // A slash at the end names the member for us as for Go's path.Clean.
    name === "1/layer.tar/"
      ? yes(`a layer named ${JSON.stringify(name)}`, named(name, "2/layer.tar"))
      : no(`a layer named ${JSON.stringify(name.slice(0, 40))}`, "ARCHIVE_LAYOUT", named(name, "2/layer.tar")),
  ),
  no(
    "a layer named by the way to the canary",
    "ARCHIVE_LAYOUT",
    docker(({ layers, config, listing: list, outside }) => [
      ...layers,
      config,
      list({ Layers: [`../outside/canary`, `${outside}/canary`] }),
    ]),
  ),
  ...["../../etc/passwd", "/etc/passwd", "", "nowhere"].map((name) =>
    no(`a config named ${JSON.stringify(name)}`, "ARCHIVE_LAYOUT", configNamed(name)),
  ),
  no("a config that is a layer", "MANIFEST_INVALID", configNamed("1/layer.tar")),
  no("a config that is a symlink out", "ARCHIVE_LAYOUT", configNamed("c", symlinkEntry("c", "../../etc/passwd"))),
  no("a config that is a FIFO", "ARCHIVE_LAYOUT", configNamed("c", member({ name: "c", type: "6" }))),
  no("a config that is a directory", "ARCHIVE_LAYOUT", configNamed("c", directory("c/"))),
  yes("a config that is one symlink to a member", configNamed("c", symlinkEntry("c", "config.json"))),
  no(
    "a layer that is a symlink out",
    "ARCHIVE_LAYOUT",
    withSecond(() => symlinkEntry("2/layer.tar", "../../etc/shadow")),
  ),
  no(
    "a layer that is an absolute symlink",
    "ARCHIVE_LAYOUT",
    withSecond(({ outside }) => symlinkEntry("2/layer.tar", `${outside}/canary`)),
  ),
  no(
    "a layer that is an absolute symlink to a member's name",
    "ARCHIVE_LAYOUT",
    withSecond(() => symlinkEntry("2/layer.tar", "/1/layer.tar")),
  ),
  no(
    "a layer that is a symlink to itself",
    "ARCHIVE_LAYOUT",
    withSecond(() => symlinkEntry("2/layer.tar", "layer.tar")),
  ),
  no(
    "a layer that is a symlink to a symlink",
    "ARCHIVE_LAYOUT",
    withSecond(({ tars }) =>
      Buffer.concat([file("real", tars[1]), symlinkEntry("hop", "real"), symlinkEntry("2/layer.tar", "../hop")]),
    ),
  ),
  no(
    "a layer that is two symlinks to each other",
    "ARCHIVE_LAYOUT",
    withSecond(() => Buffer.concat([symlinkEntry("2/layer.tar", "b"), symlinkEntry("2/b", "layer.tar")])),
  ),
  no(
    "a layer that is a dangling symlink",
    "ARCHIVE_LAYOUT",
    withSecond(() => symlinkEntry("2/layer.tar", "nowhere")),
  ),
  no(
    "a layer that is a symlink to a directory",
    "ARCHIVE_LAYOUT",
    withSecond(() => Buffer.concat([directory("d/"), symlinkEntry("2/layer.tar", "../d")])),
  ),
  yes(
    "a layer that is one symlink to a member",
    withSecond(({ tars }) =>
      Buffer.concat([symlinkEntry("2/layer.tar", "../real/layer.tar"), file("real/layer.tar", tars[1])]),
    ),
  ),
  yes(
    "a layer that is a hard link to a member",
    withSecond(({ tars }) => Buffer.concat([file("real", tars[1]), hardlink("2/layer.tar", "real")])),
  ),
  no(
    "a layer that is a hard link out",
    "ARCHIVE_LAYOUT",
    withSecond(() => hardlink("2/layer.tar", "../../etc/shadow")),
  ),
  ...["3", "4", "6", "5", "V"].map((type) =>
    no(
      `a layer of type ${type}`,
      "ARCHIVE_LAYOUT",
      withSecond(() => member({ name: "2/layer.tar", type })),
    ),
  ),
  no(
    "a layer that is a directory with a size",
    "ARCHIVE_LAYOUT",
    withSecond(({ tars }) => member({ name: "2/layer.tar", type: "5" }, tars[1])),
  ),
  no(
    "a layer that is there twice",
    "ARCHIVE_LAYOUT",
    withSecond(({ tars }) => Buffer.concat([file("2/layer.tar", tars[0]), file("2/layer.tar", tars[1])])),
  ),
  no(
    "a layer that goes beyond the end",
    "ARCHIVE_LAYOUT",
    docker(({ layers: [one], config, manifest }) => [
      one,
      config,
      manifest,
      header({ name: "2/layer.tar", size: 1 << 20 }),
    ]),
  ),
  no(
    "a layer of 2^60 bytes",
    "ARCHIVE_LAYOUT",
    docker(({ layers: [one], config, manifest }) => [
      one,
      config,
      manifest,
      header({ name: "2/layer.tar", size: base256(2n ** 60n) }),
    ]),
  ),
  no(
    "a layer whose size can be read in two ways",
    "ARCHIVE_LAYOUT",
    docker(({ layers: [one], tars, config, manifest }) => [
      one,
      config,
      manifest,
      pax({ size: "12x" }),
      file("2/layer.tar", tars[1]),
    ]),
  ),
  no(
    "a layer of other bytes",
    "DIFF_ID_MISMATCH",
    withSecond(() => file("2/layer.tar", tar(file("b", "evil")))),
    {},
  ),
  no(
    "a compressed layer of other bytes",
    "DIFF_ID_MISMATCH",
    withSecond(() => file("2/layer.tar", gzipSync(tar(file("b", "evil"))))),
  ),
  yes(
    "a compressed layer",
    withSecond(({ tars }) => file("2/layer.tar", gzipSync(tars[1]))),
  ),
  no(
    "a layer that is no tar",
    "DIFF_ID_MISMATCH",
    withSecond(() => file("2/layer.tar", "alive")),
  ),
  no(
    "one diffID for two layers that differ",
    "DIFF_ID_MISMATCH",
    docker(({ tars, layers, manifest, configured }) => [
      ...layers,
      configured({ rootfs: { type: "layers", diff_ids: [sha256(tars[0]), sha256(tars[0])] } }),
      manifest,
    ]),
  ),
  no("a layer more than diffIDs", "LAYER_COUNT", named("1/layer.tar", "2/layer.tar", "1/layer.tar")),
  no(
    "no layers",
    ["NO_LAYERS", "LAYER_COUNT"],
    docker(({ configured, listing: list }) => [
      configured({ rootfs: { type: "layers", diff_ids: [] } }),
      list({ Layers: null }),
    ]),
  ),
  no(
    "30,000 layers",
    "LIMIT_LAYERS",
    docker(({ tars: [one], layers, configured, listing: list }) => [
      ...layers,
      configured({ rootfs: { type: "layers", diff_ids: Array(30_000).fill(sha256(one)) } }),
      list({ Layers: Array(30_000).fill("1/layer.tar") }),
    ]),
  ),
  no(
    "a diffID that leads out",
    "DIGEST_FORMAT",
    docker(({ layers, manifest, configured }) => [
      ...layers,
      configured({ rootfs: { type: "layers", diff_ids: ["sha256:../../x", "sha256:../../y"] } }),
      manifest,
    ]),
  ),
  no(
    "a rootfs of another type",
    "ROOTFS_TYPE",
    docker(({ layers, manifest, configured }) => [
      ...layers,
      configured({ rootfs: { type: "base", diff_ids: [] } }),
      manifest,
    ]),
  ),
  yes(
    "diffIDs in sha512",
    docker(({ tars, layers, manifest, configured }) => [
      ...layers,
      configured({ rootfs: { type: "layers", diff_ids: tars.map(sha512) } }),
      manifest,
    ]),
  ),
  no(
    "a diffID in sha512 that is another's",
    "DIFF_ID_MISMATCH",
    docker(({ tars: [one], layers, manifest, configured }) => [
      ...layers,
      configured({ rootfs: { type: "layers", diff_ids: [sha512(one), sha512(Buffer.from("x"))] } }),
      manifest,
    ]),
  ),
  no(
    "a member's header with a wrong checksum",
    "ARCHIVE_LAYOUT",
    docker(({ layers, config, manifest }) => [...layers, config, file("x", "x", { checksum: 1 }), manifest]),
  ),
  no(
    "a global header that renames every member",
    "ARCHIVE_LAYOUT",
    docker(({ layers, config, manifest }) => [
      pax({ path: "manifest.json" }, { type: "g" }),
      ...layers,
      config,
      manifest,
    ]),
  ),
  no(
    "two extended headers for one member",
    "ARCHIVE_LAYOUT",
    docker(({ layers, config, manifest }) => [
      ...layers,
      config,
      pax({ path: "x" }),
      pax({ path: "manifest.json" }),
      manifest,
    ]),
  ),
  no(
    "an end in the middle",
    "ARCHIVE_LAYOUT",
    docker(({ layers, config, manifest }) => [...layers, config, END, manifest]),
  ),
  yes(
    "a member whose PAX size hides another manifest.json",
    docker(({ layers, config, manifest, listing: list }) => {
      const hidden = list({ Layers: [] });
      return [pax({ size: String(hidden.length) }), header({ name: "x" }), hidden, ...layers, config, manifest];
    }),
  ),
  yes(
    "garbage behind the end",
    docker(({ layers, config, manifest }) => [...layers, config, manifest, END, Buffer.alloc(5000, "x")]),
  ),
  no(
    "10,001 members",
    "ARCHIVE_LAYOUT",
    docker(({ layers, config, manifest }) => [
      ...layers,
      config,
      manifest,
      ...Array.from({ length: 10_001 }, (_, i) => header({ name: `m${i}` })),
    ]),
  ),
];
