/**
 * What an archive of exported names says of them: their images' documents, with the kept places of their layers, and its index.json. Pure.
 */
import { StrataError } from "../errors.js";
import { LINK, OVERLAP, REF_NAME } from "../oci/annotations.js";
import { OCI_INDEX, OCI_MANIFEST, type PackCodec } from "../oci/media-types.js";
import {
  documentDescriptor,
  type KeptImage,
  keptManifest,
  type PackedImage,
  packedImage,
} from "../oci/packed-image.js";
import { isAnyPlatform, parsePlatform } from "../oci/platform.js";
import type { PackResult } from "../tasks.js";

export type ExportedImage = PackedImage<PackResult>;

/** How a name's root was made, for whoever imports it. */
export interface NamedImage {
  readonly name: string;
  readonly platform: string;
  readonly overlap: string;
  readonly link: string;
  readonly image: ExportedImage;
}

/** `layers` are in the manifest's order. */
export function exportedImage(kept: KeptImage, layers: readonly PackResult[], codec: PackCodec): ExportedImage {
  const { layers: descriptors } = keptManifest(kept.manifest);
  if (descriptors.length !== layers.length)
    throw new StrataError("STORE_CORRUPT", "Cannot export the image: its root has other layers than its manifest");
  const placed = layers.map((layer, index) => ({ ...layer, annotations: descriptors[index]?.annotations }));
  return packedImage(kept, placed, { codec });
}

/** index.json of an archive of these: one descriptor for each name. */
export function exportedIndex(images: readonly NamedImage[]): string {
  const manifests = images.map(({ name, platform, overlap, link, image: { manifest } }) => ({
    ...documentDescriptor(OCI_MANIFEST, manifest),
    ...platformOf(platform),
    annotations: { [REF_NAME]: name, [OVERLAP]: overlap, [LINK]: link },
  }));
  return JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests });
}

function platformOf(text: string): { platform?: ReturnType<typeof parsePlatform> } {
  const platform = parsePlatform(text);
  return isAnyPlatform(platform) ? {} : { platform };
}
