/**
 * What the daemon watches while it serves: that its state directory is still its own, and that somebody needs it. Decides nothing:
 * who starts a watch says what follows. Each returns what stops it.
 */
import { stat } from "node:fs/promises";
import { isNotThere } from "./errors.js";

const STATE_CHECK_MS = 2000;
const IDLE_CHECKS = 4;

/**
 * A state directory that was removed or replaced under us is not ours any more: whoever comes next needs a new daemon. One that cannot
 * be looked at for another reason may be there again at the next look.
 */
export async function watchState(lockFile: string, lost: () => void): Promise<() => void> {
  const { ino } = await stat(lockFile);
  const isLost = (): Promise<boolean> => stat(lockFile).then((now) => now.ino !== ino, isNotThere);
  let isOver = false;
  const timer = setInterval(async () => {
    if (!(await isLost()) || isOver) return;
    isOver = true;
    clearInterval(timer);
    lost();
  }, STATE_CHECK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/**
 * Ends a daemon that nobody has needed for so long: neither a session, as `idleMs` tells, nor a job. Without `idleExitMs` it is never looked
 * at.
 */
export function watchIdle(
  idleExitMs: number | undefined,
  { idleMs, isBusy }: { readonly idleMs: () => number; readonly isBusy: () => boolean },
  drain: () => void,
): () => void {
  if (idleExitMs === undefined) return () => undefined;
  let busyAt = 0;
  const timer = setInterval(
    () => {
      if (isBusy()) busyAt = performance.now();
      else if (Math.min(idleMs(), performance.now() - busyAt) >= idleExitMs) drain();
    },
    Math.ceil(idleExitMs / IDLE_CHECKS),
  );
  timer.unref();
  return () => clearInterval(timer);
}
