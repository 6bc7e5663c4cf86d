/** A row that has a scene of its own: what is wrong lies in where the image comes from. */
import { HONEST_TREE } from "./images.js";
import type { Codes, DocumentRow } from "./row.js";
import type { Scene } from "./scenes.js";

export const no = (title: string, codes: Codes, scene: Scene, more: Partial<DocumentRow> = {}): DocumentRow => ({
  title,
  codes: typeof codes === "string" ? [codes] : codes,
  scene,
  ...more,
});

export const yes = (title: string, scene: Scene, more: Partial<DocumentRow> = {}): DocumentRow => ({
  title,
  tree: HONEST_TREE,
  scene,
  ...more,
});
