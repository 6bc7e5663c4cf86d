/**
 * What a repack needs of an installation: a private store with its threads, in which each layer is unpacked once, and which goes with all that
 * is in it when the repack is over. The composition root makes it of the daemon's own parts.
 */
import type { ImageLimits } from "../limits.js";
import type { DiffId } from "../oci/digest.js";
import type { LayerDescriptor } from "../oci/documents.js";
import type { PlannedPolicy } from "../overlap/plan-root.js";
import type { Pool } from "../pool.js";
import type { EntriesFile, PlannedRoot } from "../root-tasks.js";
import type { OpenOptions } from "../sources/open.js";
import type { ResolvedImage } from "../sources/resolve.js";
import type { ImageSource } from "../sources/source.js";
import type { Store } from "../store/store.js";
import type { TaskProgress } from "../task-progress.js";
import type { LayerDocument } from "../tasks.js";

export interface Workshop {
  /** Absolute; nothing that a repack makes stands anywhere else until it is published. */
  readonly directory: string;
  readonly store: Store;
  readonly pool: Pool;
  readonly limits: ImageLimits;
  readonly sources: OpenOptions;
  /**
   * Runs `work` with an image's source, which is closed behind it. Layers that other images have too are unpacked once. The codes of the
   * source, the codecs, the tar and the store.
   */
  withSource<Value>(source: ImageSource, work: (opened: OpenedSource) => Promise<Value>): Promise<Value>;
  /** What the image's root holds, in `file`. LAYER_OVERLAP, WHITEOUT, HARDLINK_TARGET, NAME_FOLDING, the codes of plan and store. */
  plan(image: StoredImage, file: string, options: PlanOptions): Promise<PlannedTree>;
  /** Unpacks a layer anew, whatever is stored, and keeps nothing of it but its changeset, in `file`. */
  unpackAnew(source: ImageSource, layer: Required<LayerDescriptor>, options: AnewOptions): Promise<EntriesFile>;
}

export interface PlanOptions {
  readonly overlap: PlannedPolicy;
  readonly signal: AbortSignal;
}

export type PlannedTree = PlannedRoot & { readonly file: EntriesFile };

export interface AnewOptions {
  readonly file: string;
  readonly signal: AbortSignal;
}

export interface OpenedSource {
  readonly source: ImageSource;
  unpack(layer: LayerDescriptor, watch: UnpackWatch): Promise<DiffId>;
}

export interface UnpackWatch {
  readonly signal: AbortSignal;
  /** Whoever unpacks it; not told where it is stored. */
  readonly unpacking: (task: TaskProgress) => void;
}

/** An image whose layers are stored, the lowest first. */
export interface StoredImage {
  readonly image: ResolvedImage;
  readonly layers: readonly LayerDocument[];
}
