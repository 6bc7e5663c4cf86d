import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { MAX_JOURNAL_LINE_BYTES } from "../../src/limits.js";
import { createLog } from "../../src/log.js";
import { Journal, type JournalOptions } from "../../src/store/journal.js";
import { type JournalEntry, lineOf } from "../../src/store/journal-entries.js";
import { type OpenSegment, openSegment, type SegmentFile } from "../../src/store/journal-segment.js";
import { StoreLayout } from "../../src/store/layout.js";

interface Opened {
  readonly journal: Journal;
  readonly layout: StoreLayout;
  /** Events of the log. */
  readonly said: string[];
}

async function directory(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "journal-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  await mkdir(join(path, "journal"));
  return path;
}

async function openJournal(state: string, options: Omit<JournalOptions, "log"> = {}): Promise<Opened> {
  const said: string[] = [];
  const log = createLog("info", (line) => said.push(JSON.parse(line).event));
  const layout = new StoreLayout(state);
  const journal = new Journal(layout, { log, ...options });
  await journal.open();
  return { journal, layout, said };
}

async function entriesOf(journal: Journal): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  await journal.read((entry) => {
    entries.push(entry);
    return true;
  });
  return entries;
}

const at = "2026-01-02T03:04:05.678Z";
const started = (jobId: string = randomUUID()): JournalEntry => ({ kind: "job.started", jobId, at });

const arbitraryEntry: fc.Arbitrary<JournalEntry> = fc.oneof(
  fc.record({
    kind: fc.constant("job.accepted" as const),
    jobId: fc.uuid(),
    at: fc.constant(at),
    request: fc.dictionary(
      fc.string().filter((key) => key !== "__proto__"),
      fc.string({ unit: "binary", maxLength: 40 }),
    ),
  }),
  fc.record({ kind: fc.constant("job.started" as const), jobId: fc.uuid(), at: fc.constant(at) }),
  fc.record({
    kind: fc.constant("finding" as const),
    at: fc.constant(at),
    code: fc.string(),
    detail: fc.string({ unit: "grapheme" }),
    repaired: fc.boolean(),
  }),
);
/** As they are read: fast-check's objects have no prototype. */
const plain = (entry: JournalEntry): JournalEntry => JSON.parse(JSON.stringify(entry));
const arbitraryJournal = fc.array(arbitraryEntry.map(plain), { minLength: 1, maxLength: 12 });

/** What reads from segments with these bytes, and what is appended behind it. */
async function readBack(
  state: string,
  segments: readonly Buffer[],
): Promise<{ entries: JournalEntry[]; said: string[] }> {
  await rm(join(state, "journal"), { recursive: true });
  await mkdir(join(state, "journal"));
  const layout = new StoreLayout(state);
  for (const [index, bytes] of segments.entries()) await writeFile(layout.journalSegment(index + 1), bytes);
  const { journal, said } = await openJournal(state);
  const entries = await entriesOf(journal);
  const next = started();
  await journal.appendDurably(next);
  assert.deepEqual(await entriesOf(journal), [...entries, next], "the next entry begins a line of its own");
  await journal.close();
  return { entries, said };
}

test("any prefix of a journal reads as the entries before the cut, and that is no error", async (t) => {
  const state = await directory(t);
  await fc.assert(
    fc.asyncProperty(arbitraryJournal, fc.nat(), async (entries, nat) => {
      const lines = entries.map((entry) => Buffer.from(lineOf(entry)));
      const whole = Buffer.concat(lines);
      const cut = nat % (whole.length + 1);
      let [end, before] = [0, 0];
      for (const line of lines) {
        end += line.length;
        if (end <= cut) before += 1;
      }
      const read = await readBack(state, [whole.subarray(0, cut)]);
      assert.deepEqual(read, { entries: entries.slice(0, before), said: [] });
    }),
    { numRuns: 60 },
  );
});

test("a damaged line loses only itself, and is said", async (t) => {
  const state = await directory(t);
  const damages: readonly ((line: Buffer) => Buffer)[] = [
    () => Buffer.from("\0".repeat(300)),
    (line) => line.subarray(1),
    (line) => line.subarray(0, line.length - 1),
    () => Buffer.from(""),
    () => Buffer.from('{"kind":"job.started","jobId":"..","at":"yesterday"}'),
    () => Buffer.from('{"kind":"of another release","at":"2026-01-02T03:04:05.678Z"}'),
    () => Buffer.from([0xff, 0xfe, 0x80]),
    () => Buffer.alloc(MAX_JOURNAL_LINE_BYTES + 1, "x"),
  ];
  await fc.assert(
    fc.asyncProperty(
      arbitraryJournal,
      fc.nat(),
      fc.constantFrom(...damages),
      fc.boolean(),
      async (entries, nat, damage, split) => {
        const index = nat % entries.length;
        const lines = entries.map((entry, n) => {
          const line = Buffer.from(lineOf(entry));
          return n === index ? Buffer.concat([damage(line.subarray(0, -1)), Buffer.from("\n")]) : line;
        });
        const middle = split ? Math.ceil(lines.length / 2) : 0;
        const segments = [Buffer.concat(lines.slice(0, middle)), Buffer.concat(lines.slice(middle))];
        const read = await readBack(state, segments);
        assert.deepEqual(read, { entries: entries.toSpliced(index, 1), said: read.said });
        assert.ok(read.said.includes("journal.damaged"));
      },
    ),
    { numRuns: 60 },
  );
});

/** Files that count their syncs and fail when a test says so. */
function countingFiles(): {
  open: OpenSegment;
  syncs: number;
  fail: Partial<Record<"write" | "datasync" | "truncate" | "open", string>>;
} {
  const errno = (code: string | undefined): void => {
    if (code !== undefined) throw Object.assign(new Error(code), { code, errno: -1 });
  };
  const files = {
    syncs: 0,
    fail: {} as Partial<Record<"write" | "datasync" | "truncate" | "open", string>>,
    open: async (path: string): Promise<SegmentFile> => {
      errno(files.fail.open);
      const file = await openSegment(path);
      const write = async (bytes: Buffer, offset: number, length: number, position: number) => {
        const half = files.fail.write === undefined ? length : Math.floor(length / 2);
        const written = await file.write(bytes, offset, half, position);
        errno(files.fail.write);
        return written;
      };
      return {
        write: write as SegmentFile["write"],
        datasync: async () => {
          files.syncs += 1;
          await file.datasync();
          errno(files.fail.datasync);
        },
        truncate: async (length) => {
          errno(files.fail.truncate);
          await file.truncate(length);
        },
        close: () => file.close(),
      };
    },
  };
  return files;
}

test("one sync serves all that wait, and what nobody waits for costs none", async (t) => {
  const files = countingFiles();
  const { journal } = await openJournal(await directory(t), { openSegment: files.open });
  for (let n = 0; n < 100; n += 1) journal.append(started());
  await Promise.all(Array.from({ length: 100 }, () => journal.appendDurably(started())));
  assert.equal(files.syncs, 1);
  // What comes while a sync is under way shares the next one.
  const first = journal.appendDurably(started());
  await new Promise((resolve) => setImmediate(resolve));
  await Promise.all([first, ...Array.from({ length: 50 }, () => journal.appendDurably(started()))]);
  assert.ok(files.syncs <= 3, `${files.syncs} syncs`);
  assert.equal((await entriesOf(journal)).length, 251);
  await journal.close();
});

for (const [what, fail, code] of [
  ["no space for half a line", { write: "ENOSPC" }, "NO_SPACE"],
  ["a sync that fails", { datasync: "EIO" }, "STORE_IO"],
  ["a segment that cannot be opened", { open: "EMFILE" }, "STORE_IO"],
] as const) {
  test(`${what} refuses who waits, keeps the others, and leaves no half line`, async (t) => {
    const files = countingFiles();
    const { journal, layout, said } = await openJournal(await directory(t), { openSegment: files.open });
    const [before, kept, refused, after] = [started(), started(), started(), started()];
    if (!("open" in fail)) await journal.appendDurably(before);
    files.fail = fail;
    journal.append(kept);
    await assert.rejects(journal.appendDurably(refused), { code });
    await assert.rejects(journal.appendDurably(refused), { code });
    files.fail = {};
    await journal.appendDurably(after);
    const expected = "open" in fail ? [kept, after] : [before, kept, after];
    assert.deepEqual(await entriesOf(journal), expected);
    await journal.close();
    assert.deepEqual(said, ["journal.failed", "journal.recovered"]);
    for (const file of await readdir(layout.journal)) {
      assert.match(
        await readFile(join(layout.journal, file), "utf8"),
        /^(\{.+\}\n)+$/,
        "whole lines, and no empty segment",
      );
    }
  });
}

test("a half line that cannot be cut off stays alone at the end of its segment", async (t) => {
  const files = countingFiles();
  const { journal, said } = await openJournal(await directory(t), { openSegment: files.open });
  const [before, after] = [started(), started()];
  await journal.appendDurably(before);
  files.fail = { write: "ENOSPC", truncate: "EIO" };
  await assert.rejects(journal.appendDurably(started()), { code: "NO_SPACE" });
  files.fail = {};
  await journal.appendDurably(after);
  assert.deepEqual(await entriesOf(journal), [before, after]);
  assert.deepEqual(said, ["journal.failed", "journal.recovered", "journal.damaged"]);
  await journal.close();
});

test("segments are small, and go from the oldest on as soon as nothing needs them", async (t) => {
  const state = await directory(t);
  const { journal, layout } = await openJournal(state, { segmentBytes: 1000 });
  const firstSegment = journal.segment;
  for (let n = 0; n < 100; n += 1) await journal.appendDurably(started());
  const files = await readdir(layout.journal);
  assert.ok(files.length >= 8, `${files.length} segments`);
  const needed = firstSegment + 3;
  await journal.trim(needed);
  assert.deepEqual(await readdir(layout.journal), files.slice(3));
  await journal.trim(Number.POSITIVE_INFINITY);
  assert.deepEqual(await readdir(layout.journal), files.slice(-1), "the one that is added to stays");
  await journal.close();
});

test("a journal that is closed removes no segment any more: the next daemon may have it", async (t) => {
  const { journal, layout } = await openJournal(await directory(t), { segmentBytes: 1000 });
  for (let n = 0; n < 100; n += 1) await journal.appendDurably(started());
  const trimmed = journal.trim(Number.POSITIVE_INFINITY);
  await journal.close();
  const left = await readdir(layout.journal);
  await trimmed;
  for (let n = 0; n < 20; n += 1) await journal.trim(Number.POSITIVE_INFINITY);
  assert.deepEqual(await readdir(layout.journal), left);
  assert.ok(left.length > 1, `${left.length} segments`);
});

test("beyond its bound the journal names the segments that have to go", async (t) => {
  const { journal, layout } = await openJournal(await directory(t), { segmentBytes: 1000, maxBytes: 5000 });
  for (let n = 0; n < 100; n += 1) await journal.appendDurably(started());
  const { excess } = journal;
  assert.ok(excess >= 3);
  await journal.trim(excess + 1);
  assert.ok(journal.bytes <= 5000 && journal.bytes > 3000, `${journal.bytes} bytes`);
  assert.ok(journal.excess < journal.segment - (await readdir(layout.journal)).length + 1);
  await journal.close();
});

test("another journal goes on where one ended, and numbers only rise", async (t) => {
  const state = await directory(t);
  const first = await openJournal(state, { segmentBytes: 300 });
  for (let n = 0; n < 10; n += 1) await first.journal.appendDurably(started());
  await first.journal.close();
  await assert.rejects(first.journal.appendDurably(started()), { code: "SHUTTING_DOWN" });
  await appendFile(first.layout.journalSegment(first.journal.segment), '{"kind":"job.sta');
  await writeFile(join(state, "journal", "notes.txt"), "not ours");
  await mkdir(join(state, "journal", "00000099.ndjson"));
  const second = await openJournal(state, { segmentBytes: 300 });
  await second.journal.appendDurably(started());
  assert.equal((await entriesOf(second.journal)).length, 11);
  assert.deepEqual(second.said, []);
  assert.ok(second.journal.segment >= first.journal.segment);
  await second.journal.close();
});
