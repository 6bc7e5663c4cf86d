/**
 * Every row of the table of hostile archives and streams through the whole daemon, one after another on the same one (see Stage): the
 * right code, told with the layer and the entry that it is about, or the right root.
 */
import assert from "node:assert/strict";
import { before, suite, type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { type Decoders, decoderChoices } from "../../src/tasks.js";
import { leniently, type Row } from "../hostile/rows.js";
import { isCompressed, sections } from "../hostile/sections.js";
import { writeLayout } from "../support/images.js";
import { buildImage, sha256, type TestImage } from "../support/registry.js";
import { fileScope } from "../support/sandbox.js";
import { Stage } from "../support/stage.js";
import type { Json } from "../support/wire.js";

/** Against what would hang for ever: a machine that is busy with other tests may take seconds for a row. */
const DEADLINE_MS = 120_000;
const MAX_NAME_BYTES = 256;

const all = Object.entries(sections).flatMap(([section, rows]) => rows.map((row) => ({ section, row })));

/** What a daemon's config.toml says, and the rows that are for it. */
const stages = new Map<string, { section: string; row: Row }[]>();
for (const each of all) {
  for (const decoders of isCompressed(each.row) ? decoderChoices : (["native"] as const)) {
    const configuration = configurationOf(each.row, decoders);
    stages.set(configuration, [...(stages.get(configuration) ?? []), each]);
  }
}

function configurationOf({ limits = {} }: Row, decoders: Decoders): string {
  const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const lines = Object.entries(limits).map(([name, value]) => `${snake(name)} = ${value}\n`);
  return `decoders = "${decoders}"\n[limits]\n${lines.join("")}`;
}

for (const [configuration, rows] of stages) {
  suite(JSON.stringify(configuration), () => {
    const scope = fileScope();
    let stage: Stage;
    before(async () => {
      stage = await Stage.open(scope, configuration);
    });
    for (const [index, { section, row: strict }] of rows.entries()) {
      const row = configuration.includes("javascript") ? leniently(strict) : strict;
      test(`${section}: ${row.title}`, { timeout: DEADLINE_MS }, (t) => judge(t, stage, { row, name: `row-${index}` }));
    }
    test("an honest image is installed after all of them", async (t) => stage.proveAlive(await stage.connect(t)));
  });
}

async function judge(t: TestContext, stage: Stage, { row, name }: { row: Row; name: string }): Promise<void> {
  const blob = row.bytes(stage.outside);
  const layout = stage.path(name);
  await writeLayout(layout, { app: imageOf(blob, row) });
  const job = await stage.judge(t, {
    reference: `oci:${layout}:app`,
    params: { name },
    codes: expectedCodes(row),
    ...("tree" in row ? { tree: row.tree } : {}),
  });
  if ("code" in row) judgeDetails(job.error.details, row, sha256(blob));
}

/** Whoever built the image is told where to look; what the archive says comes escaped and cut. */
function judgeDetails(details: Json, row: Extract<Row, { code: string }>, digest: string): void {
  assert.equal(details.layerDigest, digest);
  for (const [key, value] of Object.entries(row.at ?? {})) assert.equal(details[key], value, key);
  const { entryIndex, entryName } = details;
  if (entryIndex !== undefined) assert.ok(Number.isSafeInteger(entryIndex) && entryIndex >= 0, `${entryIndex}`);
  if (entryName !== undefined) assert.ok(Buffer.byteLength(entryName) <= MAX_NAME_BYTES, entryName);
}

/** Undefined where the image is to be installed. What policy c has no meaning for is refused by the plan. */
function expectedCodes(row: Row): readonly string[] | undefined {
  if ("code" in row) return [row.code];
  return (row.marks ?? []).length > 0 ? ["WHITEOUT", "HARDLINK_TARGET"] : undefined;
}

/**
 * An honest image around the blob. One that is to be refused has a diffID that no layer has: a layer that is stored already is
 * taken from there, whatever the blob looks like.
 */
function imageOf(blob: Buffer, row: Row): TestImage {
  const { codec = "none", title } = row;
  const mediaType = `application/vnd.oci.image.layer.v1.tar${codec === "none" ? "" : `+${codec}`}`;
  const digest = sha256(blob);
  const content = "code" in row ? blob : (row.tar ?? (codec === "gzip" ? gunzipSync(blob) : blob));
  const rootfs = { type: "layers", diff_ids: [sha256("code" in row ? Buffer.from(title) : content)] };
  const layers = [{ mediaType, digest, size: blob.length }];
  const image = buildImage([], { config: { rootfs }, manifest: { layers } });
  return { ...image, blobs: new Map([...image.blobs, [digest, blob]]) };
}
