import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { renderBar, renderFrame, type Track } from "../../src/cli/render.js";
import { stateWords, summaryLines } from "../../src/cli/summary.js";
import { columnsOf } from "../../src/cli/text.js";
import { StrataError } from "../../src/errors.js";
import type { JobLayer } from "../../src/messages/job.js";
import { makeJob, makeLayer, readyJob } from "./support.js";

const screen = { columns: 80, rows: 24 };
const texts = (tracks: readonly Track[], size = screen) => renderFrame(tracks, size).map(({ text }) => text);
const overlap = new StrataError("LAYER_OVERLAP", "Cannot link: overlap").toWire();

describe("the frame of the progress view", () => {
  it("has a header for the image, a line for each layer, and a total", () => {
    const job = makeJob({
      phase: "unpack",
      progress: { bytesDone: 6_000_000, bytesTotal: 22_000_000, layersDone: 1, layersTotal: 3, entriesDone: 7 },
      layers: [
        makeLayer({ digest: `sha256:${"1".repeat(64)}`, state: "unpacking", size: 20_000_000, bytesDone: 5_000_000 }),
        makeLayer({ digest: `sha256:${"2".repeat(64)}`, state: "stored", size: 1_000_000, reused: true }),
        makeLayer({ digest: `sha256:${"3".repeat(64)}`, size: 1_000_000 }),
      ],
    });
    const lines = renderFrame([{ label: "oci:images:gcc", job }], { ...screen, bytesPerSecond: 4_000_000 });
    assert.deepEqual(
      lines.map(({ text }) => text),
      [
        "oci:images:gcc: unpacking, 1 of 3 layers",
        "  111111111111  unpacking  [======>                 ]  5.0 MB / 20.0 MB",
        "  222222222222  stored     1.0 MB, shared",
        "  333333333333  waiting    1.0 MB",
        "  total 6.0 MB / 22.0 MB, 4.0 MB/s, 4 s left",
      ],
    );
  });

  it("says that the daemon was asked before there is a job", () => {
    assert.deepEqual(texts([{ label: "a" }]), ["a: asking the daemon"]);
  });

  it("believes the daemon's estimate before its own, and says what limits", () => {
    const progress = { bytesDone: 1, bytesTotal: 9, layersDone: 0, layersTotal: 1, entriesDone: 0 };
    const job = makeJob({ progress: { ...progress, etaMs: 90_000, limiting: "network" } });
    assert.equal(texts([{ label: "a", job }]).at(-1), "  total 1 B / 9 B, 1 min 30 s left, limited by network");
  });

  const folding: readonly [rows: number, expected: readonly string[]][] = [
    [6, ["head", "stored", "waiting", "unpacking", "failed", "total"]],
    [5, ["head", "unpacking", "failed", "(2 layers more)", "total"]],
    [4, ["head", "failed", "(3 layers more)", "total"]],
    [3, ["failed", "(3 layers more, 1 image more)", "total"]],
    [2, ["(4 layers more, 1 image more)", "total"]],
    [1, ["total"]],
    [0, ["total"]],
  ];
  for (const [rows, expected] of folding) {
    it(`in ${rows} rows keeps what is active and folds the rest`, () => {
      const states: JobLayer["state"][] = ["stored", "waiting", "unpacking", "failed"];
      const job = makeJob({
        layers: states.map((state) => makeLayer({ state })),
        progress: { bytesDone: 1, bytesTotal: 9, layersDone: 1, layersTotal: 4, entriesDone: 0 },
      });
      const lines = texts([{ label: "head", job }], { columns: 80, rows });
      const words = lines.map((line) => expected.find((word) => line.includes(word)) ?? `unexpected: ${line}`);
      assert.deepEqual(words, expected);
    });
  }

  it("shows every layer of a job that failed when the height does not count", () => {
    const layers = Array.from({ length: 200 }, () => makeLayer({ state: "failed" }));
    const job = makeJob({ state: "failed", error: overlap, layers });
    const lines = texts([{ label: "a", job }], { columns: 80, rows: Number.POSITIVE_INFINITY });
    assert.equal(lines.length, 201);
    assert.equal(lines[0], "a: failed [LAYER_OVERLAP]");
  });

  it("never draws a line as wide as the terminal, nor more lines than it has, whatever the names are", () => {
    const layer = fc.record({
      digest: fc.string({ unit: "binary", maxLength: 100 }),
      state: fc.constantFrom<JobLayer["state"]>("waiting", "fetching", "unpacking", "stored", "failed"),
      size: fc.nat(),
      bytesDone: fc.nat(),
      reused: fc.boolean(),
    });
    const track = fc.record({ label: fc.string({ unit: "binary" }), layers: fc.array(layer, { maxLength: 30 }) });
    fc.assert(
      fc.property(
        fc.array(track, { maxLength: 5 }),
        fc.integer({ min: 1, max: 200 }),
        fc.nat(40),
        (all, columns, rows) => {
          const tracks = all.map(({ label, layers }) => ({ label, job: makeJob({ layers: layers.map(makeLayer) }) }));
          const lines = texts(tracks, { columns, rows });
          assert.ok(lines.length <= Math.max(1, rows));
          for (const line of lines) {
            assert.ok(columnsOf(line) < Math.max(columns, 1) || line === "", `${columns}: ${line}`);
            assert.doesNotMatch(line, /[\p{Cc}\u200b-\u200f\u2028-\u202e\u2066-\u2069]/u);
          }
        },
      ),
    );
  });
});

describe("the bar", () => {
  const cases: readonly [done: number, total: number, expected: string][] = [
    [0, 10, "[>    ]"],
    [5, 10, "[==>  ]"],
    [9.9, 10, "[====>]"],
    [10, 10, "[=====]"],
    [20, 10, "[=====]"],
    [0, 0, "[>    ]"],
  ];
  for (const [done, total, expected] of cases) {
    it(`of ${done} of ${total} is ${expected}`, () => assert.equal(renderBar(done, total, 5), expected));
  }
});

describe("the summary of a job", () => {
  const cases: readonly [title: string, job: Parameters<typeof readyJob>[0], expected: readonly string[]][] = [
    ["counts layers, shared ones and files", {}, ["gcc-amd64: ready, 2 layers (1 shared), 12 files linked, 34 ms"]],
    [
      "says what was copied and why",
      { linked: { files: 1, bytes: 1, copied: { count: 3, because: "EMLINK" } }, layers: [makeLayer()] },
      ["gcc-amd64: ready, 1 layer, 1 file linked, 3 files copied: EMLINK, 34 ms"],
    ],
    [
      "says that nothing was to do",
      { linked: undefined as never, layers: [] },
      ["gcc-amd64: ready, already installed, 34 ms"],
    ],
    [
      "has a line for each note",
      { notes: ["the config names linux/arm64"] },
      [
        "gcc-amd64: ready, 2 layers (1 shared), 12 files linked, 34 ms",
        "gcc-amd64: note: the config names linux/arm64",
      ],
    ],
    [
      "says in one clause what an update changed at the image root",
      { changes: { added: ["a"], changed: [], removed: ["b"], total: { added: 21, changed: 0, removed: 1 } } },
      ["gcc-amd64: ready, 2 layers (1 shared), 12 files linked, 21 added, 1 removed, 34 ms"],
    ],
    [
      "says that an update changed nothing",
      {
        linked: undefined as never,
        changes: { added: [], changed: [], removed: [], total: { added: 0, changed: 0, removed: 0 } },
      },
      ["gcc-amd64: ready, 2 layers (1 shared), already installed, nothing changed, 34 ms"],
    ],
    ["names the code of a failure", { state: "failed", error: overlap }, ["gcc-amd64: failed [LAYER_OVERLAP], 34 ms"]],
  ];
  for (const [title, fields, expected] of cases) {
    it(title, () => assert.deepEqual(summaryLines("label", readyJob(fields)), expected));
  }

  it("escapes a hostile reference where there is no name", () => {
    const { name: _, ...job } = readyJob();
    assert.match(summaryLines("a\u001b[2Jb\u202e", job)[0] ?? "", /^a\\x1b\[2Jb\\u\{202e\}: ready/);
  });

  it("says which phase runs", () => {
    assert.equal(stateWords(makeJob({ phase: "link" })), "linking");
    assert.equal(stateWords(makeJob({ state: "queued" })), "queued");
  });
});
