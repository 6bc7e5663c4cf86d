/** Runs the compiled unpack worker on a blob that a test writes piece by piece: what has not come yet stops it where the test wants. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { GrowthWriter } from "../../src/growth.js";
import type { Codec } from "../../src/oci/media-types.js";
import { type Unpacked, type Unpacking, unpackFile } from "./unpacking.js";
import { stayAwake } from "./work-directory.js";

export type Append = (bytes: Buffer) => Promise<void>;

/** Unpacks a file that `write` fills while the worker reads it, below `staging`. */
export async function whileGrowing(
  codec: Codec,
  length: number,
  write: (append: Append, growth: GrowthWriter, staging: string) => Promise<void>,
  options: Unpacking = {},
): Promise<Unpacked> {
  const work = mkdtempSync(join(tmpdir(), "growing-"));
  const rest = stayAwake();
  try {
    const path = join(work, "blob");
    writeFileSync(path, "");
    const growth = new GrowthWriter();
    let written = 0;
    const unpacking = unpackFile(path, work, { ...options, codec, length, growth: growth.shared });
    const append: Append = async (bytes) => {
      appendFileSync(path, bytes);
      written += bytes.length;
      growth.advance(written);
      await nextTurn();
    };
    await write(append, growth, work);
    return await unpacking;
  } finally {
    rest();
    rmSync(work, { recursive: true, force: true });
  }
}
