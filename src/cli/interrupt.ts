/**
 * Ctrl-C while a verb has something to put in order first.
 *
 * The first SIGINT is an event, the second ends the process at once; SIGTERM always does, and what the daemon is doing goes on. Where
 * the work is this process's own, SIGTERM and SIGHUP are as good as SIGINT: there is something to put away.
 */
import type { Host } from "./context.js";

export interface Interrupt {
  readonly happened: Promise<"interrupted">;
  /** Gives the signals back their defaults. */
  stop(): void;
}

const SIGINT_EXIT = 130;
const SIGTERM_EXIT = 143;

export function listenForInterrupt(host: Host, { ownWork = false } = {}): Interrupt {
  const stops: (() => void)[] = [];
  const happened = new Promise<"interrupted">((resolve) => {
    let count = 0;
    const interrupt = () => {
      count += 1;
      if (count > 1) host.exit(SIGINT_EXIT);
      resolve("interrupted");
    };
    stops.push(host.onSignal("SIGINT", interrupt));
    if (ownWork) stops.push(host.onSignal("SIGTERM", interrupt), host.onSignal("SIGHUP", interrupt));
    else stops.push(host.onSignal("SIGTERM", () => host.exit(SIGTERM_EXIT)));
  });
  return {
    happened,
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}
