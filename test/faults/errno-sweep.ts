/**
 * The Nth file system call of a small install fails, for every N: the job ends with the errno's code or as if nothing had been, the
 * daemon answers, nothing half is left, and the same install works at once on the same daemon.
 */
import assert from "node:assert/strict";
import { existsSync, lstatSync, readdirSync, readlinkSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { checkStore } from "../support/check-store.js";
import { type Daemon, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { type Errno, Faults, pointOf, type Told } from "../support/faults.js";
import { Sandbox, type Scope } from "../support/sandbox.js";
import { type Json, RpcError, Wire } from "../support/wire.js";
import { layoutOf, smallImage } from "./images.js";

/** The only code that a job may fail with. */
export const codeOf = {
  EIO: "STORE_IO",
  ENOSPC: "NO_SPACE",
  EACCES: "STORE_NOT_WRITABLE",
  EMFILE: "STORE_IO",
  EMLINK: "STORE_IO",
} as const satisfies Partial<Record<Errno, string>>;
export type SweptErrno = keyof typeof codeOf;

export interface Sweep {
  readonly errno: SweptErrno;
  /** The calls to fail: every one from the first until an install has no such call any more, or each `stride`th. */
  readonly first?: number;
  readonly stride?: number;
  /** The errno meets all later calls of the job too, those that clean up as well. */
  readonly fromThenOn?: boolean;
}

export interface SweepFigures {
  readonly faults: number;
  /** Jobs that failed, and those that got along. */
  readonly failed: number;
  readonly ready: number;
  /** What was met, e.g. `mkdir staging/P/N`, and how often. */
  readonly points: ReadonlyMap<string, number>;
  /** What did not hold, and after which call. */
  readonly problems: readonly string[];
}

/** What only the removal of an empty staging directory does. */
const CLEANING = /^(open|readdir|rmdir) staging\/P(\/N)?$/;

const SOON_MS = 10_000;

interface Tried {
  readonly told: Told;
  readonly state: "ready" | "failed";
  readonly broken: readonly string[];
}

/** One daemon, on which everything is tried one after another. `library` is the compiled shim. */
export class SweptDaemon {
  readonly #sandbox: Sandbox;
  readonly #faults: Faults;
  readonly #daemon: Daemon;
  readonly #scope: Scope;
  #wire: Wire;
  #images = 0;

  private constructor(scope: Scope, sandbox: Sandbox, parts: { faults: Faults; daemon: Daemon; wire: Wire }) {
    this.#scope = scope;
    this.#sandbox = sandbox;
    this.#faults = parts.faults;
    this.#daemon = parts.daemon;
    this.#wire = parts.wire;
  }

  static async start(scope: Scope, library: string, stateBelow?: string): Promise<SweptDaemon> {
    const sandbox = await Sandbox.create(scope, stateBelow === undefined ? {} : { stateBelow });
    const faults = new Faults(library, sandbox);
    scope.after(async () => faults.close());
    const daemon = await serve(sandbox, { env: { STRATAD_WORKERS: "2", ...faults.env } });
    const swept = new SweptDaemon(scope, sandbox, { faults, daemon, wire: await Wire.connect(scope, daemon.socket) });
    await swept.#installOther("the first");
    return swept;
  }

  async sweep({ errno, first = 1, stride = 1, fromThenOn = false }: Sweep): Promise<SweepFigures> {
    const points = new Map<string, number>();
    const problems: string[] = [];
    const ends = { failed: 0, ready: 0 };
    for (let at = first; ; at += stride) {
      const { told, state, broken } = await this.#try(errno, at, fromThenOn);
      problems.push(...broken.map((what) => `${errno} at call ${at} (${pointOf(told.hit)}): ${what}`));
      if (told.hits === 0) return { faults: ends.failed + ends.ready, ...ends, points, problems };
      ends[state] += 1;
      points.set(pointOf(told.hit), (points.get(pointOf(told.hit)) ?? 0) + 1);
    }
  }

  /** After all sweeps: one more install, the end of the daemon, and what is wrong with its store. */
  async judge(): Promise<string[]> {
    for (const word of ["one more", "and another"]) await this.#installOther(word);
    const left = this.#below("staging").map((name) => `staging/${name}: left by a daemon that had time`);
    const isIdle = until("nothing is open in the store", () => this.#heldFiles().length === 0, SOON_MS);
    await isIdle.catch(() => undefined);
    const held = this.#heldFiles();
    if (held.length > 0) left.push(`still open: ${held}`);
    this.#daemon.kill("SIGTERM");
    assert.equal((await this.#daemon.ended).exitCode, 0);
    // A start removes the temporary of a document that could not even be removed.
    const next = await serve(this.#sandbox);
    next.kill("SIGTERM");
    await next.ended;
    return [...left, ...checkStore(this.#sandbox.stateDir, { swept: true })];
  }

  async #try(errno: SweptErrno, at: number, fromThenOn: boolean): Promise<Tried> {
    const broken: string[] = [];
    const expect = (holds: boolean, what: string): void => void (holds || broken.push(what));
    this.#images += 1;
    // A session may not start more than so many installs a second.
    await this.#wire.close();
    this.#wire = await Wire.connect(this.#scope, this.#daemon.socket);
    const directory = this.#sandbox.file("files", `image-${this.#images}`);
    const reference = await layoutOf(directory, await smallImage(`word ${this.#images}`));
    // A name of its own: older generations would be collected beside the next install, and meet its fault.
    const name = `app-${this.#images}`;
    this.#faults.arm({ at, what: errno, fromThenOn });
    const { state, error } = await this.#install(reference, name);
    const told = this.#faults.disarm();
    expect(state === "ready" || error?.code === codeOf[errno], `the job is ${state}: ${JSON.stringify(error)}`);
    for (const rootId of this.#below("roots")) expect(!this.#isHalf(rootId), "half a root");
    // Where cleaning up itself was met, the next job makes good for it.
    if (!fromThenOn && !CLEANING.test(pointOf(told.hit)))
      expect(await this.#isStagingEmpty(), "something is left in staging");
    const layers = this.#layers();
    const { layersUnpacked } = await this.#wire.counters();
    const again = await this.#wire.install(reference, { name });
    expect(again.state === "ready", `the same again: ${JSON.stringify(again.error)}`);
    const after = this.#layers();
    for (const [path, inode] of layers) expect(after.get(path) === inode, `the stored layer ${path} was replaced`);
    const unpacked = (await this.#wire.counters()).layersUnpacked - layersUnpacked;
    expect(unpacked === after.size - layers.size, `the next install unpacked ${unpacked} layers`);
    await rm(directory, { recursive: true });
    return { told, state, broken };
  }

  /** One that the journal could not take is refused at once, and is no job. */
  async #install(reference: string, name: string): Promise<Pick<Json, "state" | "error">> {
    return this.#wire.install(reference, { name }).catch((error: unknown) => {
      if (error instanceof RpcError) return { state: "failed", error: error.data };
      throw error;
    });
  }

  async #installOther(word: string): Promise<void> {
    await this.#wire.ready(await layoutOf(this.#sandbox.file("files", word), await smallImage(word)));
  }

  /** What the daemon has open in its store, but for its lock and its journal. */
  #heldFiles(): string[] {
    const directory = `/proc/${this.#daemon.pid}/fd`;
    const files = readdirSync(directory).map((fd) => {
      try {
        return readlinkSync(join(directory, fd));
      } catch {
        return ""; // closed meanwhile
      }
    });
    const { stateDir } = this.#sandbox;
    return files.filter((file) => file.startsWith(`${stateDir}/`) && !/\/(lock|journal\/[^/]*)$/.test(file));
  }

  /** Soon: a full disk is a reason to collect, and that goes on beside. */
  async #isStagingEmpty(): Promise<boolean> {
    const empty = until("staging is empty", () => this.#below("staging").length === 0, SOON_MS);
    return empty.catch(() => false);
  }

  /** The root of a job that failed is nobody's, and is collected beside: it goes as it came, whole. */
  #isHalf(rootId: string): boolean {
    const root = join(this.#sandbox.stateDir, "roots", rootId);
    return !existsSync(join(root, "root.json")) && existsSync(root);
  }

  #below(...parts: readonly string[]): string[] {
    return readdirSync(join(this.#sandbox.stateDir, ...parts));
  }

  /** The inode of each stored layer. */
  #layers(): Map<string, number> {
    const directory = join(this.#sandbox.stateDir, "layers/sha256");
    return new Map(
      readdirSync(directory)
        .filter((name) => !name.startsWith("."))
        .map((hex) => [hex, lstatSync(join(directory, hex)).ino]),
    );
  }
}
