/**
 * stratad as a contestant: the whole command `stratad install` against a daemon that runs, or a request over a session that is open.
 *
 * Processor seconds are the daemon's and the command's; the peak of memory is the daemon's alone. A cold install has a store of its own.
 */
import { setTimeout } from "node:timers/promises";
import { SPARE_AFTER_MS } from "../../src/limits.js";
import { type Daemon, serve } from "../support/daemon.js";
import { inScope, mainScript, Sandbox, type Scope } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";
import type { InputName, Tag } from "./inputs.js";
import { type Figures, forgetPeak, idle, measured, peakMegabytes, processorSeconds } from "./measuring.js";
import { type Contestant, Missing, type Setting } from "./race.js";
import { registryOf } from "./slow-registry.js";

export interface Ours {
  readonly name?: string;
  readonly overlap?: "c" | "b" | "a";
  readonly link?: "hardlink" | "reflink" | "copy" | "symlink";
  readonly workers?: number;
  readonly tag?: Tag;
  /** Installed before, on a store of its own for each run: what is measured is an update. */
  readonly after?: Tag;
  /** The daemon has installed another image before, of other layers: it has its threads, and their code is compiled. */
  readonly practised?: InputName;
  /** All layers are stored; each run is another image of them. */
  readonly stored?: boolean;
  /** What is measured begins when the daemon has had the time to make its spares; absent: it makes none, as where one install follows another. */
  readonly spares?: boolean;
  /** Bytes a second; Infinity: as fast as it goes. Absent: from the layout. */
  readonly registry?: number;
  /** Asked over an open session: no start of a command in it. */
  readonly session?: boolean;
}

/** The targets are for two processors. */
export const WORKERS = 2;

export function ours(options: Ours = {}): Contestant {
  return {
    name: options.name ?? "stratad",
    open: async (setting) => {
      const references = await referencesOf(options, setting);
      const practice = options.practised && (await setting.bench.inputs.get(options.practised));
      if (options.stored !== true)
        return ({ directory }) =>
          inScope(async (scope) => {
            const place = await Place.open(scope, { below: directory, options });
            if (options.after !== undefined) await place.wire.ready(references(options.after), askOf(options));
            if (options.spares === true) await place.sparesMade();
            if (practice !== undefined) await place.wire.ready(`oci:${practice.layout}:gzip`, { name: "practice" });
            return place.install(references(options.tag ?? "gzip"), "cold");
          });
      const place = await Place.open(setting.scope, { below: setting.directory, options });
      await place.wire.ready(references("gzip"), { name: "first" });
      if (options.link === "reflink") await requireReflink(place.wire, references("gzip"));
      if (options.spares === true) await place.sparesMade();
      return async ({ round }) => {
        const figures = await place.install(references(`again-${round}`), `round-${round}`);
        // Nobody else is measured beside it.
        if (options.spares === true) await place.sparesMade();
        return figures;
      };
    },
  };
}

async function referencesOf({ registry }: Ours, { scope, input }: Setting): Promise<(tag: Tag) => string> {
  if (registry === undefined) return (tag) => `oci:${input.layout}:${tag}`;
  const { host } = await registryOf(scope, input, registry);
  return (tag) => `${host}/${input.name}:${tag}`;
}

const askOf = ({ overlap = "c", link = "hardlink" }: Ours) => ({ overlap, link });

async function requireReflink(wire: Wire, reference: string): Promise<void> {
  const { state, error } = await wire.install(reference, { link: "reflink", name: "probe" });
  if (state !== "ready") throw new Missing(error.code);
}

class Place {
  readonly wire: Wire;
  readonly #sandbox: Sandbox;
  readonly #daemon: Daemon;
  readonly #options: Ours;

  private constructor(parts: { sandbox: Sandbox; daemon: Daemon; wire: Wire }, options: Ours) {
    this.#sandbox = parts.sandbox;
    this.#daemon = parts.daemon;
    this.wire = parts.wire;
    this.#options = options;
  }

  static async open(scope: Scope, { below, options }: { below: string; options: Ours }): Promise<Place> {
    const sandbox = await Sandbox.create(scope, { stateBelow: below });
    const makesSpares = options.spares === true || (options.stored !== true && options.after === undefined);
    const env = {
      STRATAD_WORKERS: String(options.workers ?? WORKERS),
      ...(makesSpares ? {} : { STRATAD_SPARE_ENTRIES: "0" }),
    };
    const daemon = await serve(sandbox, { env });
    await idle(daemon.pid);
    return new Place({ sandbox, daemon, wire: await Wire.connect(scope, daemon.socket) }, options);
  }

  async sparesMade(): Promise<void> {
    await setTimeout(2 * SPARE_AFTER_MS);
    await idle(this.#daemon.pid);
  }

  async install(reference: string, name: string): Promise<Figures> {
    const { pid } = this.#daemon;
    forgetPeak(pid);
    const before = await processorSeconds(pid);
    const own = this.#options.session === true ? await this.#ask(reference, name) : await this.#run(reference, name);
    const cpu = (await processorSeconds(pid)) - before + own["cpu s"];
    return { ...own, "cpu s": cpu, "peak MB": peakMegabytes(pid) };
  }

  async #ask(reference: string, name: string) {
    const start = performance.now();
    const job = await this.wire.ready(reference, { name, ...askOf(this.#options) });
    return { "wall s": (performance.now() - start) / 1000, "job s": jobSeconds(job), "cpu s": 0 };
  }

  async #run(reference: string, name: string) {
    const { overlap, link } = askOf(this.#options);
    const command = [
      process.execPath,
      mainScript,
      "install",
      reference,
      "--name",
      name,
      "--overlap",
      overlap,
      "--link",
      link,
    ];
    const { taken, stdout } = await measured([...command, "--json"], {
      cwd: this.#sandbox.directory,
      env: this.#sandbox.env,
    });
    return { ...taken, "job s": jobSeconds(JSON.parse(stdout)) };
  }
}

/** From when the daemon took it to when the root stood. */
const jobSeconds = (job: { createdAt: string; finishedAt: string }): number =>
  (Date.parse(job.finishedAt) - Date.parse(job.createdAt)) / 1000;
