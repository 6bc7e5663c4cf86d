/**
 * Whether what was made is what was read: every output is resolved from its layout as an install resolves it, each layer unpacked anew with
 * all checks, and what the layers hold together compared with the input's tree.
 */
import { StrataError } from "../errors.js";
import type { DiffId, Digest } from "../oci/digest.js";
import type { LayerDescriptor } from "../oci/documents.js";
import type { LayoutReference } from "../oci/reference.js";
import type { TreeFile } from "../repack-tasks.js";
import type { EntriesFile } from "../root-tasks.js";
import { openSource } from "../sources/open.js";
import { resolveAll } from "../sources/resolve-all.js";
import type { ImageSource } from "../sources/source.js";
import { together } from "../together.js";
import type { RepackProgress } from "./repack-progress.js";
import type { OutputDescriptor } from "./repacked-documents.js";
import type { Workshop } from "./workshop.js";

export interface OutputToVerify {
  /** As errors name it. */
  readonly from: string;
  readonly descriptor: OutputDescriptor;
  /** What each image was made of, by the digest of its manifest. */
  readonly trees: ReadonlyMap<Digest, TreeFile>;
}

export interface VerifyOptions {
  /** The layout that holds them. */
  readonly layout: string;
  /** Where changesets are written. */
  readonly directory: string;
  readonly policy: "c" | "b";
  /** What is claimed of a blob whose image claims nothing: a package's. */
  readonly diffIds: ReadonlyMap<Digest, DiffId>;
  readonly latestMtime?: number | undefined;
  readonly signal: AbortSignal;
  readonly progress: RepackProgress;
}

/** INTERNAL where anything is different; the codes of resolving and unpacking. */
export async function verifyOutputs(
  outputs: readonly OutputToVerify[],
  workshop: Workshop,
  options: VerifyOptions,
): Promise<void> {
  const verifier = new OutputVerifier(workshop, options);
  for (const output of outputs) {
    const reference: LayoutReference = { transport: "oci", path: options.layout, digest: output.descriptor.digest };
    const source = await openSource(reference, workshop.sources);
    try {
      await verifier.verify(output, source);
    } finally {
      await source.close();
    }
  }
  verifier.end();
}

class OutputVerifier {
  readonly #workshop: Workshop;
  readonly #options: VerifyOptions;
  readonly #phase;
  /** By blob: images share them. */
  readonly #changesets = new Map<Digest, EntriesFile>();

  constructor(workshop: Workshop, options: VerifyOptions) {
    this.#workshop = workshop;
    this.#options = options;
    this.#phase = options.progress.begin("verify");
  }

  async verify({ from, trees }: OutputToVerify, source: ImageSource): Promise<void> {
    const { signal } = this.#options;
    const { images } = await resolveAll(source, { maxLayers: this.#workshop.limits.maxLayers, signal });
    const layers = new Map(images.flatMap((image) => image.layers.map((layer) => [layer.descriptor.digest, layer])));
    const missing = [...layers].filter(([digest]) => !this.#changesets.has(digest));
    await together(
      signal,
      missing.map(([, layer]) => this.#unpacked(layer, source)),
    );
    if (images.length !== trees.size) throw different(from, ["it has other images"]);
    await together(
      signal,
      images.map(({ manifestDescriptor: { digest }, layers: own }) => async (each) => {
        const tree = trees.get(digest);
        const found = tree === undefined ? ["it has another image"] : await this.#differences(tree, own, each);
        if (found.length > 0) throw different(from, found);
      }),
    );
  }

  end(): void {
    this.#phase.end();
  }

  #unpacked({ descriptor, diffId }: LayerDescriptor, source: ImageSource): (signal: AbortSignal) => Promise<void> {
    const thing = this.#phase.thing(descriptor.size);
    const file = `${this.#options.directory}/${this.#changesets.size}-${descriptor.digest.slice(-64)}`;
    return async (signal) => {
      const claimed = diffId ?? this.#options.diffIds.get(descriptor.digest);
      if (claimed === undefined) throw new Error(`nothing is known of ${descriptor.digest}`);
      const layer = { descriptor, diffId: claimed };
      this.#changesets.set(descriptor.digest, await this.#workshop.unpackAnew(source, layer, { file, signal }));
      thing.done();
    };
  }

  async #differences(
    tree: TreeFile,
    layers: readonly LayerDescriptor[],
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { policy, latestMtime } = this.#options;
    const { pool, store, limits } = this.#workshop;
    const { folding } = store;
    const task = {
      tree,
      layers: layers.map(({ descriptor }) => this.#changesets.get(descriptor.digest) as EntriesFile),
      policy,
      limits,
      ...(latestMtime === undefined ? {} : { latestMtime }),
      ...(folding === undefined ? {} : { folding }),
    };
    return (await pool.run("verifyRepacked", task, { signal })).differences;
  }
}

const different = (from: string, differences: readonly string[]): StrataError =>
  new StrataError("INTERNAL", `Cannot repack ${from}: what was made is not what was read, ${differences[0]}`, {
    details: { differences },
    hint: "This is a bug in stratad; nothing was written.",
  });
