/**
 * Images for fault runs: small, so that a run is short, and with each kind of entry, so that each kind of call is made for them. The
 * same words give the same bytes; other words share no layer.
 */
import { createHash } from "node:crypto";
import { tarOf, writeLayout } from "../support/images.js";
import { buildImage, type TestImage } from "../support/registry.js";

/** More than a worker batches: such a file is written piece by piece. */
const LARGE_BYTES = 520 * 1024;

/** A layer below one top-level name: a directory of every kind of entry; with `large` a file that is one too. */
export function layerOf(top: string, word: string, { large = false } = {}): Promise<Buffer> {
  return tarOf([
    { name: `${top}/`, type: "directory", mode: 0o750 },
    { name: `${top}/bin/run`, content: `run ${word}`, mode: 0o755 },
    { name: `${top}/bin/alias`, type: "symlink", linkname: "run" },
    { name: `${top}/again`, type: "link", linkname: `${top}/bin/run` },
    { name: `${top}/empty`, content: "" },
    ...(large ? [{ name: `${top}/large`, content: Buffer.alloc(LARGE_BYTES, word) }] : []),
  ]);
}

/** Two layers that nothing else has. */
export async function smallImage(word: string): Promise<TestImage> {
  return buildImage([await layerOf("tool", word), await layerOf("data", word, { large: true })]);
}

/** The reference of the only image of a layout that is written to `directory`. */
export async function layoutOf(directory: string, image: TestImage): Promise<string> {
  await writeLayout(directory, { app: image });
  return `oci:${directory}:app`;
}

/** Numbers from 0 up to 1, the same for the same seed. */
export function randomNumbers(seed: number): () => number {
  let state = createHash("sha256").update(`seed ${seed}`).digest();
  return () => {
    state = createHash("sha256").update(state).digest();
    return state.readUInt32LE(0) / 2 ** 32;
  };
}
