/**
 * Every row of the 'Documents' table through the whole daemon, one after another on the same one (see Stage): the right code or the
 * right root.
 */
import assert from "node:assert/strict";
import { before, suite, type TestContext, test } from "node:test";
import { type DocumentRow, documentSections } from "../hostile/document-rows.js";
import { fileScope } from "../support/sandbox.js";
import { Stage } from "../support/stage.js";
import { everythingBelow, textBelow } from "../support/trees.js";

/** Against what would hang for ever: a machine that is busy with other tests may take seconds for a row. */
const DEADLINE_MS = 120_000;
/** Node and its threads have a third of that; what 4 MiB of JSON become, and what is not collected yet, comes on top. */
const MAX_PEAK_BYTES = 1024 ** 3;

const scope = fileScope();
let stage: Stage;
before(async () => {
  stage = await Stage.open(scope);
});

let serial = 0;

for (const [section, rows] of Object.entries(documentSections)) {
  suite(section, () => {
    for (const row of rows) test(row.title, { timeout: DEADLINE_MS }, (t) => judge(t, row));
  });
}

test("an honest image is installed after all of them", async (t) => stage.proveAlive(await stage.connect(t)));

test("no document took more than its share of memory", () => {
  assert.ok(stage.peakBytes < MAX_PEAK_BYTES, `${stage.peakBytes} bytes`);
});

async function judge(t: TestContext, row: DocumentRow): Promise<void> {
  serial += 1;
  const name = `row-${serial}`;
  const offer = await row.scene({
    path: stage.path(name),
    outside: stage.outside,
    after: (cleanUp) => t.after(async () => cleanUp()),
    isStored: (diffId) => stage.isStored(diffId),
  });
  const job = await stage.judge(t, {
    reference: offer.reference,
    params: { platform: "linux/amd64", ...row.params, ...offer.params, name },
    codes: row.codes,
    ...(row.tree === undefined ? {} : { tree: row.tree }),
  });
  await offer.check?.(job);
  if (row.absent !== undefined) assertAbsent(row.absent);
}

/** Manifests and configs are kept as they are, under their digests. A collection may remove a root while we look. */
function assertAbsent(text: string): void {
  const paths = everythingBelow(stage.stateDir).filter((path) => !path.startsWith("blobs/"));
  assert.deepEqual(
    paths.filter((path) => textBelow(stage.stateDir, path).includes(text)),
    [],
  );
}
