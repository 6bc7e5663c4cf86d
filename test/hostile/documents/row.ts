/**
 * A row of the 'Documents' table: how something comes to the daemon, and the one right answer.
 *
 * Rows about what an image says are made for each way in which an image comes; rows about an origin have a scene of their own
 * (scene-row.ts).
 */
import assert from "node:assert/strict";
import type { ErrorCode } from "../../../src/errors.js";
import type { TestImage } from "../../support/registry.js";
import type { Json } from "../../support/wire.js";
import { configDigest, HONEST_TREE, layerDigest } from "./images.js";
import { type Ground, type Scene, type Way, ways } from "./scenes.js";

export interface DocumentRow {
  readonly title: string;
  readonly scene: Scene;
  /** The codes that are right; absent where the image is to be installed. */
  readonly codes?: readonly ErrorCode[];
  readonly tree?: Readonly<Record<string, string>>;
  /** Of the request. */
  readonly params?: object;
  /** A text of the image that our own documents must not hold. */
  readonly absent?: string;
}

export interface More {
  readonly ways?: readonly Way[];
  readonly params?: object;
  readonly check?: (job: Json, image: TestImage, ground: Ground) => unknown;
}

export type Codes = ErrorCode | readonly ErrorCode[];

/** One row for each way; the image is made anew for each. */
function each(title: string, answer: Partial<DocumentRow>, image: () => TestImage, more: More): DocumentRow[] {
  const { ways: wanted = Object.keys(ways) as Way[], params, check } = more;
  return wanted.map((way) => ({
    title: `${title} (${way})`,
    ...answer,
    ...(params === undefined ? {} : { params }),
    scene: async (ground) => {
      const made = image();
      const offer = await ways[way](made)(ground);
      return { ...offer, check: (job) => check?.(job, made, ground) };
    },
  }));
}

export const no = (title: string, codes: Codes, image: () => TestImage, more: More = {}): DocumentRow[] =>
  each(title, { codes: typeof codes === "string" ? [codes] : codes }, image, more);

export const yes = (
  title: string,
  image: () => TestImage,
  more: More & Pick<DocumentRow, "tree"> = {},
): DocumentRow[] => each(title, { tree: more.tree ?? HONEST_TREE }, image, more);

/** The layer is told, and not stored. */
export const aboutLayer =
  (index: number) =>
  ({ error }: Json, image: TestImage, { isStored }: Ground): void => {
    assert.equal(error.details.layerDigest, layerDigest(image, index));
    const { diff_ids: claimed } = JSON.parse(String(image.blobs.get(configDigest(image)))).rootfs;
    assert.equal(isStored(claimed[index]), false, "a layer is stored that was refused");
  };
