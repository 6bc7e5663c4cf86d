/**
 * A real store behind a real daemon, with what a client can do to it, and everything that can be seen of it: over the protocol and
 * on the disk.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { checkStore } from "../support/check-store.js";
import { type Daemon, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { type Fault, Faults } from "../support/faults.js";
import { writeLayout } from "../support/images.js";
import { buildImage, sha256, type TestImage } from "../support/registry.js";
import { Sandbox, type Scope } from "../support/sandbox.js";
import { type Json, RpcError, Wire } from "../support/wire.js";
import { damage } from "./damage.js";
import { layerOf } from "./images.js";
import { type ModelGeneration, SHARED, type Tag } from "./model.js";
import { repair } from "./scenario.js";

export type Change =
  | { readonly install: Tag; readonly name: string }
  | { readonly remove: string }
  | { readonly rollback: string }
  /** By a name. */
  | { readonly pin: string }
  | { readonly unpin: Tag }
  /** How many generations are kept. */
  | { readonly collect: number }
  /** The root of this name and its layers, by hand; and a repair. */
  | { readonly damage: string };

/** Everything that can be seen, in the words of the model. */
export interface Seen {
  readonly names: Readonly<
    Record<string, { readonly current: number; readonly generations: readonly ModelGeneration[] }>
  >;
  readonly roots: readonly Tag[];
  readonly pinned: readonly Tag[];
  readonly layers: readonly Tag[];
}

export class ModelledStore {
  readonly #scope: Scope;
  readonly #sandbox: Sandbox;
  readonly #faults: Faults;
  readonly #tags: ReadonlyMap<string, Tag>;
  /** By diffID. */
  readonly #layers: ReadonlyMap<string, Tag>;
  #daemon!: Daemon;
  #wire!: Wire;

  private constructor(
    scope: Scope,
    sandbox: Sandbox,
    parts: { faults: Faults; tags: ReadonlyMap<string, Tag>; layers: ReadonlyMap<string, Tag> },
  ) {
    this.#scope = scope;
    this.#sandbox = sandbox;
    this.#faults = parts.faults;
    this.#tags = parts.tags;
    this.#layers = parts.layers;
  }

  /** An empty store, and a layout with an image for each tag; all share one layer. */
  static async create(
    scope: Scope,
    options: { library: string; place: string; tags: readonly Tag[] },
  ): Promise<ModelledStore> {
    const sandbox = await Sandbox.create(scope, { stateBelow: options.place });
    const shared = await layerOf(SHARED, SHARED);
    const layers = new Map([[sha256(shared), SHARED]]);
    const images: Record<Tag, TestImage> = {};
    for (const tag of options.tags) {
      const own = await layerOf("app", tag);
      layers.set(sha256(own), tag);
      images[tag] = buildImage([shared, own]);
    }
    await writeLayout(sandbox.file("layout"), images);
    const tags = new Map(Object.entries(images).map(([tag, { descriptor }]) => [descriptor.digest, tag]));
    const faults = new Faults(options.library, sandbox);
    scope.after(async () => faults.close());
    const store = new ModelledStore(scope, sandbox, { faults, tags, layers });
    await store.#start();
    return store;
  }

  /** False where it was refused because there is no such name, root or generation. */
  async carryOut(change: Change): Promise<boolean> {
    try {
      if ("install" in change) await this.#wire.ready(this.#reference(change.install), { name: change.name });
      else if ("remove" in change) await this.#wire.request("root/remove", { name: change.remove });
      else if ("rollback" in change) await this.#wire.request("root/rollback", { name: change.rollback });
      else if ("pin" in change) await this.#wire.request("root/pin", { name: change.pin, pinned: true });
      else if ("unpin" in change) await this.#unpin(change.unpin);
      else if ("collect" in change) await this.#wire.request("store/gc", { keepLast: change.collect });
      else await this.#damageAndRepair(change.damage);
      return true;
    } catch (error) {
      if (error instanceof RpcError && /^UNKNOWN_(NAME|ROOT)$/.test(error.data.code)) return false;
      throw error;
    }
  }

  /** A root that is not there, or goes at this moment, has no pin to lose. */
  async #unpin(tag: Tag): Promise<void> {
    const { roots } = await this.#wire.request("root/list", { limit: 100 });
    const root = (roots as Json[]).find(({ manifestDigest }) => this.#tags.get(manifestDigest) === tag);
    if (root === undefined) return;
    await this.#wire.request("root/pin", { rootId: root.rootId, pinned: false }).catch((error: unknown) => {
      if (root.pinned || !(error instanceof RpcError) || error.data.code !== "UNKNOWN_ROOT") throw error;
    });
  }

  async #damageAndRepair(name: string): Promise<void> {
    await this.#wire.request("root/get", { name });
    const { stateDir } = this.#sandbox;
    damage(stateDir, join(stateDir, "names", name), { own: "app", loses: SHARED, gains: SHARED });
    assert.notDeepEqual(await this.findings(), [], "damage that is not found");
    await repair(this.#wire);
  }

  /** What the store says of itself. */
  async findings(): Promise<Json[]> {
    return (await this.#wire.request("store/verify", { deep: true })).findings;
  }

  async crash(): Promise<void> {
    this.#daemon.kill("SIGKILL");
    await this.#daemon.ended;
    await this.#start();
  }

  /** Dies in the middle of the change, or behind it where that has fewer calls. */
  async crashIn(change: Change, fault: Fault): Promise<void> {
    this.#faults.arm(fault);
    await this.carryOut(change).catch((error: unknown) => {
      if (this.#faults.told().hits === 0) throw error;
    });
    this.#faults.disarm();
    await this.crash();
    if ("damage" in change) await repair(this.#wire);
  }

  async see(): Promise<Seen> {
    const roots = await this.#rootsAtRest();
    const tagOf = ({ manifestDigest }: Json): Tag => this.#tags.get(manifestDigest) ?? manifestDigest;
    const names: Record<string, Seen["names"][string]> = {};
    for (const root of roots)
      for (const { name, generation: current } of root.names) names[name] = await this.#seeName(name, current, root);
    assert.deepEqual(this.#onDisk("names"), [".meta", ...Object.keys(names).sort()]);
    const named = roots.filter((root) => root.names.length > 0).map(tagOf);
    for (const tag of this.#tags.values()) {
      const { installed } = await this.#wire.request("image/status", { reference: this.#reference(tag) });
      assert.equal(installed, named.includes(tag), `image/status of ${tag}`);
    }
    const { layers } = await this.#wire.request("layer/list", { limit: 100 });
    return {
      names,
      roots: roots.map(tagOf).sort(),
      pinned: roots
        .filter(({ pinned }) => pinned)
        .map(tagOf)
        .sort(),
      layers: (layers as Json[]).map(({ diffId }) => this.#layers.get(diffId) ?? diffId).sort(),
    };
  }

  /** As they are told, which is as they stand: one that nothing keeps may be going at this moment. */
  #rootsAtRest(): Promise<Json[]> {
    return until("the roots that are told are those that stand", async () => {
      const { roots } = await this.#wire.request("root/list", { limit: 100 });
      const told = (roots as Json[]).map(({ rootId }) => rootId).sort();
      return isDeepStrictEqual(told, this.#onDisk("roots")) ? (roots as Json[]) : undefined;
    });
  }

  async #seeName(name: string, current: number, { rootId, manifestDigest }: Json): Promise<Seen["names"][string]> {
    const path = join(this.#sandbox.stateDir, "names", name);
    assert.equal(basename(dirname(readlinkSync(path))), rootId, `names/${name}`);
    assert.equal(readFileSync(join(path, "app/bin/run"), "utf8"), `run ${this.#tags.get(manifestDigest)}`);
    const { names } = await this.#wire.request("root/get", { name });
    const { generations } = names.find((known: Json) => known.name === name);
    return {
      current,
      generations: generations.map(({ generation, reference }: Json) => ({
        generation,
        tag: reference.split(":").at(-1),
      })),
    };
  }

  /** What the independent judge says, with the daemon stopped. */
  async judge(): Promise<string[]> {
    this.#daemon.kill("SIGTERM");
    await this.#daemon.ended;
    return checkStore(this.#sandbox.stateDir, { swept: true });
  }

  async #start(): Promise<void> {
    this.#daemon = await serve(this.#sandbox, {
      env: { STRATAD_WORKERS: "2", STRATAD_KEEP_GENERATIONS: "100", ...this.#faults.env },
    });
    this.#wire = await Wire.connect(this.#scope, this.#daemon.socket);
    // An install that was accepted before a crash goes on: then it has happened.
    await this.#wire.settled();
  }

  #reference(tag: Tag): string {
    return `oci:${this.#sandbox.file("layout")}:${tag}`;
  }

  #onDisk(directory: string): string[] {
    return readdirSync(join(this.#sandbox.stateDir, directory)).sort();
  }
}
