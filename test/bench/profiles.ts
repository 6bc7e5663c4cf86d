/**
 * `--profile`: beside the figures, a CPU profile of each thread of a daemon that installs an input, and how often it asked the kernel
 * for what. Neither run is measured: both are slower.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { serve } from "../support/daemon.js";
import { inScope, mainScript, Sandbox } from "../support/sandbox.js";
import { tracer } from "../support/system-calls.js";
import { Wire } from "../support/wire.js";
import type { Input } from "./inputs.js";
import { inPlace } from "./measuring.js";
import { WORKERS } from "./ours.js";

export class Profiles {
  readonly #out: string;

  constructor(out: string) {
    this.#out = out;
  }

  /** Leaves `*.cpuprofile` and `strace` in a directory of the scenario's name. Returns where, or why not. */
  async of(name: string, input: Input): Promise<string> {
    const out = join(this.#out, name);
    await mkdir(out, { recursive: true });
    await this.#install(input, [process.execPath, "--cpu-prof", `--cpu-prof-dir=${out}`, mainScript]);
    const strace = tracer();
    if (strace.path === undefined) return `${out}; no system calls: ${strace.skip}`;
    const counted = ["-D", "-c", "-f", "-o", join(out, "strace")];
    await this.#install(input, [strace.path, ...counted, process.execPath, mainScript]);
    return out;
  }

  /** Ends the daemon as its users do: what is killed leaves no profile. */
  async #install(input: Input, daemonCommand: readonly [string, ...string[]]): Promise<void> {
    await inPlace("/dev/shm", (below) =>
      inScope(async (scope) => {
        const sandbox = await Sandbox.create(scope, { stateBelow: below });
        sandbox.stratad = daemonCommand;
        const daemon = await serve(sandbox, { env: { STRATAD_WORKERS: String(WORKERS) } });
        const wire = await Wire.connect(scope, daemon.socket);
        await wire.ready(`oci:${input.layout}:gzip`);
        await wire.close();
        daemon.kill("SIGTERM");
        await daemon.ended;
      }),
    );
  }
}
