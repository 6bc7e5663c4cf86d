/**
 * A machine whose power can be cut: daemons that see the boot id that a test chose, and whose disk takes nothing for durable before it
 * may (sync(1) fails until `letSync`). Both stand before the daemon, in its environment; it has no door for them.
 */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkout } from "./daemon.js";
import type { Sandbox } from "./sandbox.js";
import { type Tool, toolOrSkip } from "./tools.js";

/** The first that is missing of what a machine is made of. */
export function machineParts(): Tool {
  const [compiler, sync] = [toolOrSkip("cc"), toolOrSkip("sync")];
  return compiler.path === undefined ? compiler : sync;
}

export class Machine {
  readonly #sandbox: Sandbox;
  #boots = 0;

  private constructor(sandbox: Sandbox) {
    this.#sandbox = sandbox;
  }

  static async make(sandbox: Sandbox): Promise<Machine> {
    const machine = new Machine(sandbox);
    const source = join(checkout, "test/support/power-cut.c");
    execFileSync(toolOrSkip("cc").path ?? "", ["-shared", "-fPIC", "-o", sandbox.file("power-cut.so"), source, "-ldl"]);
    await mkdir(sandbox.file("bin"));
    const refused = "echo 'sync: error syncing: Input/output error' >&2; exit 1";
    const script = `#!/bin/sh\n[ -e '${sandbox.file("may-sync")}' ] || { ${refused}; }\nexec ${toolOrSkip("sync").path} "$@"\n`;
    await writeFile(sandbox.file("bin/sync"), script);
    await chmod(sandbox.file("bin/sync"), 0o755);
    await machine.reboot();
    return machine;
  }

  /** What daemons of this machine have in their environment; those that run keep their boot. */
  get env(): NodeJS.ProcessEnv {
    return {
      PATH: `${this.#sandbox.file("bin")}:${process.env.PATH}`,
      LD_PRELOAD: this.#sandbox.file("power-cut.so"),
      BOOT_ID_FILE: this.#sandbox.file(`boot-${this.#boots}`),
    };
  }

  async reboot(): Promise<void> {
    this.#boots += 1;
    const id = `00000000-0000-4000-8000-${String(this.#boots).padStart(12, "0")}\n`;
    await writeFile(this.#sandbox.file(`boot-${this.#boots}`), id);
  }

  async letSync(may = true): Promise<void> {
    if (may) await writeFile(this.#sandbox.file("may-sync"), "");
    else await rm(this.#sandbox.file("may-sync"), { force: true });
  }
}
