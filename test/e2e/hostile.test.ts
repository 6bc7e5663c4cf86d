/**
 * Every row of the table of hostile inputs through the whole daemon, one after another on the same one: the right code or the right
 * root, no root and nothing in staging after a refusal, a canary outside untouched, and the next install works, for it is the
 * next row.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { before, suite, type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { type Decoders, decoderChoices } from "../../src/tasks.js";
import { leniently, type Row } from "../hostile/rows.js";
import { isCompressed, sections } from "../hostile/sections.js";
import { type Daemon, serve } from "../support/daemon.js";
import { writeLayout } from "../support/images.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { everythingBelow } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";
import { describeTree } from "../workers/unpacking.js";

const DEADLINE_MS = 20_000;
const CANARY = "alive";

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
    for (const [index, { section, row }] of rows.entries())
      test(`${section}: ${row.title}`, { timeout: DEADLINE_MS }, (t) =>
        stage.judge(t, configuration.includes("javascript") ? leniently(row) : row, `row-${index}`),
      );
  });
}

class Stage {
  readonly #sandbox: Sandbox;
  readonly #daemon: Daemon;
  readonly #outside: string;
  readonly #canary: readonly number[];

  private constructor(sandbox: Sandbox, daemon: Daemon) {
    this.#sandbox = sandbox;
    this.#daemon = daemon;
    this.#outside = sandbox.file("outside");
    this.#canary = this.#canaryFacts();
  }

  static async open(scope: Parameters<typeof Sandbox.create>[0], configuration: string): Promise<Stage> {
    const sandbox = await Sandbox.create(scope);
    await mkdir(join(sandbox.home, ".config/stratad"), { recursive: true });
    await writeFile(join(sandbox.home, ".config/stratad/config.toml"), configuration);
    await mkdir(sandbox.file("outside"));
    await writeFile(sandbox.file("outside/canary"), CANARY, { mode: 0o640 });
    return new Stage(sandbox, await serve(sandbox));
  }

  async judge(t: TestContext, row: Row, name: string): Promise<void> {
    const blob = row.bytes(this.#outside);
    const layout = this.#sandbox.file(name);
    await writeLayout(layout, { app: imageOf(blob, row) });
    const roots = this.#roots();
    // A session of its own: one may not start so many a second.
    const wire = await Wire.connect(t, this.#daemon.socket);
    const job = await wire.install(`oci:${layout}:app`, { name });
    const expected = expectedCode(row);
    if (expected === undefined) this.#judgeRoot(job, row);
    else {
      assert.ok(expected.includes(job.error?.code), `${job.error?.code ?? job.state}, not ${expected}`);
      assert.deepEqual(this.#roots(), roots, "a root stands after a refusal");
    }
    assert.deepEqual(this.#staged(), []);
    assert.deepEqual(readdirSync(this.#outside), ["canary"], "something was made outside");
    assert.equal(readFileSync(join(this.#outside, "canary"), "utf8"), CANARY);
    assert.deepEqual(this.#canaryFacts(), this.#canary, "the canary was touched");
  }

  #judgeRoot(job: Json, row: Row): void {
    assert.equal(job.state, "ready", JSON.stringify(job.error));
    if ("tree" in row) assert.deepEqual(Object.fromEntries(describeTree(job.root.path)), row.tree);
  }

  #roots(): string[] {
    return readdirSync(join(this.#sandbox.stateDir, "roots")).sort();
  }

  #staged(): string[] {
    return everythingBelow(join(this.#sandbox.stateDir, "staging")).filter((path) => path.includes("/"));
  }

  #canaryFacts(): readonly number[] {
    const { mode, nlink, uid, mtimeMs, ctimeMs } = statSync(join(this.#outside, "canary"));
    return [mode, nlink, uid, mtimeMs, ctimeMs];
  }
}

/** Undefined where the image is to be installed. What policy c has no meaning for is refused by the plan. */
function expectedCode(row: Row): readonly string[] | undefined {
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

const sha256 = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
