/**
 * A third thread of an unpack, where there are processors for one: writes batches of small files while the second reads the archive
 * (write-behind.ts). It lives as long as that one, and sleeps when there is nothing to write.
 */
import { workerData } from "node:worker_threads";
import { FileBatch } from "./file-batch.js";

export interface FileWriterData {
  readonly batches: readonly SharedArrayBuffer[];
  /** One Int32 that counts submissions. */
  readonly bell: SharedArrayBuffer;
}

const { batches: shared, bell: bellMemory } = workerData as FileWriterData;
const batches = shared.map((memory) => new FileBatch(memory));
const bell = new Int32Array(bellMemory);

for (;;) {
  const rung = Atomics.load(bell, 0);
  for (const batch of batches) if (batch.claim()) batch.write();
  Atomics.wait(bell, 0, rung);
}
