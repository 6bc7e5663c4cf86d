import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createContext, type Terminal } from "../../src/cli/context.js";
import type { Globals } from "../../src/cli/globals.js";
import { createProgress } from "../../src/cli/progress.js";
import { StrataError } from "../../src/errors.js";
import { fakeHost, makeJob, makeLayer, readyJob } from "./support.js";

const globals: Globals = { json: false, events: false, quiet: false, progress: "auto", color: "never" };

/** A terminal as far as the view uses one: what stands on it after all escape sequences. */
class Screen implements Terminal {
  readonly isTTY = true;
  columns: number;
  readonly rows: number;
  cursorIsShown = true;
  #lines = [""];
  #row = 0;
  #column = 0;
  #resized = () => {};

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
  }

  /** Down to the cursor: what stands below it is not to be there. */
  get lines(): readonly string[] {
    assert.equal(this.#lines.slice(this.#row).join(""), "");
    return this.#lines.slice(0, this.#row + 1);
  }

  on(_event: "resize", listener: () => void): void {
    this.#resized = listener;
  }

  off(): void {
    this.#resized = () => {};
  }

  /** As if the window had become that wide: what stood there is wrapped, and the view redraws at once. */
  resize(columns: number): void {
    this.columns = columns;
    const wrap = (line: string) => line.match(new RegExp(`.{1,${columns}}`, "g")) ?? [""];
    const above = this.#lines.slice(0, this.#row).flatMap(wrap);
    this.#lines = [...above, this.#lines[this.#row] ?? ""];
    this.#row = above.length;
    this.#resized();
  }

  write(text: string): void {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what it reads
    for (const [token] of text.matchAll(/\u001b\[\??\d*[A-Za-z]|[^\u001b]/gu)) this.#take(token);
  }

  #take(token: string): void {
    const up = /^.\[(\d+)A$/.exec(token)?.[1];
    if (up !== undefined) this.#row = Math.max(0, this.#row - Number(up));
    else if (token.endsWith("?25l")) this.cursorIsShown = false;
    else if (token.endsWith("?25h")) this.cursorIsShown = true;
    else if (token.endsWith("[K")) this.#lines[this.#row] = (this.#lines[this.#row] ?? "").slice(0, this.#column);
    else if (token === "\r") this.#column = 0;
    else if (token === "\n") this.#newLine();
    else this.#put(token);
  }

  #newLine(): void {
    this.#row += 1;
    this.#column = 0;
    this.#lines[this.#row] ??= "";
  }

  #put(character: string): void {
    const line = this.#lines[this.#row] ?? "";
    this.#lines[this.#row] =
      line.slice(0, this.#column).padEnd(this.#column) + character + line.slice(this.#column + 1);
    this.#column += 1;
  }
}

describe("progress on a terminal", () => {
  const start = (labels: readonly string[], rows = 24) => {
    const screen = new Screen(80, rows);
    screen.write("$ stratad install\n");
    const host = fakeHost({ cwd: "/", stderr: screen });
    const context = createContext(host, globals);
    return { screen, context, view: createProgress(context, labels), redraw: () => screen.resize(80) };
  };
  const running = (count: number) =>
    makeJob({
      phase: "unpack",
      layers: Array.from({ length: count }, () => makeLayer({ state: "unpacking" })),
      progress: { bytesDone: 0, bytesTotal: 9, layersDone: 0, layersTotal: count, entriesDone: 0 },
    });

  it("redraws the same lines, however their number changes", () => {
    const { screen, view, redraw } = start(["a", "b"]);
    assert.deepEqual(screen.lines, ["$ stratad install", "a: asking the daemon", "b: asking the daemon", ""]);
    assert.equal(screen.cursorIsShown, false);
    view.update(0, running(3));
    redraw();
    assert.equal(screen.lines.length, 1 + 2 + 3 + 1 + 1);
    view.update(0, makeJob({ phase: "link" }));
    redraw();
    assert.deepEqual(screen.lines, ["$ stratad install", "a: linking", "b: asking the daemon", ""]);
    view.finish();
  });

  it("puts a message above the lines, where it stays", () => {
    const { screen, context, view, redraw } = start(["a", "b"]);
    view.update(0, running(3));
    redraw();
    context.message("The daemon is gone");
    view.update(0, makeJob({ phase: "link" }));
    redraw();
    const above = ["$ stratad install", "The daemon is gone"];
    assert.deepEqual(screen.lines, [...above, "a: linking", "b: asking the daemon", ""]);
    view.finish();
    context.message("and now");
    assert.deepEqual(screen.lines, [...above, "and now", ""]);
  });

  it("leaves the summaries and nothing else, with the cursor shown", () => {
    const { screen, view, redraw } = start(["a", "b"]);
    view.update(0, running(3));
    redraw();
    view.update(0, readyJob());
    view.update(1, readyJob());
    view.finish();
    const summary = "gcc-amd64: ready, 2 layers (1 shared), 12 files linked, 34 ms";
    assert.deepEqual(screen.lines, ["$ stratad install", summary, summary, ""]);
    assert.equal(screen.cursorIsShown, true);
  });

  it("leaves all layers of what failed standing", () => {
    const { screen, view } = start(["a", "b"], 5);
    const error = new StrataError("BAD_LINK", "Cannot").toWire();
    view.update(0, makeJob({ state: "failed", error, layers: [...running(9).layers, makeLayer({ state: "failed" })] }));
    view.update(1, readyJob());
    view.finish();
    assert.equal(screen.lines[1], "a: failed [BAD_LINK]");
    assert.match(screen.lines[11] ?? "", /failed/);
    assert.equal(screen.lines.length, 1 + 1 + 10 + 1 + 1);
  });

  it("never draws more lines than the terminal has", () => {
    const { screen, view, redraw } = start(["a"], 8);
    view.update(0, running(300));
    redraw();
    assert.equal(screen.lines.length - 1, 8);
    assert.equal(screen.lines.at(-3), "  (296 layers more)");
    view.finish();
  });

  it("takes away what a narrower terminal has wrapped", () => {
    const { screen, view, redraw } = start(["a"]);
    view.update(0, running(2));
    redraw();
    screen.resize(30);
    const first = "  abababababab  unpacking  0~";
    assert.deepEqual(screen.lines.slice(0, 3), ["$ stratad install", "a: unpacking, 0 of 2 layers", first]);
    assert.equal(screen.lines.length, 1 + 1 + 2 + 1 + 1);
    view.finish();
    assert.deepEqual(screen.lines, ["$ stratad install", ""]);
  });

  it("draws again at the width that the terminal has now", () => {
    const { screen, view } = start(["x".repeat(100)]);
    assert.equal(screen.lines[1]?.length, 79);
    screen.resize(120);
    assert.equal(screen.lines[1]?.length, 119);
    view.finish();
  });
});

describe("progress elsewhere", () => {
  const linesOf = (fields: Partial<Globals>, env = {}) => {
    const host = fakeHost({ cwd: "/", env });
    const view = createProgress(createContext(host, { ...globals, ...fields }), ["a\u001b[2J"]);
    const job = (phase: "resolve" | "fetch" | "unpack" | "link" | "commit") => makeJob({ phase });
    const phases = ["resolve", "fetch", "unpack", "fetch", "unpack", "unpack", "link", "commit"] as const;
    for (const state of [makeJob({ state: "queued" }), ...phases.map(job), readyJob()]) view.update(0, state);
    view.finish();
    return host.err.text.trimEnd().split("\n");
  };
  const summary = "gcc-amd64: ready, 2 layers (1 shared), 12 files linked, 34 ms";

  it("is one line for each phase and a summary, ten lines at most", () => {
    const words = ["queued", "resolving", "fetching", "unpacking", "linking", "committing"];
    assert.deepEqual(linesOf({}), [...words.map((word) => `a\\x1b[2J: ${word}`), summary]);
  });

  it("is the summary alone where none is wanted, and nothing where quiet is", () => {
    assert.deepEqual(linesOf({ progress: "none" }), [summary]);
    assert.deepEqual(linesOf({ quiet: true }), [""]);
    assert.deepEqual(linesOf({ quiet: true, progress: "tty" }), [""]);
  });
});
