/** Layers that are to be had elsewhere: nobody asks there. */
import assert from "node:assert/strict";
import { layoutFiles } from "../../support/images.js";
import { startRegistry } from "../../support/registry.js";
import { honest, layerDigest, withDescriptor } from "./images.js";
import type { DocumentRow } from "./row.js";
import { no, yes } from "./scene-row.js";
import { inFiles, inRegistry, type Scene } from "./scenes.js";

const FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

const NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

/** The second layer is to be had elsewhere only, or here too; nobody must ask there. */
function foreign({ mediaType, held, way }: { mediaType?: string; held: boolean; way: "registry" | "oci" }): Scene {
  return async (ground) => {
    const elsewhere = await startRegistry({ images: {} });
    ground.after(elsewhere.close);
    const urls = [`${elsewhere.url}/layer.tar.gz`, "file:///etc/shadow", "gopher://x", `${elsewhere.url}/v2/`];
    const image = withDescriptor(honest(), "layer", (layer) => ({
      ...layer,
      urls,
      ...(mediaType === undefined ? {} : { mediaType }),
    }));
    const blobs = new Map([...image.blobs].filter(([digest]) => held || digest !== layerDigest(image, 1)));
    const scene =
      way === "oci" ? inFiles(layoutFiles([["app", { ...image, blobs }]])) : inRegistry({ ...image, blobs });
    return {
      ...(await scene(ground)),
      check: () => {
        assert.deepEqual(elsewhere.requests, [], "it was asked elsewhere");
      },
    };
  };
}

export const foreigners: DocumentRow[] = (["registry", "oci"] as const).flatMap((way) => [
  ...[FOREIGN, NONDISTRIBUTABLE].flatMap((mediaType) => [
    no(
      `a foreign layer that is not here (${mediaType}, ${way})`,
      "FOREIGN_LAYER",
      foreign({ mediaType, held: false, way }),
    ),
    yes(`a foreign layer that is here (${mediaType}, ${way})`, foreign({ mediaType, held: true, way })),
  ]),
  no(`an ordinary layer with urls that is not here (${way})`, "BLOB_UNKNOWN", foreign({ held: false, way })),
  yes(`an ordinary layer with urls (${way})`, foreign({ held: true, way })),
]);
