/**
 * What a scan tells is what stands on the disk, whatever memos say: with them and without, of any store that was edited in any way, by any
 * memo that was damaged, is old, or is of another store.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import fc from "fast-check";
import { createLog } from "../../src/log.js";
import { parseDiffId } from "../../src/oci/digest.js";
import type { ScannedKind, ScanPlace, ScanTask } from "../../src/scan-tasks.js";
import { RecalledLayer } from "../../src/store/layer-index.js";
import { StoreLayout } from "../../src/store/layout.js";
import { StoreScan } from "../../src/store/store-scan.js";
import { blobKey } from "../../src/stored-documents.js";
import { writeSyntheticStore } from "../support/synthetic-store.js";
import { scanning, settled } from "./opened-store.js";

const quiet = createLog("error", () => undefined);

const withoutMemo = ({ memo: _, ...task }: ScanTask): ScanTask => task;

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "stratad-memos-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const places = (layout: StoreLayout): Readonly<Record<ScannedKind, ScanPlace>> => ({
  layers: layout.layerPlace("sha256"),
  roots: layout.rootPlace,
  names: layout.namePlace,
});

const idsOf = ({ kind, document }: ScanPlace): string[] =>
  readdirSync(document[0])
    .filter((name) => kind !== "names" || name.endsWith(".json"))
    .map((name) => (kind === "names" ? name.slice(0, -".json".length) : name));

interface Scanned {
  readonly told: Readonly<Record<string, unknown>>;
  readonly recalled: number;
}

/** All that a scan tells of one kind, by id. */
async function scanned(layout: StoreLayout, kind: ScannedKind, change: (task: ScanTask) => ScanTask): Promise<Scanned> {
  const scan = new StoreScan(layout, { scan: (task) => scanning(change(task)) }, quiet);
  await scan.start();
  const told: Record<string, unknown> = {};
  const tell = (id: string, what: unknown): void => {
    assert.equal(told[id], undefined, `${id} is told twice`);
    told[id] = what;
  };
  const place = places(layout)[kind];
  // Two parts: one alone has no memo.
  await scan.each(place, [idsOf(place).join("/"), ""], {
    found: (id, { document, meta, target }) => tell(id, { document, meta, target }),
    recalled: (id, keys, row) => {
      const { createdAt, bytes, verifiedAt, document, meta } = new RecalledLayer(
        parseDiffId(`sha256:${id}`),
        keys,
        row,
      );
      tell(id, { document, meta, target: undefined });
      assert.deepEqual([createdAt, bytes, verifiedAt], [document.createdAt, document.bytes, meta.verifiedAt]);
      assert.deepEqual(keys.blobKeys, meta.blobs.map(blobKey));
    },
    unreadable: (id, error) => tell(id, error.code),
  });
  return { told, recalled: scan.recalled };
}

/** Of the scans above. */
const memoOf = (layout: StoreLayout, kind: ScannedKind): string =>
  layout.memo(`${kind === "layers" ? "sha256-" : ""}${kind}-2-0`);

function smallStore(t: TestContext): StoreLayout {
  const layout = new StoreLayout(join(temporary(t), "state"));
  writeSyntheticStore(layout.state, { layers: 6, roots: 6, names: 6, bare: true });
  return layout;
}

/** With its time of writing as before, and another of its last change: a clock that has not ticked since the last is waited for. */
function unseen(path: string, edit: () => void): void {
  const { atime, mtime, ctimeNs } = statSync(path, { bigint: true });
  edit();
  do utimesSync(path, atime, mtime);
  while (statSync(path, { bigint: true }).ctimeNs === ctimeNs);
}

/** What a hand does to documents; `one` and `other` are paths of documents, `at` a number for whatever is to be chosen. */
const edits: Readonly<Record<string, (one: string, other: string, at: number) => void>> = {
  "another digit, of one length": (one) => {
    const text = readFileSync(one, "utf8");
    const edited = text.replace(/[0-9](?=[^0-9]*$)/, (digit) => String((Number(digit) + 1) % 10));
    unseen(one, () => writeFileSync(one, edited));
  },
  "durable or not": (one) => {
    const text = readFileSync(one, "utf8");
    const edited = text.includes('"durable":true')
      ? text.replace('"durable":true', '"durable":false')
      : text.replace('"durable":false', '"durable":true');
    unseen(one, () => writeFileSync(one, edited));
  },
  "a byte": (one, _other, at) => {
    const bytes = readFileSync(one);
    if (bytes.length > 0) bytes[at % bytes.length] = (at >> 8) & 0xff;
    unseen(one, () => writeFileSync(one, bytes));
  },
  "a cut": (one, _other, at) => unseen(one, () => truncateSync(one, at % (lstatSync(one).size + 1))),
  "a key that nobody knows": (one) => {
    const text = readFileSync(one, "utf8");
    unseen(one, () => writeFileSync(one, text.replace("{", '{"__proto__":{"bytes":1},"other":[1],')));
  },
  "a further space": (one) => unseen(one, () => appendFileSync(one, " ")),
  "another file of the same text": (one) => {
    writeFileSync(`${one}.copy`, readFileSync(one));
    renameSync(`${one}.copy`, one);
  },
  "no file": (one) => unlinkSync(one),
  "a directory": (one) => {
    unlinkSync(one);
    mkdirSync(one);
  },
  "the file of another": (one, other) => {
    if (one === other) return;
    unlinkSync(one);
    linkSync(other, one);
  },
  "a symlink to another": (one, other) => {
    if (one === other) return;
    unlinkSync(one);
    symlinkSync(other, one);
  },
  "each the other's": (one, other) => {
    renameSync(one, `${one}.aside`);
    if (one !== other) renameSync(other, one);
    renameSync(`${one}.aside`, other);
  },
};

/** What happens to a memo. */
const damages: Readonly<Record<string, (memo: string, old: string, at: number) => void>> = {
  "is cut, as by a kill or a power cut": (memo, _old, at) => truncateSync(memo, at % (lstatSync(memo).size + 1)),
  "has another byte": (memo, _old, at) => {
    const bytes = readFileSync(memo);
    bytes[at % bytes.length] = (at >> 8) & 0xff;
    writeFileSync(memo, bytes);
  },
  "has more": (memo) => appendFileSync(memo, "more"),
  "is gone": (memo) => unlinkSync(memo),
  "is an old one": (memo, old) => copyFileSync(old, memo),
};

const kind = fc.constantFrom<ScannedKind>("layers", "roots", "names");
const happening = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      edit: fc.constantFrom(...Object.keys(edits)),
      meta: fc.boolean(),
      one: fc.nat(5),
      other: fc.nat(5),
      at: fc.nat(0xffffff),
    }),
  },
  { weight: 1, arbitrary: fc.record({ damage: fc.constantFrom(...Object.keys(damages)), at: fc.nat(0xffffff) }) },
);

suite("memos of a store", () => {
  test("tell nothing that the documents do not, whatever happens to either", async (t) => {
    const whole = smallStore(t);
    await fc.assert(
      fc.asyncProperty(kind, fc.array(happening, { minLength: 1, maxLength: 6 }), async (kind, happenings) => {
        const layout = new StoreLayout(mkdtempSync(join(whole.state, "..", "edited-")));
        cpSync(whole.state, layout.state, { recursive: true, verbatimSymlinks: true });
        await scanned(layout, kind, settled);
        const [place, memo, old] = [places(layout)[kind], memoOf(layout, kind), `${layout.state}.memo`];
        copyFileSync(memo, old);
        const ids = idsOf(place);
        for (const happens of happenings) {
          try {
            if ("damage" in happens) damages[happens.damage]?.(memo, old, happens.at);
            else {
              const around = happens.meta ? (place.meta ?? place.document) : place.document;
              const path = (which: number): string => around.join(ids[which % ids.length]);
              edits[happens.edit]?.(path(happens.one), path(happens.other), happens.at);
            }
          } catch (error) {
            // What an edit before has taken away, or made a directory of.
            if (!(error instanceof Error && "code" in error)) throw error;
          }
          const { told } = await scanned(layout, kind, settled);
          assert.deepEqual(told, (await scanned(layout, kind, withoutMemo)).told);
        }
      }),
      { numRuns: 60 },
    );
  });

  for (const kind of ["layers", "roots", "names"] as const) {
    test(`save the reading of all ${kind} where nothing has changed, and of all but one where that has`, async (t) => {
      const layout = smallStore(t);
      assert.equal((await scanned(layout, kind, settled)).recalled, 0);
      assert.equal((await scanned(layout, kind, settled)).recalled, 6);
      const place = places(layout)[kind];
      edits["a further space"]?.(place.document.join(idsOf(place)[2]), "", 0);
      assert.equal((await scanned(layout, kind, settled)).recalled, 5);
      assert.equal((await scanned(layout, kind, settled)).recalled, 6);
    });

    test(`of ${kind} of another store are believed in nothing`, async (t) => {
      const [one, other] = [smallStore(t), smallStore(t)];
      await scanned(one, kind, settled);
      copyFileSync(memoOf(one, kind), `${other.state}.memo`);
      const place = places(other)[kind];
      for (const id of idsOf(place)) edits["another digit, of one length"]?.(place.document.join(id), "", 0);
      mkdirSync(other.memos, { recursive: true });
      copyFileSync(`${other.state}.memo`, memoOf(other, kind));
      const { told, recalled } = await scanned(other, kind, settled);
      assert.equal(recalled, 0);
      assert.deepEqual(told, (await scanned(other, kind, withoutMemo)).told);
    });
  }

  const strangers: Readonly<Record<string, (memo: string) => void>> = {
    "a file of many gigabytes": (memo) => truncateSync(memo, 64 * 1024 ** 3),
    "a FIFO": (memo) => {
      unlinkSync(memo);
      execFileSync("mkfifo", [memo]);
    },
    "a symlink to a memo": (memo) => {
      renameSync(memo, `${memo}.aside`);
      symlinkSync(`${memo}.aside`, memo);
    },
    "a directory": (memo) => {
      unlinkSync(memo);
      mkdirSync(memo);
    },
  };
  for (const [what, put] of Object.entries(strangers)) {
    test(`are none where ${what} stands, and nobody waits for it`, { timeout: 10_000 }, async (t) => {
      const layout = smallStore(t);
      await scanned(layout, "layers", settled);
      put(memoOf(layout, "layers"));
      const { told, recalled } = await scanned(layout, "layers", settled);
      assert.equal(recalled, 0);
      assert.deepEqual(told, (await scanned(layout, "layers", withoutMemo)).told);
    });
  }

  test("keep nothing that was changed since some time before the scan: it may change within the same tick of the clock", async (t) => {
    const layout = smallStore(t);
    const place = layout.namePlace;
    const times = idsOf(place).map((id) => lstatSync(place.document.join(id)).ctimeMs);
    const latest = times.reduce((a, b) => (a > b ? a : b));
    const before = times.filter((time) => time < latest).length;
    const until = (settledBeforeMs: number) => (task: ScanTask) => ({
      ...task,
      ...(task.memo === undefined ? {} : { memo: { ...task.memo, settledBeforeMs } }),
    });
    await scanned(layout, "names", until(0));
    assert.deepEqual(readdirSync(layout.memos), []);
    await scanned(layout, "names", until(latest));
    assert.equal((await scanned(layout, "names", until(0))).recalled, before);
    await scanned(layout, "names", until(latest + 1));
    assert.equal((await scanned(layout, "names", until(0))).recalled, times.length);
  });

  test("keep no layer and no root that a power cut may still take something of", async (t) => {
    const layout = smallStore(t);
    for (const kind of ["layers", "roots"] as const) {
      const place = places(layout)[kind];
      edits["durable or not"]?.((place.meta ?? place.document).join(idsOf(place)[0]), "", 0);
      await scanned(layout, kind, settled);
      assert.equal((await scanned(layout, kind, settled)).recalled, 5);
    }
  });
});
