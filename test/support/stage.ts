/**
 * One daemon that hostile inputs are put to, one after another: what holds after each of them, whatever it was.
 *
 * After a refusal no root stands that did not stand before, nothing is staged, nothing outside was touched, no file of the input is
 * held open, what was said can be shown, and an honest image is installed: after every tenth, and after the last.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { describeTree } from "../workers/unpacking.js";
import { type Daemon, serve } from "./daemon.js";
import { until } from "./deadline.js";
import { writeLayout } from "./images.js";
import { openFiles } from "./open-files.js";
import { buildImage } from "./registry.js";
import { Sandbox, type Scope } from "./sandbox.js";
import { file, tar } from "./tar-builder.js";
import { everythingBelow } from "./trees.js";
import { type Json, RpcError, Wire } from "./wire.js";

const CANARY = "alive";
const HELD_MS = 5000;
/** Each trial's own answer, which is exact, is a witness for the one before it: a daemon that was hurt would not give it. */
const REFUSALS_A_WITNESS = 10;
/** Control characters, and those that turn the text around: nothing of an image reaches a terminal as it is. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

export interface Trial {
  readonly reference: string;
  readonly params?: object;
  /** The codes that are right; absent where the image is to be installed. */
  readonly codes?: readonly string[] | undefined;
  /** As `describeTree` tells it; absent: any. */
  readonly tree?: Readonly<Record<string, string>>;
}

export class Stage {
  readonly #sandbox: Sandbox;
  readonly #daemon: Daemon;
  /** A directory that holds a canary and that no input may reach. */
  readonly outside: string;
  readonly #canary: readonly number[];
  #refusals = 0;
  #witnesses = 0;

  private constructor(sandbox: Sandbox, daemon: Daemon) {
    this.#sandbox = sandbox;
    this.#daemon = daemon;
    this.outside = sandbox.file("outside");
    this.#canary = this.#canaryFacts();
  }

  /** `configuration` is the daemon's config.toml. */
  static async open(scope: Scope, configuration = ""): Promise<Stage> {
    const sandbox = await Sandbox.create(scope);
    await mkdir(join(sandbox.home, ".config/stratad"), { recursive: true });
    await writeFile(join(sandbox.home, ".config/stratad/config.toml"), configuration);
    await mkdir(sandbox.file("outside"));
    await writeFile(sandbox.file("outside/canary"), CANARY, { mode: 0o640 });
    return new Stage(sandbox, await serve(sandbox));
  }

  get stateDir(): string {
    return this.#sandbox.stateDir;
  }

  /** Where an input may be written. */
  path(name: string): string {
    return this.#sandbox.file("files", name);
  }

  isStored(diffId: string): boolean {
    return existsSync(join(this.stateDir, "layers", diffId.replace(":", "/")));
  }

  /** A session of its own: one may not start so many installs a second. */
  connect(t: TestContext): Promise<Wire> {
    return Wire.connect(t, this.#daemon.socket);
  }

  /** Installs, and judges what came of it and what was left. The job at its end; its error alone where no job was made. */
  async judge(t: TestContext, { reference, params = {}, codes, tree }: Trial): Promise<Json> {
    const roots = this.#roots();
    const wire = await this.connect(t);
    const job = await wire.install(reference, params).catch((error: unknown) => {
      if (error instanceof RpcError) return { state: "refused", error: error.data };
      throw error;
    });
    if (codes === undefined) {
      assert.equal(job.state, "ready", JSON.stringify(job.error));
      if (tree !== undefined) assert.deepEqual(Object.fromEntries(describeTree(job.root.path)), tree);
    } else {
      assert.ok(codes.includes(job.error?.code), `${JSON.stringify(job.error) ?? job.state}, not ${codes.join()}`);
      assertPrintable(job.error);
      // Fewer may stand: older generations of the witness are collected behind the answer.
      const made = this.#roots().filter((rootId) => !roots.includes(rootId));
      assert.deepEqual(made, [], "a root stands after a refusal");
    }
    await this.assertClean();
    if (codes !== undefined) this.#refusals += 1;
    if (codes !== undefined && this.#refusals % REFUSALS_A_WITNESS === 0) await this.proveAlive(wire);
    return job;
  }

  async assertClean(): Promise<void> {
    // Older generations of the witness leave through it.
    await until("staging is empty", () => !everythingBelow(join(this.stateDir, "staging")).some(isBelow), HELD_MS);
    assert.deepEqual(readdirSync(this.outside), ["canary"], "something was made outside");
    assert.equal(readFileSync(join(this.outside, "canary"), "utf8"), CANARY);
    assert.deepEqual(this.#canaryFacts(), this.#canary, "the canary was touched");
    // The thread of a layer that was given up ends in a moment, and a source is closed behind the answer.
    await until("the daemon holds no file of the input or of staging", () => this.#heldFiles().length === 0, HELD_MS);
    assert.doesNotMatch(this.#daemon.log().replaceAll("\n", ""), UNPRINTABLE);
  }

  /** The most memory that the daemon has had so far, workers and all. */
  get peakBytes(): number {
    const status = readFileSync(`/proc/${this.#daemon.pid}/status`, "utf8");
    return Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  /** An honest image, never seen before. */
  async proveAlive(wire: Wire): Promise<void> {
    this.#witnesses += 1;
    const content = `witness ${this.#witnesses}`;
    const layout = this.path(`witness-${this.#witnesses}`);
    await writeLayout(layout, { app: buildImage([tar(file("witness", content))]) });
    const { root } = await wire.ready(`oci:${layout}:app`, { name: "witness" });
    assert.equal(readFileSync(join(root.path, "witness"), "utf8"), content);
  }

  #roots(): string[] {
    return readdirSync(join(this.stateDir, "roots")).sort();
  }

  #canaryFacts(): readonly number[] {
    const { mode, nlink, uid, mtimeMs, ctimeMs } = statSync(join(this.outside, "canary"));
    return [mode, nlink, uid, mtimeMs, ctimeMs];
  }

  /** Its own documents the store may be writing at any time. */
  #heldFiles(): string[] {
    const inputs = [this.path(""), this.outside, join(this.stateDir, "staging")];
    return openFiles(this.#daemon.pid).filter((path) => inputs.some((input) => path.startsWith(input)));
  }
}

/** Of a process's own directory in staging, which comes and goes. */
const isBelow = (path: string): boolean => path.includes("/");

function assertPrintable(value: unknown): void {
  if (typeof value === "string") assert.doesNotMatch(value, UNPRINTABLE);
  else if (typeof value === "object" && value !== null)
    for (const [key, below] of Object.entries(value)) {
      assertPrintable(key);
      assertPrintable(below);
    }
}
