/**
 * Something that is made when it is first asked for, once for all who ask. Knows not what it is.
 */
export class Once<Value> {
  readonly #make: () => Promise<Value>;
  #begun: Promise<Value> | undefined;
  #made: Value | undefined;

  constructor(make: () => Promise<Value>) {
    this.#make = make;
  }

  /** Rejects with what making it threw; who asks next tries again. */
  get(): Promise<Value> {
    this.#begun ??= this.#begin();
    return this.#begun;
  }

  /** Asks for nothing: undefined where nobody did, or where it could not be made. */
  async asked(): Promise<Value | undefined> {
    return this.#begun?.catch(() => undefined);
  }

  /** Undefined until it is there. */
  get made(): Value | undefined {
    return this.#made;
  }

  async #begin(): Promise<Value> {
    try {
      this.#made = await this.#make();
      return this.#made;
    } catch (error) {
      this.#begun = undefined;
      throw error;
    }
  }
}
