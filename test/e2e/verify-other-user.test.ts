/**
 * Verification and repair by a daemon that is not root: directories without their write bit, or without any, hold what is damaged.
 */
import assert from "node:assert/strict";
import { chmodSync, lstatSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { serve } from "../support/daemon.js";
import { type TarFile, tarOf, writeLayout } from "../support/images.js";
import { becomeOtherUser } from "../support/other-user.js";
import { buildImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const scope = fileScope();
const { skip, path: setpriv } = toolOrSkip("setpriv");
let wire: Wire;
let root: string;
let layer: string;

const entries: readonly TarFile[] = [
  { name: "closed/", type: "directory", mode: 0o555 },
  { name: "closed/file", content: "closed", mode: 0o444 },
  { name: "closed/deeper/", type: "directory", mode: 0o500 },
  { name: "closed/deeper/file", content: "deeper", mode: 0o400 },
  { name: "secret", content: "secret", mode: 0o000 },
];

before(async () => {
  if (skip) return;
  const sandbox = await Sandbox.create(scope);
  await becomeOtherUser(sandbox, setpriv ?? "");
  const layout = sandbox.file("layout");
  await writeLayout(layout, { odd: buildImage([await tarOf(entries)]) });
  wire = await Wire.connect(scope, (await serve(sandbox)).socket);
  const job = await wire.ready(`oci:${layout}:odd`);
  root = job.root.path;
  layer = join(sandbox.stateDir, "layers", job.layers[0].diffId.replace(":", "/"), "tree");
});

const overwrite = (path: string, text: string): void => {
  const { mode } = lstatSync(path);
  chmodSync(path, 0o600);
  writeFileSync(path, text, { flag: "r+" });
  chmodSync(path, mode & 0o777);
};

const edits: readonly (readonly [title: string, edit: () => void, finds: readonly string[]])[] = [
  [
    "a file in a closed directory, and one that nobody may read",
    () => {
      overwrite(join(root, "closed/file"), "CLOSED");
      overwrite(join(root, "secret"), "SECRET");
    },
    ["CONTENT closed/file", "CONTENT secret"],
  ],
  [
    "a file deleted from closed directories of the layer and of the root",
    () => {
      rmSync(join(layer, "closed/deeper/file"));
      rmSync(join(root, "closed/deeper/file"));
    },
    ["MISSING closed/deeper/file", "MISSING closed/deeper/file", "MODE closed/deeper", "MODE closed/deeper"],
  ],
  [
    "a directory that its owner may not look into",
    () => {
      chmodSync(join(layer, "closed/deeper"), 0);
      chmodSync(join(root, "closed"), 0o300);
    },
    ["MODE closed", "MODE closed/deeper"],
  ],
  ["a whole directory deleted", () => rmSync(join(layer, "closed"), { recursive: true }), ["MISSING closed"]],
];

for (const [title, edit, finds] of edits)
  test(`${title}: found and repaired`, { skip }, async () => {
    const facts = readTree(root).entries;
    edit();
    const { findings } = await wire.request("store/verify", { deep: true });
    assert.deepEqual(findings.map(({ code, path }: Json) => `${code} ${path}`).sort(), [...finds]);
    const mended = await wire.request("store/verify", { deep: true, repair: true });
    assert.deepEqual([mended.findings, mended.repairedTotal], [[], finds.length]);
    assert.deepEqual((await wire.request("store/verify", { deep: true })).findings, []);
    assert.deepEqual(readTree(root).entries, facts);
    assert.equal(readFileSync(join(layer, "closed/file"), "utf8"), "closed");
  });
