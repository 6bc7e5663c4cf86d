/** The file of an archive itself. */
import { readFile, truncate, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { TERABYTE } from "./images.js";
import { replacements } from "./replacements.js";
import type { DocumentRow } from "./row.js";
import { no } from "./scene-row.js";
import { inDockerArchive as docker, type LayoutGround } from "./scenes.js";

export const archiveFiles: DocumentRow[] = [
  no("an archive that is no tar", "ARCHIVE_LAYOUT", async ({ path }) => {
    await writeFile(path, "x".repeat(2000));
    return { reference: `docker-archive:${path}` };
  }),
  no("an archive that is compressed", "ARCHIVE_LAYOUT", async (ground) => {
    const { reference } = await docker(({ layers, config, manifest }) => [...layers, config, manifest])(ground);
    await writeFile(ground.path, gzipSync(await readFile(ground.path)));
    return { reference };
  }),
  no("an empty file", "ARCHIVE_LAYOUT", async ({ path }) => {
    await writeFile(path, "");
    return { reference: `docker-archive:${path}` };
  }),
  ...(["oci-archive", "docker-archive"] as const).flatMap((transport) => [
    ...Object.entries(replacements)
      .filter(([what]) => what !== "a symlink to the very bytes")
      .map(([what, replace]) =>
        no(`${transport}: the file is ${what}`, "ARCHIVE_LAYOUT", async (ground) => {
          await replace(ground.path, ground as LayoutGround);
          return { reference: `${transport}:${ground.path}` };
        }),
      ),
    no(`${transport}: a terabyte of nothing`, ["ARCHIVE_LAYOUT", "LAYOUT_INVALID"], async ({ path }) => {
      await writeFile(path, "");
      await truncate(path, TERABYTE);
      return { reference: `${transport}:${path}` };
    }),
    no(`${transport}: there is no such file`, "ARCHIVE_LAYOUT", ({ path }) => ({ reference: `${transport}:${path}` })),
  ]),
];
