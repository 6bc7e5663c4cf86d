/**
 * What the daemon watches while it serves: that its state directory is still its own, and that somebody needs it. Decides nothing:
 * who starts a watch says what follows. Each returns what stops it.
 */
import { stat } from "node:fs/promises";

const STATE_CHECK_MS = 2000;
const IDLE_CHECKS = 4;

/** A state directory that was removed or replaced under us is not ours any more: whoever comes next needs a new daemon. */
export async function watchState(lockFile: string, lost: () => void): Promise<() => void> {
  const { ino } = await stat(lockFile);
  const timer = setInterval(async () => {
    const now = await stat(lockFile).catch(() => undefined);
    if (now?.ino === ino) return;
    clearInterval(timer);
    lost();
  }, STATE_CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** Ends a daemon that nobody needs. Without `idleExitMs` it is never looked at. */
export function watchIdle(idleExitMs: number | undefined, idleMs: () => number, drain: () => void): () => void {
  if (idleExitMs === undefined) return () => undefined;
  const timer = setInterval(
    () => {
      if (idleMs() >= idleExitMs) drain();
    },
    Math.ceil(idleExitMs / IDLE_CHECKS),
  );
  timer.unref();
  return () => clearInterval(timer);
}
