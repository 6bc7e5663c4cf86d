/**
 * The partition's layers as blobs, side by side over the pool, each straight from the trees of the stored layers.
 */
import type { PackCodec } from "../oci/media-types.js";
import type { EntriesFile } from "../root-tasks.js";
import { TaskProgress } from "../task-progress.js";
import type { PackResult } from "../tasks.js";
import { together } from "../together.js";
import type { RepackProgress } from "./repack-progress.js";
import type { Workshop } from "./workshop.js";

/** A blob in a file of the workshop. */
export type PackedBlob = PackResult & { readonly file: string };

export interface PackOptions {
  readonly codec: PackCodec;
  /** The trees that the layers' plans name by index. */
  readonly trees: readonly string[];
  /** Where the blobs are written. */
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly progress: RepackProgress;
}

/** In the order of the layers, the largest first where threads are few. The codes of the disk; STORE_CORRUPT. */
export async function packLayers(
  layers: readonly { readonly file: EntriesFile; readonly bytes: number }[],
  { pool }: Workshop,
  { codec, trees, directory, signal, progress }: PackOptions,
): Promise<PackedBlob[]> {
  const packing = progress.begin("pack");
  const blobs = await together(
    signal,
    layers.map(({ file: entries, bytes }, index) => {
      const thing = packing.thing(bytes);
      const told = new TaskProgress();
      thing.follow(() => told.bytesWritten);
      return async (each: AbortSignal): Promise<PackedBlob> => {
        const file = `${directory}/${index}`;
        const task = { entries, trees, codec, file, progress: told.shared };
        const packed = await pool.run("pack", task, { signal: each, weight: bytes, progress: told });
        thing.done();
        return { ...packed, file };
      };
    }),
  );
  packing.end();
  return blobs;
}
