/**
 * From the workshop's layout into a repository: what it has, or another repository of its registry has of the inputs, is not sent.
 */
import { OCI_INDEX, OCI_MANIFEST } from "../oci/media-types.js";
import { documentDescriptor, sizeOf } from "../oci/packed-image.js";
import type { DockerReference } from "../oci/reference.js";
import { type PushedManifest, type PushReport, RegistryPush } from "../sources/registry/push.js";
import type { RegistryOptions } from "../sources/registry/registry-source.js";
import type { Phase } from "./repack-progress.js";
import type { MadeLayout } from "./repacker.js";

export interface PublishWatch {
  readonly signal: AbortSignal;
  readonly phase: Phase;
}

/** PUSH_REFUSED, AUTH_*, REGISTRY_*, TLS_UNTRUSTED; what was sent stays, and no tag has moved but those that were through. */
export async function publishToRegistry(
  { layout, layers, outputs, references }: MadeLayout,
  { registry, repository }: DockerReference,
  options: RegistryOptions,
  { signal, phase }: PublishWatch,
): Promise<PushReport> {
  const configs = outputs.flatMap(({ images }) => images.map(({ config }) => config));
  const blobs = [
    ...layers.map(({ digest, size }) => ({ digest, size, path: layout.blob(digest) })),
    ...configs.map((config) => ({ digest: config.digest, size: sizeOf(config), bytes: Buffer.from(config.text) })),
  ];
  const distinct = new Map(blobs.map((blob) => [blob.digest, blob]));
  const thing = phase.thing([...distinct.values()].reduce((sum, { size }) => sum + size, 0));
  let sent = 0;
  thing.follow(() => sent);
  const mountFrom = references.flatMap((reference) =>
    reference.transport === "docker" && reference.registry === registry ? [reference.repository] : [],
  );
  const push = new RegistryPush(options);
  const report = await push.push(
    { registry, repository, blobs: [...distinct.values()], manifests: outputs.flatMap(manifestsOf), mountFrom },
    {
      signal,
      progress: (done) => {
        sent = done;
      },
    },
  );
  thing.done();
  return report;
}

/** The one that the name leads to comes last. */
function manifestsOf({ name, images, indexes }: MadeLayout["outputs"][number]): PushedManifest[] {
  const documents = [
    ...images.map(({ manifest }) => ({ mediaType: OCI_MANIFEST, document: manifest })),
    ...indexes.map((document) => ({ mediaType: OCI_INDEX, document })),
  ];
  return documents.map(({ mediaType, document }, at) => ({
    descriptor: documentDescriptor(mediaType, document),
    bytes: Buffer.from(document.text),
    tags: at === documents.length - 1 ? [name] : [],
  }));
}
