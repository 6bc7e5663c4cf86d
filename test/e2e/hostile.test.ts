/**
 * Every row of the table of hostile archives and streams through the whole daemon, one after another on the same one (see Stage): the
 * right code, told with the layer and the entry that it is about, or the right root.
 */
import assert from "node:assert/strict";
import { before, suite, type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { type Row, sections } from "../hostile/rows.js";
import { writeLayout } from "../support/images.js";
import { buildImage, sha256, type TestImage } from "../support/registry.js";
import { fileScope } from "../support/sandbox.js";
import { Stage } from "../support/stage.js";
import type { Json } from "../support/wire.js";

const DEADLINE_MS = 20_000;
const MAX_NAME_BYTES = 256;

const all = Object.entries(sections).flatMap(([section, rows]) => rows.map((row) => ({ section, row })));
const limitsOf = ({ limits = {} }: Row): string => JSON.stringify(limits);

// Rows that need other limits need another daemon: its configuration says them.
for (const limits of new Set(all.map(({ row }) => limitsOf(row)))) {
  suite(limits === "{}" ? "with the default limits" : `with the limits ${limits}`, () => {
    const scope = fileScope();
    let stage: Stage;
    before(async () => {
      stage = await Stage.open(scope, JSON.parse(limits));
    });
    const members = all.filter(({ row }) => limitsOf(row) === limits);
    for (const [index, { section, row }] of members.entries())
      test(`${section}: ${row.title}`, { timeout: DEADLINE_MS }, (t) => judge(t, stage, { row, name: `row-${index}` }));
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
  const content = codec === "gzip" && !("code" in row) ? gunzipSync(blob) : blob;
  const rootfs = { type: "layers", diff_ids: [sha256("code" in row ? Buffer.from(title) : content)] };
  const layers = [{ mediaType, digest, size: blob.length }];
  const image = buildImage([], { config: { rootfs }, manifest: { layers } });
  return { ...image, blobs: new Map([...image.blobs, [digest, blob]]) };
}
