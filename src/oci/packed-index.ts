/**
 * An index whose manifests were packed anew: the kept one, with every field that it has, over other digests. Pure.
 */
import { type Digest, parseDigest } from "./digest.js";
import { parseJson } from "./json.js";
import { OCI_INDEX } from "./media-types.js";
import { type Document, documentDescriptor, documentOf } from "./packed-image.js";

export interface Replacement {
  readonly mediaType: string;
  readonly document: Document;
}

/**
 * `bytes` have passed parseIndex. Descriptors that `replacementOf` knows nothing for are left out; of the others platform and
 * annotations stay as they are written, also what this program does not know.
 */
export function packedIndex(bytes: Buffer, replacementOf: (digest: Digest) => Replacement | undefined): Document {
  const { manifests, ...rest } = parseJson(bytes, "the image index") as {
    readonly manifests: readonly RawDescriptor[];
  };
  const packed = manifests.flatMap((descriptor) => {
    const replacement = replacementOf(parseDigest(descriptor.digest));
    if (replacement === undefined) return [];
    // What is embedded, and where else the bytes are, is of the manifest that was.
    const { data: _data, urls: _urls, ...kept } = descriptor;
    const { mediaType, document } = replacement;
    return [{ ...kept, ...documentDescriptor(mediaType, document) }];
  });
  return documentOf({ ...rest, mediaType: OCI_INDEX, manifests: packed });
}

type RawDescriptor = Readonly<Record<string, unknown>> & { readonly digest: string };
