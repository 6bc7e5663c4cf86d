/** Where the layers of an image ask to be put, each said with the layer that asks. */
import { StrataError } from "../errors.js";
import type { Descriptor } from "../oci/documents.js";
import { type Placement, parsePlacement } from "../overlap/placement.js";

/** The lowest first. PLACEMENT_INVALID, with `layer` and `layerDigest` in the details. */
export const placementsOf = (layers: readonly Descriptor[]): (Placement | undefined)[] =>
  layers.map(({ annotations, digest }, layer) => {
    try {
      return parsePlacement(annotations);
    } catch (error) {
      throw error instanceof StrataError ? error.with({ layer, layerDigest: digest }) : error;
    }
  });
