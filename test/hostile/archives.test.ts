/**
 * Every row of the table of hostile inputs, through the worker that ships: the right code or the right tree, nothing outside
 * touched, no descriptor left, and never a wait.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { extract } from "tar-stream";
import { imageLimits } from "../../src/limits.js";
import type { Decoders } from "../../src/tasks.js";
import type { TarEntry } from "../../workers/tar-entry.js";
import { TarGuard } from "../../workers/tar-guard.js";
import { openDescriptors, type Unpacked, withUnpacked } from "../workers/unpacking.js";
import { type Accepted, leniently, type Refused, type Row } from "./rows.js";
import { isCompressed, sections } from "./sections.js";

/** Against what would hang for ever: a machine that is busy with other tests may take seconds for a row. */
const DEADLINE_MS = 120_000;
const CANARY = "alive";
const outside = mkdtempSync(join(tmpdir(), "outside-"));
after(() => rmSync(outside, { recursive: true }));
writeFileSync(join(outside, "canary"), CANARY, { mode: 0o640 });
const before = canaryFacts();

for (const [section, rows] of Object.entries(sections)) {
  suite(section, () => {
    for (const row of rows) {
      const answer = "code" in row ? row.code : "accepted";
      test(`${row.title}: ${answer}`, { timeout: DEADLINE_MS }, () => judge(row, "native"));
      if (isCompressed(row))
        test(`${row.title}, by the engine in JavaScript`, { timeout: DEADLINE_MS }, () =>
          judge(leniently(row), "javascript"),
        );
    }
  });
}

function canaryFacts(): readonly number[] {
  const { mode, nlink, uid, mtimeMs, ctimeMs } = statSync(join(outside, "canary"));
  return [mode, nlink, uid, mtimeMs, ctimeMs];
}

async function judge(row: Row, decoders: Decoders): Promise<void> {
  const blob = row.bytes(outside);
  const open = openDescriptors();
  await withUnpacked(blob, { ...row, decoders }, async (unpacked) => {
    assert.equal(openDescriptors(), open, "the worker left a descriptor open");
    assert.deepEqual(readdirSync(outside), ["canary"], "something was made outside");
    assert.equal(readFileSync(join(outside, "canary"), "utf8"), CANARY);
    assert.deepEqual(canaryFacts(), before, "the canary was touched");
    if ("code" in row) judgeRefusal(row, unpacked);
    else await judgeTree(row, unpacked, blob);
  });
}

function judgeRefusal(row: Refused, { error }: Unpacked): void {
  assert.equal(error?.code, row.code, error?.message ?? "it was accepted");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: nothing of an archive reaches a terminal
  assert.doesNotMatch(error.message + JSON.stringify(error.details ?? {}), /[\x00-\x1f\x7f-\x9f\u202e]/);
  for (const [key, value] of Object.entries(row.at ?? {})) assert.equal(error.details?.[key], value, key);
}

async function judgeTree(row: Accepted, { error, tree, changeset, layer }: Unpacked, blob: Buffer): Promise<void> {
  assert.equal(error, undefined, `${error?.code}: ${error?.message}`);
  assert.deepEqual(Object.fromEntries(tree), row.tree);
  const data = changeset.filter(({ type }) => ["whiteout", "opaque", "unresolved"].includes(type));
  assert.deepEqual(
    data.map(({ type, path }) => `${type} ${path}`),
    row.marks ?? [],
  );
  const onDisk = changeset.filter((entry) => !data.includes(entry)).map(({ path }) => path);
  assert.deepEqual(onDisk.sort(), [...tree.keys()].sort(), "the changeset and the tree say different things");
  const bytes = row.tar ?? (row.codec === "gzip" ? gunzipSync(blob) : blob);
  assert.equal(layer?.tarBytes, bytes.length);
  if (row.misread === undefined) assert.deepEqual(listedByGuard(bytes), await listedByTarStream(bytes));
}

/** What the guard hands out, decoded as tar-stream decodes: our names are bytes. */
function listedByGuard(bytes: Buffer): string[] {
  const lines: string[] = [];
  const decoded = (name: string): string => Buffer.from(name, "latin1").toString("utf8");
  const guard = new TarGuard(
    {
      entry: ({ name, type, size, linkName }) => lines.push(line(decoded(name), type, size, decoded(linkName))),
      data: () => undefined,
      end: () => undefined,
    },
    imageLimits,
  );
  guard.push(bytes);
  guard.finish();
  return lines;
}

/** What tar-stream lists alone, with nothing of ours before it. */
async function listedByTarStream(bytes: Buffer): Promise<string[]> {
  const lines: string[] = [];
  const stream = extract();
  stream.end(bytes);
  for await (const entry of stream) {
    const { name, type, size, linkname } = entry.header;
    lines.push(line(name, types[type ?? ""] ?? "unknown", size ?? 0, linkname ?? ""));
    entry.resume();
  }
  return lines;
}

const types: Readonly<Record<string, TarEntry["type"]>> = {
  file: "file",
  "contiguous-file": "file",
  directory: "dir",
  symlink: "symlink",
  link: "hardlink",
};

function line(name: string, type: string, size: number, target: string): string {
  const isLink = type === "symlink" || type === "hardlink";
  return `${type} ${size} ${name}${isLink ? ` -> ${target}` : ""}`;
}
