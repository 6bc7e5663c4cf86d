/**
 * An install on a disk that ends so many pages or inodes behind what is used, for every such number until it fits: it is ready or says
 * NO_SPACE, nothing half is left, the daemon answers, and with room again the same install works.
 */
import { readdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { checkStore } from "../support/check-store.js";
import { type Daemon, serve } from "../support/daemon.js";
import { resizeTmpfs } from "../support/file-systems.js";
import { Sandbox, type Scope } from "../support/sandbox.js";
import { type Json, RpcError, Wire } from "../support/wire.js";
import { layoutOf, smallImage } from "./images.js";

export type Space = "pages" | "inodes";

export interface SpaceSweep {
  readonly of: Space;
  /** What the first one has free. */
  readonly first: number;
  readonly stride: number;
}

export interface SpaceFigures {
  readonly sizes: number;
  readonly refused: number;
  /** Refused by what the install found out while it wrote, and not beforehand. */
  readonly refusedMidway: number;
  readonly problems: readonly string[];
}

const PAGE_BYTES = 4096;
const ROOMY = { bytes: 64 * 1024 * 1024, inodes: 10_000 };
/** What is told to be on the disk leaves the daemon nothing to write behind it: a disk cannot be made smaller than what is used by then. */
const AT_REST = { durable: true };
/** So many that fit one after another are the end. */
const FITTING = 2;

export class SmallDisk {
  readonly #sandbox: Sandbox;
  readonly #daemon: Daemon;
  readonly #wire: Wire;
  /** The mount. */
  readonly #disk: string;
  #images = 0;

  private constructor(sandbox: Sandbox, parts: { daemon: Daemon; wire: Wire; disk: string }) {
    this.#sandbox = sandbox;
    this.#daemon = parts.daemon;
    this.#wire = parts.wire;
    this.#disk = parts.disk;
  }

  /** `disk` is what `smallTmpfs` gave. */
  static async start(scope: Scope, disk: string): Promise<SmallDisk> {
    await resizeTmpfs(disk, ROOMY);
    const sandbox = await Sandbox.create(scope, { stateBelow: disk });
    const env = { STRATAD_RESERVE_BYTES: "0", STRATAD_RESERVE_INODES: "0", STRATAD_WORKERS: "2" };
    const daemon = await serve(sandbox, { env });
    const small = new SmallDisk(sandbox, { daemon, disk, wire: await Wire.connect(scope, daemon.socket) });
    await small.#wire.ready(await small.#nextImage(), { name: "first", ...AT_REST });
    return small;
  }

  async sweep({ of, first, stride }: SpaceSweep): Promise<SpaceFigures> {
    const problems: string[] = [];
    let [sizes, refused, refusedMidway, fitting] = [0, 0, 0, 0];
    for (let free = first; fitting < FITTING; free += stride) {
      const reference = await this.#nextImage();
      await resizeTmpfs(this.#disk, this.#sizeWith(of, free));
      const error = await this.#install(reference);
      const where = `${free} ${of} free, ${error?.code ?? "ready"}`;
      sizes += 1;
      fitting = error === undefined ? fitting + 1 : 0;
      if (error !== undefined) refused += 1;
      if (error !== undefined && error.details?.needBytes === undefined) refusedMidway += 1;
      if (error !== undefined && error.code !== "NO_SPACE") problems.push(`${where}: ${error.message}`);
      for (const problem of await this.#atRest()) problems.push(`${where}: ${problem}`);
      await resizeTmpfs(this.#disk, ROOMY);
      const again = await this.#install(reference, AT_REST);
      if (again !== undefined) problems.push(`${where}, and with room ${again.code}: ${again.message}`);
      await this.#wire.request("root/remove", { name: "swept" });
      await this.#wire.request("store/gc");
    }
    return { sizes, refused, refusedMidway, problems };
  }

  /** What the judge says, with the daemon stopped. */
  async judge(): Promise<string[]> {
    this.#daemon.kill("SIGTERM");
    await this.#daemon.ended;
    return checkStore(this.#sandbox.stateDir, { swept: true });
  }

  /** Its error, whether it is refused at the start or fails. */
  async #install(reference: string, options: object = {}): Promise<Json> {
    try {
      return (await this.#wire.install(reference, { name: "swept", ...options })).error;
    } catch (error) {
      if (error instanceof RpcError) return error.data;
      throw error;
    }
  }

  async #atRest(): Promise<string[]> {
    await this.#wire.settled();
    // A root that got no name goes by itself, when it suits the daemon: also from a disk that is full.
    await this.#wire.request("store/gc", { keepBytes: ROOMY.bytes });
    const staging = join(this.#sandbox.stateDir, "staging");
    const left = readdirSync(staging).flatMap((own) => readdirSync(join(staging, own)));
    return [...checkStore(this.#sandbox.stateDir), ...left.map((name) => `staging has ${name}`)];
  }

  #sizeWith(of: Space, free: number): typeof ROOMY {
    const { blocks, bfree, bsize, files, ffree } = statfsSync(this.#disk);
    return of === "pages"
      ? { ...ROOMY, bytes: (blocks - bfree) * bsize + free * PAGE_BYTES }
      : { ...ROOMY, inodes: files - ffree + free };
  }

  async #nextImage(): Promise<string> {
    this.#images += 1;
    return layoutOf(this.#sandbox.file(`layout-${this.#images}`), await smallImage(`image ${this.#images}`));
  }
}
