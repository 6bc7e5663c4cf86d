/**
 * Something that only one task at a time may have, over all threads: whoever holds it stands in shared memory. A thread may be
 * killed while it does, so the one who gave out the task takes the turn back when that is over, however it ended.
 */

const FREE = 0;
/** Nobody rings when a turn is not wanted any more. */
const WAKE_MS = 50;

/** What a task needs to take its turn. */
export interface TurnTicket {
  readonly shared: SharedArrayBuffer;
  /** Never 0, and no other task's. */
  readonly holder: number;
}

export class Turn {
  readonly #shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  #holders = 0;

  ticket(): TurnTicket {
    this.#holders = (this.#holders % (2 ** 31 - 1)) + 1;
    return { shared: this.#shared, holder: this.#holders };
  }
}

/** Resolves when the turn is this ticket's, at once where it is already; or soon after it is not wanted any more. */
export async function takeTurn({ shared, holder }: TurnTicket, isWanted = (): boolean => true): Promise<void> {
  const word = new Int32Array(shared);
  while (isWanted()) {
    const other = Atomics.compareExchange(word, 0, FREE, holder);
    if (other === FREE || other === holder) return;
    const freed = Atomics.waitAsync(word, 0, other, WAKE_MS);
    if (freed.async) await freed.value;
  }
}

/** The turn is the next one's, where this ticket has it. */
export function giveTurnBack({ shared, holder }: TurnTicket): void {
  const word = new Int32Array(shared);
  if (Atomics.compareExchange(word, 0, holder, FREE) === holder) Atomics.notify(word, 0);
}
