/**
 * `serve`: the daemon in the foreground, the one verb that is no client. Its log goes to stderr, one JSON object a line.
 *
 * SIGTERM and SIGINT let running jobs finish; a second one does not wait.
 */
import { loadConfig } from "../../config.js";
import { toStrataError } from "../../errors.js";
import { createLog, type Log } from "../../log.js";
import type { Host } from "../context.js";
import { given, type Options, type Verb } from "../verb.js";

export const serve: Verb = {
  name: "serve",
  summary: "run the daemon in the foreground",
  define: (command) => {
    command
      .option("--state <dir>", "store and roots, on one file system")
      .option("--socket <path>", "the socket of full scope; that of read scope is beside it, with -ro")
      .option("--listen <address>", "loopback TCP as well: 127.0.0.1:PORT, port 0 for any")
      .option("--system", "the system's directories instead of the user's");
  },
  run: async (context, _args, options) => {
    const write = (line: string) => context.host.stderr.write(line);
    try {
      const config = await loadConfig(configInput(context.host, options));
      const log = createLog(config.logLevel, write);
      // Only here: no other verb pays for loading the daemon.
      const { startDaemon } = await import("../../daemon.js");
      // Before anything stands: what a signal's own action leaves behind, the next start has to clear away.
      const signals = listenForSignals(context.host, log);
      try {
        const daemon = await startDaemon(config, log);
        signals.stops(daemon);
        await daemon.stopped;
      } finally {
        signals.end();
      }
      return 0;
    } catch (error) {
      const { code, exitCode, message, details, hint } = toStrataError(error, "Cannot run the daemon").toWire();
      // What is nobody's mistake has a cause to look for.
      const cause = CAUSES_TOLD.has(exitCode) ? { cause: error } : {};
      // Whoever started it in the background reads the reason from here; who sits before it gets it as of every verb.
      if (context.host.stderr.isTTY !== true)
        createLog("error", write).error("serve.failed", { code, message, details, hint, ...cause });
      throw error;
    }
  },
};

/** Exit codes of a bug and of the disk. */
const CAUSES_TOLD: ReadonlySet<number> = new Set([70, 74]);

/** What the configuration is made of, for the process itself. */
export function configInput({ env, uid, home, tmpdir }: Host, options: Options): Parameters<typeof loadConfig>[0] {
  const { state } = given(options, "state");
  return {
    env,
    uid,
    home,
    tmpdir,
    system: options.system === true,
    flags: {
      ...(state === undefined ? {} : { state_dir: state }),
      ...given(options, "socket"),
      ...given(options, "listen"),
    },
  };
}

interface Drainable {
  drain(): void;
}

/** Signals from now on: one that comes while the daemon starts stops it as soon as it stands. */
function listenForSignals(host: Host, log: Log): { stops(daemon: Drainable): void; end(): void } {
  let count = 0;
  let daemon: Drainable | undefined;
  const on = (signal: "SIGINT" | "SIGTERM", code: number) =>
    host.onSignal(signal, () => {
      count += 1;
      log.info("serve.signal", { signal, count });
      if (count > 1) host.exit(code);
      daemon?.drain();
    });
  const ends = [on("SIGINT", 130), on("SIGTERM", 143)];
  return {
    stops: (started) => {
      daemon = started;
      if (count > 0) daemon.drain();
    },
    end: () => {
      for (const end of ends) end();
    },
  };
}
