/**
 * One repack at a time changes a layout: while one does, a directory `.stratad-lock` in it names its process. What a killed one left is
 * taken over. Other programs know nothing of it.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StrataError, toStrataError } from "../errors.js";
import { claimHolder, dropHolder, type Holder, type Occupant } from "../host/holder-directory.js";
import { ownIdentity } from "../host/identity.js";
import { LAYOUT_LOCK_WAIT_MS } from "../limits.js";
import { printable } from "../printable.js";

const POLL_MS = 50;

/**
 * Runs `work` when no other repack changes the layout. STORE_LOCKED where one does for LAYOUT_LOCK_WAIT_MS, or where something stands in
 * the lock's place; the codes of writing there.
 */
export async function aloneInLayout<Value>(
  directory: string,
  signal: AbortSignal,
  work: () => Promise<Value>,
): Promise<Value> {
  const lock = join(directory, ".stratad-lock");
  const own: Holder = { ...(await ownIdentity()), how: "file", nonce: randomBytes(8).toString("hex") };
  await claim(lock, own, signal);
  try {
    return await work();
  } finally {
    await dropHolder(lock, own);
  }
}

async function claim(lock: string, own: Holder, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + LAYOUT_LOCK_WAIT_MS;
  for (;;) {
    signal.throwIfAborted();
    const occupant = await claimHolder(lock, own).catch((error: unknown) => {
      throw toStrataError(error, `Cannot lock ${printable(lock, 1024)}`);
    });
    if (occupant === undefined) return;
    if ("stranger" in occupant || performance.now() > deadline) throw locked(lock, occupant);
    await delay(POLL_MS);
  }
}

function locked(lock: string, occupant: Occupant): StrataError {
  const fact =
    "stranger" in occupant
      ? `${printable(occupant.stranger)} in it was not put there by a repack`
      : `process ${occupant.pid} holds it`;
  return new StrataError("STORE_LOCKED", `Cannot lock ${printable(lock, 1024)}: ${fact}`, {
    hint: "Wait for the other repack to end; where none writes there, remove that directory.",
  });
}
