/**
 * How far a repack is: its phases in their order, each with what it has done of what there is. Whoever shows it looks when they like.
 */

export type RepackPhase = "resolve" | "unpack" | "plan" | "pack" | "verify" | "write";

export interface PhaseState {
  readonly phase: RepackPhase;
  readonly isOver: boolean;
  readonly things: number;
  readonly thingsDone: number;
  /** Of blobs where they are read, of content where layers are packed; none where nothing is counted. */
  readonly bytes: number;
  readonly bytesDone: number;
}

export class RepackProgress {
  readonly #phases: Phase[] = [];

  begin(phase: RepackPhase): Phase {
    const begun = new Phase(phase);
    this.#phases.push(begun);
    return begun;
  }

  /** Those that have begun, in their order. */
  states(): PhaseState[] {
    return this.#phases.map((phase) => phase.state());
  }
}

/** One thing of a phase. */
interface Thing {
  readonly bytes: number;
  bytesDone: () => number;
  isDone: boolean;
}

export interface PhaseThing {
  /** Tells how many of its bytes are done, until it is. */
  follow(bytesDone: () => number): void;
  done(): void;
}

export class Phase {
  readonly #phase: RepackPhase;
  readonly #things: Thing[] = [];
  #isOver = false;

  constructor(phase: RepackPhase) {
    this.#phase = phase;
  }

  /** One more thing to do. */
  thing(bytes = 0): PhaseThing {
    const thing: Thing = { bytes, bytesDone: () => 0, isDone: false };
    this.#things.push(thing);
    return {
      follow: (bytesDone) => {
        thing.bytesDone = bytesDone;
      },
      done: () => {
        thing.isDone = true;
      },
    };
  }

  end(): void {
    this.#isOver = true;
  }

  state(): PhaseState {
    const sum = (of: (thing: Thing) => number): number => this.#things.reduce((total, thing) => total + of(thing), 0);
    return {
      phase: this.#phase,
      isOver: this.#isOver,
      things: this.#things.length,
      thingsDone: sum(({ isDone }) => (isDone ? 1 : 0)),
      bytes: sum(({ bytes }) => bytes),
      bytesDone: sum(({ bytes, bytesDone, isDone }) => (isDone ? bytes : Math.min(bytes, bytesDone()))),
    };
  }
}
