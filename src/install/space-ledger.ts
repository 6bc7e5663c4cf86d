/**
 * Whether what is about to be written fits beside what running jobs still have to write, and beside the reserve.
 *
 * Asks for the least that it can take: what is refused wrongly is not to be had at all, and what runs into a full disk after all ends
 * there, with NO_SPACE, its staging removed at once. Two jobs that need one layer need it once.
 */
import { formatSize } from "../byte-size.js";
import { StrataError } from "../errors.js";
import { MAX_DEFAULT_RESERVE_BYTES, MAX_DEFAULT_RESERVE_INODES, RESERVE_PART } from "../limits.js";
import { Slots } from "../slots.js";
import type { Amount } from "../store/collection.js";
import { untilAborted } from "./single-flight.js";

export interface Piece extends Amount {
  /** What is the same piece of work, whoever does it. */
  readonly key: string;
  /** How much of it is on the disk already, from 0 to 1. */
  readonly share: () => number;
}

type MakeRoom = (wanted: Amount, signal: AbortSignal) => Promise<void>;

export interface SpaceOptions {
  /** What is free, and how much of that is to stay free. */
  readonly measure: () => Promise<{ readonly free: Amount; readonly reserve: Amount }>;
  /** Each gives back what nothing needs, where so much is wanted; the next is asked where that was not enough. */
  readonly makeRoom: readonly MakeRoom[];
  /** As errors name it. */
  readonly stateDir: string;
}

/** What installs leave free of a file system of that size: what is configured, else a part. */
export function reserveOf(
  size: Amount,
  { reserveBytes, reserveInodes }: { readonly reserveBytes?: number; readonly reserveInodes?: number },
): Amount {
  const part = (of: number, most: number): number => Math.min(Math.floor(of / RESERVE_PART), most);
  return {
    bytes: reserveBytes ?? part(size.bytes, MAX_DEFAULT_RESERVE_BYTES),
    inodes: reserveInodes ?? part(size.inodes, MAX_DEFAULT_RESERVE_INODES),
  };
}

interface Claimed {
  readonly piece: Piece;
  claims: number;
}

export class SpaceLedger {
  readonly #options: SpaceOptions;
  readonly #claimed = new Map<string, Claimed>();
  /** Between looking what is free and claiming it nobody else may. */
  readonly #turns = new Slots(1);

  constructor(options: SpaceOptions) {
    this.#options = options;
  }

  /** Runs `work` while the pieces count as claimed. NO_SPACE before it begins, where they do not fit. */
  async with<Value>(pieces: readonly Piece[], signal: AbortSignal, work: () => Promise<Value>): Promise<Value> {
    const makeRoom = this.#options.makeRoom.map((make) => async (wanted: Amount) => {
      await untilAborted(make(wanted, signal), signal);
    });
    await this.#turns.run(0, signal, () => this.#claim(pieces, makeRoom));
    return this.#whileClaimed(pieces, work);
  }

  /** As `with`, for what may as well be done later: nothing is collected for it. */
  async withinFree<Value>(pieces: readonly Piece[], work: () => Promise<Value>): Promise<Value> {
    await this.#turns.run(0, undefined, () => this.#claim(pieces, []));
    return this.#whileClaimed(pieces, work);
  }

  async #whileClaimed<Value>(pieces: readonly Piece[], work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } finally {
      for (const { key } of pieces) this.#release(key);
    }
  }

  async #claim(pieces: readonly Piece[], makeRoom: readonly ((wanted: Amount) => Promise<void>)[]): Promise<void> {
    const more = pieces.filter(({ key }) => !this.#claimed.has(key));
    const need = total(more.map(({ bytes, inodes }) => ({ bytes, inodes })));
    if (need.bytes + need.inodes > 0) {
      let short = await this.#shortOf(need);
      for (const make of makeRoom) {
        if (short === undefined) break;
        await make(short.wanted);
        short = await this.#shortOf(need);
      }
      if (short !== undefined) throw short.error;
    }
    for (const piece of pieces) {
      const known = this.#claimed.get(piece.key);
      if (known === undefined) this.#claimed.set(piece.key, { piece, claims: 1 });
      else known.claims += 1;
    }
  }

  #release(key: string): void {
    const claimed = this.#claimed.get(key);
    if (claimed === undefined) return;
    claimed.claims -= 1;
    if (claimed.claims === 0) this.#claimed.delete(key);
  }

  /** Undefined where it fits. */
  async #shortOf(need: Amount): Promise<{ readonly wanted: Amount; readonly error: StrataError } | undefined> {
    const { free, reserve } = await this.#options.measure();
    const others = total([...this.#claimed.values()].map(({ piece }) => outstanding(piece)));
    const have = { bytes: left(free, reserve, others, "bytes"), inodes: left(free, reserve, others, "inodes") };
    if (need.bytes <= have.bytes && need.inodes <= have.inodes) return undefined;
    const wanted = {
      bytes: Math.max(0, need.bytes - have.bytes),
      inodes: Math.max(0, need.inodes - have.inodes),
    };
    return { wanted, error: this.#refusal(need, have, reserve) };
  }

  #refusal(need: Amount, have: Amount, reserve: Amount): StrataError {
    const needs = `it needs ${shown(need)} or more`;
    const kept = `${shown(reserve)} in reserve`;
    const fact = `${needs}, and ${this.#options.stateDir} has ${shown(have)} for it, with ${kept}`;
    return new StrataError("NO_SPACE", `Cannot install the image: ${fact}`, {
      details: { needBytes: need.bytes, haveBytes: have.bytes, needInodes: need.inodes, haveInodes: have.inodes },
    });
  }
}

const total = (amounts: readonly Amount[]): Amount => ({
  bytes: amounts.reduce((sum, { bytes }) => sum + bytes, 0),
  inodes: amounts.reduce((sum, { inodes }) => sum + inodes, 0),
});

function outstanding({ bytes, inodes, share }: Piece): Amount {
  const rest = 1 - Math.min(1, Math.max(0, share()));
  return { bytes: Math.ceil(bytes * rest), inodes: Math.ceil(inodes * rest) };
}

const left = (free: Amount, reserve: Amount, others: Amount, of: keyof Amount): number =>
  Math.max(0, free[of] - reserve[of] - others[of]);

const shown = ({ bytes, inodes }: Amount): string => `${formatSize(bytes)} and ${inodes} inodes`;
