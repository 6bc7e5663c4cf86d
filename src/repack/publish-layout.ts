/**
 * From the workshop's layout into the one that was asked for.
 */
import type { OutputLayout } from "./output-layout.js";
import { documentsIn } from "./repacked-documents.js";
import type { MadeLayout } from "./repacker.js";
import type { Workshop } from "./workshop.js";

/** On one file system. STORE_LOCKED, NO_SPACE, STORE_IO and the like; then the layout is as it was. */
export async function publishLayout(
  made: MadeLayout,
  to: OutputLayout,
  { directory: work }: Workshop,
  signal: AbortSignal,
): Promise<undefined> {
  const { layout: from, layers, outputs } = made;
  const digests = new Set([...layers, ...documentsIn(outputs)].map(({ digest }) => digest));
  const blobs = [...digests].map((digest) => ({ digest, file: from.blob(digest) }));
  await to.publish(blobs, outputs, { work, signal });
}
