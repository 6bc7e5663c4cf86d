/**
 * The Nth file system call of a rollback or a removal fails, for every N: it is done, or answered with the errno's code and nothing has
 * changed; what the daemon says of the name is what the disk says.
 */
import { readdirSync, readlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { serve } from "../support/daemon.js";
import { Faults, pointOf } from "../support/faults.js";
import { Sandbox, type Scope } from "../support/sandbox.js";
import { type Json, RpcError, Wire } from "../support/wire.js";
import { codeOf, type SweptErrno } from "./errno-sweep.js";
import { layoutOf, smallImage } from "./images.js";

export type SweptChange = "rollback" | "remove";

const NAME = "app";
const METHODS = { rollback: "root/rollback", remove: "root/remove" } as const;

export class SweptNames {
  readonly #sandbox: Sandbox;
  readonly #faults: Faults;
  readonly #scope: Scope;
  readonly #socket: string;
  #wire: Wire;
  readonly #references: readonly string[];

  private constructor(
    scope: Scope,
    sandbox: Sandbox,
    parts: { faults: Faults; socket: string; wire: Wire; references: readonly string[] },
  ) {
    this.#scope = scope;
    this.#sandbox = sandbox;
    this.#socket = parts.socket;
    this.#faults = parts.faults;
    this.#wire = parts.wire;
    this.#references = parts.references;
  }

  static async start(scope: Scope, library: string, stateBelow: string): Promise<SweptNames> {
    const sandbox = await Sandbox.create(scope, { stateBelow });
    const faults = new Faults(library, sandbox);
    scope.after(async () => faults.close());
    const { socket } = await serve(sandbox, { env: { STRATAD_WORKERS: "2", ...faults.env } });
    const wire = await Wire.connect(scope, socket);
    const references: string[] = [];
    for (const word of ["one", "two"])
      references.push(await layoutOf(sandbox.file("files", word), await smallImage(word)));
    return new SweptNames(scope, sandbox, { faults, socket, wire, references });
  }

  /** Every `stride`th call from `first` on. What did not hold, and after which call. */
  async sweep(
    change: SweptChange,
    errno: SweptErrno,
    { first = 1, stride = 1 } = {},
  ): Promise<{ faults: number; problems: string[] }> {
    const problems: string[] = [];
    for (let at = first, faults = 0; ; at += stride, faults += 1) {
      await this.#reconnect();
      for (const reference of this.#references) await this.#wire.ready(reference, { name: NAME });
      const before = await this.#told();
      this.#faults.arm({ at, what: errno });
      const answer = await this.#wire.request(METHODS[change], { name: NAME }).catch((error: unknown) => error);
      const { hits, hit } = this.#faults.disarm();
      const after = await this.#told();
      const say = (what: string): void =>
        void problems.push(`${change}, ${errno} at call ${at} (${pointOf(hit)}): ${what}`);
      if (answer instanceof RpcError) {
        if (answer.data.code !== codeOf[errno]) say(`answered ${answer.data.code}`);
        if (after !== before) say(`it failed, and ${NAME} is ${after}, not ${before}`);
      } else if (after === before) say("it succeeded, and nothing has changed");
      if (this.#onDisk() !== after) say(`the daemon says ${after}, the disk ${this.#onDisk()}`);
      await this.#wire.request("root/remove", { name: NAME }).catch((error: unknown) => {
        if (!(error instanceof RpcError && error.data.code === "UNKNOWN_NAME")) throw error;
      });
      const left = ["names", "names/.meta"].flatMap((directory) =>
        readdirSync(join(this.#sandbox.stateDir, directory)).map((name) => `${directory}/${name}`),
      );
      // A root that could not be removed may stand without a name; what is left in staging goes with the next removal.
      if (left.join() !== "names/.meta") say(`removed for good it leaves ${left}`);
      if (hits === 0) return { faults, problems };
    }
  }

  /** A session may not start more than so many installs a second. */
  async #reconnect(): Promise<void> {
    await this.#wire.close();
    this.#wire = await Wire.connect(this.#scope, this.#socket);
  }

  /** The root that the daemon says the name has. */
  async #told(): Promise<string> {
    const root: Json = await this.#wire.request("root/get", { name: NAME }).catch((error: unknown) => {
      if (error instanceof RpcError && error.data.code === "UNKNOWN_NAME") return { rootId: "gone" };
      throw error;
    });
    return root.rootId;
  }

  #onDisk(): string {
    try {
      return basename(dirname(readlinkSync(join(this.#sandbox.stateDir, "names", NAME))));
    } catch {
      return "gone";
    }
  }
}
