/**
 * The images that a repack begins with: each reference resolved, to all its platforms where it names an index, and every layer unpacked into the
 * workshop, once.
 */
import { StrataError } from "../errors.js";
import { MAX_IMAGES_AT_ONCE } from "../limits.js";
import { OVERLAP } from "../oci/annotations.js";
import type { DiffId } from "../oci/digest.js";
import { OCX_CONFIG, parseDefaultStrip } from "../oci/ocx-package.js";
import type { Platform } from "../oci/platform.js";
import { formatReference, type Reference } from "../oci/reference.js";
import type { PlannedPolicy } from "../overlap/plan-root.js";
import { openSource } from "../sources/open.js";
import type { ResolvedImage } from "../sources/resolve.js";
import { type ResolvedIndex, resolveAll } from "../sources/resolve-all.js";
import type { TaskProgress } from "../task-progress.js";
import type { LayerDocument } from "../tasks.js";
import { together } from "../together.js";
import type { Phase, RepackProgress } from "./repack-progress.js";
import type { OpenedSource, StoredImage, Workshop } from "./workshop.js";

export interface InputRequest {
  /** With an absolute path where it is local. */
  readonly reference: Reference;
  /** What the image is to be called. */
  readonly out: string;
}

export interface InputOptions {
  readonly platform?: Platform | undefined;
  /** How the layers of every input meet. Absent: as its layout says that its root was made, else a, which reads any image. */
  readonly overlap?: PlannedPolicy | undefined;
  readonly signal: AbortSignal;
  readonly progress: RepackProgress;
}

export interface Input extends InputRequest {
  /** As text. */
  readonly from: string;
  readonly images: readonly InputImage[];
  readonly index?: ResolvedIndex;
  /** What its index lists that is no image. */
  readonly left: number;
}

export interface InputImage extends StoredImage {
  readonly overlap: PlannedPolicy;
  /** A package's config asks for this of layers that ask for nothing. */
  readonly defaultStrip: number;
}

/**
 * In the order of the requests. INVALID_PARAMS where they are too many images, the codes of resolving and unpacking; each with `in`, the
 * reference, in its details.
 */
export async function readInputs(
  requests: readonly InputRequest[],
  workshop: Workshop,
  options: InputOptions,
): Promise<Input[]> {
  const reader = new InputReader(workshop, options);
  const inputs = await together(
    options.signal,
    requests.map((request) => (signal) => reader.read(request, signal)),
  );
  reader.end();
  return inputs;
}

class InputReader {
  readonly #workshop: Workshop;
  readonly #options: InputOptions;
  readonly #resolving: Phase;
  readonly #unpacking: Phase;
  #images = 0;

  constructor(workshop: Workshop, options: InputOptions) {
    this.#workshop = workshop;
    this.#options = options;
    this.#resolving = options.progress.begin("resolve");
    this.#unpacking = options.progress.begin("unpack");
  }

  async read(request: InputRequest, signal: AbortSignal): Promise<Input> {
    const from = formatReference(request.reference);
    const thing = this.#resolving.thing();
    try {
      const source = await openSource(request.reference, this.#workshop.sources);
      return await this.#workshop.withSource(source, async (opened) => {
        const { platform } = this.#options;
        const { maxLayers } = this.#workshop.limits;
        const { images, ...set } = await resolveAll(source, { platform, maxLayers, signal });
        thing.done();
        this.#count(images.length);
        const stored = await together(
          signal,
          images.map((image) => (each) => this.#unpacked(image, opened, each)),
        );
        return { ...request, ...set, from, images: stored };
      });
    } catch (error) {
      throw error instanceof StrataError ? error.with({ in: from }) : error;
    }
  }

  end(): void {
    this.#resolving.end();
    this.#unpacking.end();
  }

  #count(images: number): void {
    this.#images += images;
    if (this.#images <= MAX_IMAGES_AT_ONCE) return;
    const fact = `they are more than ${MAX_IMAGES_AT_ONCE}`;
    throw new StrataError("INVALID_PARAMS", `Cannot repack the images: ${fact}`, {
      hint: "Repack fewer at once, or choose one platform with --platform.",
    });
  }

  async #unpacked(image: ResolvedImage, opened: OpenedSource, signal: AbortSignal): Promise<InputImage> {
    const diffIds = await together(
      signal,
      image.layers.map((layer) => async (each) => {
        const thing = this.#unpacking.thing(layer.descriptor.size);
        const unpacking = (task: TaskProgress) => thing.follow(() => task.bytesRead);
        const diffId = await opened.unpack(layer, { signal: each, unpacking });
        thing.done();
        return diffId;
      }),
    );
    const layers = diffIds.map((diffId) => storedLayer(this.#workshop, diffId));
    return { image, layers, overlap: this.#options.overlap ?? overlapOf(image), defaultStrip: stripOf(image) };
  }
}

function storedLayer({ store }: Workshop, diffId: DiffId): LayerDocument {
  const layer = store.layers.get(diffId);
  if (layer === undefined)
    throw new StrataError("INTERNAL", `Cannot repack the images: layer ${diffId} left the store`);
  return layer.document;
}

/** What `stratad export` wrote beside the image; nothing else says how its layers meet, and under a any do. */
function overlapOf({ manifestDescriptor: { annotations } }: ResolvedImage): PlannedPolicy {
  return annotations?.[OVERLAP] === "b" ? "b" : "a";
}

const stripOf = ({ manifest: { config }, configBytes }: ResolvedImage): number =>
  config.mediaType === OCX_CONFIG && configBytes !== undefined ? parseDefaultStrip(configBytes) : 0;
