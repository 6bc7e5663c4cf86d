/**
 * What clients keep though no name needs it, in one document on the disk: pins, until they are taken back; and holds, which are a
 * client's leases: they outlive its connection and the daemon, and die when they are released or with the boot they were made in,
 * since whoever made them is gone by then.
 *
 * A document that cannot be read keeps every root, and nothing is written over it.
 */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { StrataError } from "../errors.js";
import { MAX_HOLD_OWNER_BYTES, MAX_HOLDS, MAX_PINS } from "../limits.js";
import type { Log } from "../log.js";
import { readDocument, syncParent, writeDocument } from "./documents.js";

const holdSchema = z.object({
  holdId: z.uuid(),
  rootId: z.string(),
  /** For whom, as that client says it. */
  owner: z.string().max(MAX_HOLD_OWNER_BYTES),
  bootId: z.string(),
  at: z.string(),
});
export type Hold = z.output<typeof holdSchema>;

const holdsSchema = z.object({
  schema: z.literal(1),
  pins: z.array(z.string()).max(MAX_PINS),
  holds: z.array(holdSchema).max(MAX_HOLDS),
});

/** Whether a root is pinned, and who holds it, or one of them. */
export type KeptNow = (rootId: string) => { readonly pinned: boolean; readonly heldFor?: string };

export class Holds {
  readonly #path: string;
  readonly #bootId: string;
  readonly #log: Log;
  #pins: ReadonlySet<string> = new Set();
  #holds: ReadonlyMap<string, Hold> = new Map();
  /** By root, one of those that hold it. */
  #byRoot: ReadonlyMap<string, Hold> = new Map();
  #unreadable: StrataError | undefined;
  #changed: (rootId: string) => void = () => undefined;

  constructor(path: string, options: { readonly bootId: string; readonly log: Log }) {
    this.#path = path;
    this.#bootId = options.bootId;
    this.#log = options.log;
  }

  async read(): Promise<void> {
    try {
      const document = await readDocument(this.#path, holdsSchema);
      const holds = (document?.holds ?? []).filter(({ bootId }) => bootId === this.#bootId);
      this.#remember(new Set(document?.pins), new Map(holds.map((hold) => [hold.holdId, hold])));
    } catch (error) {
      if (!(error instanceof StrataError)) throw error;
      this.#unreadable = error;
      this.#log.warn("holds.unreadable", { error });
    }
  }

  /** Calls `listener` for every root that is pinned, held, or either no more. One listener. */
  onChanged(listener: (rootId: string) => void): void {
    this.#changed = listener;
  }

  /** False where it is not known what is pinned and held: then everything is to be kept. */
  get areKnown(): boolean {
    return this.#unreadable === undefined;
  }

  isPinned(rootId: string): boolean {
    return this.#pins.has(rootId);
  }

  /** What keeps each root, as of this moment, whenever it is asked. */
  now(): KeptNow {
    const [pins, byRoot] = [this.#pins, this.#byRoot];
    return (rootId) => {
      const hold = byRoot.get(rootId);
      return { pinned: pins.has(rootId), ...(hold === undefined ? {} : { heldFor: hold.owner }) };
    };
  }

  /** One of those that hold the root. */
  holdOf(rootId: string): Hold | undefined {
    return this.#byRoot.get(rootId);
  }

  keeps(rootId: string): boolean {
    return !this.areKnown || this.isPinned(rootId) || this.holdOf(rootId) !== undefined;
  }

  /** BUSY where there are MAX_PINS; STORE_CORRUPT where the document cannot be read. */
  async pin(rootId: string, pinned: boolean): Promise<void> {
    if (this.#pins.has(rootId) === pinned && this.areKnown) return;
    const pins = new Set(this.#pins);
    if (pinned) pins.add(rootId);
    else pins.delete(rootId);
    if (pins.size > MAX_PINS) throw tooMany("pin", MAX_PINS, "pinned");
    await this.#change(pins, this.#holds);
    this.#changed(rootId);
  }

  /**
   * The same `holdId` finds the same hold again. BUSY where there are MAX_HOLDS; INVALID_PARAMS where the id is another root's hold;
   * STORE_CORRUPT where the document cannot be read.
   */
  async hold(rootId: string, owner: string, holdId: string = randomUUID()): Promise<Hold> {
    const known = this.#holds.get(holdId);
    if (known?.rootId === rootId) return known;
    if (known !== undefined) throw new StrataError("INVALID_PARAMS", "Cannot hold the root: its holdId is of another");
    if (this.#holds.size >= MAX_HOLDS) throw tooMany("hold", MAX_HOLDS, "held");
    const hold = { holdId, rootId, owner, bootId: this.#bootId, at: new Date().toISOString() };
    await this.#change(this.#pins, new Map(this.#holds).set(holdId, hold));
    this.#changed(rootId);
    return hold;
  }

  /** False where there is no such hold: it was released, or it died with its boot. STORE_CORRUPT. */
  async release(holdId: string): Promise<boolean> {
    const known = this.#holds.get(holdId);
    if (known === undefined) return false;
    const holds = new Map(this.#holds);
    holds.delete(holdId);
    await this.#change(this.#pins, holds);
    this.#changed(known.rootId);
    return true;
  }

  async #change(pins: ReadonlySet<string>, holds: ReadonlyMap<string, Hold>): Promise<void> {
    if (this.#unreadable !== undefined) throw this.#unreadable;
    await writeDocument(this.#path, { schema: 1, pins: [...pins], holds: [...holds.values()] });
    await syncParent(this.#path);
    this.#remember(pins, holds);
  }

  #remember(pins: ReadonlySet<string>, holds: ReadonlyMap<string, Hold>): void {
    this.#pins = pins;
    this.#holds = holds;
    this.#byRoot = new Map([...holds.values()].map((hold) => [hold.rootId, hold]));
  }
}

function tooMany(action: string, most: number, what: string): StrataError {
  return new StrataError("BUSY", `Cannot ${action} the root: ${most} are ${what}`, { retryAfterMs: 60_000 });
}
