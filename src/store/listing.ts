/**
 * What stands in a store by the names in its directories, whatever can be read of it: what a start scans, and what it removes.
 */
import { join } from "node:path";
import type { Listing } from "../scan-tasks.js";
import { TEMPORARY } from "./documents.js";
import { ALGORITHMS, type StoreLayout } from "./layout.js";
import type { Parts, ScanWorkers } from "./store-scan.js";

export interface StoreListing {
  /** By the digest's algorithm, in the order of ALGORITHMS. */
  readonly layers: readonly Parts[];
  readonly roots: Parts;
  readonly names: Parts;
  /** Paths of names' documents that were never finished. */
  readonly temporaries: readonly string[];
}

/** Paths. */
export interface Strays {
  /** Documents about layers and roots that were never finished. */
  readonly temporaries: readonly string[];
  /** … and of those that are not there. */
  readonly metas: readonly string[];
  /** Of layers that are not there. */
  readonly spills: readonly string[];
}

const document = (directory: string) => ({ directory, suffix: ".json" });
const thing = (directory: string) => ({ directory, suffix: "" });
const below = (directory: string, names: readonly string[] = []): string[] =>
  names.map((name) => join(directory, name));

export async function listStore(layout: StoreLayout, { list }: Pick<ScanWorkers, "list">): Promise<StoreListing> {
  const { layerDirectories, roots, nameDocuments } = layout;
  const directories = [document(nameDocuments), thing(roots), ...layerDirectories.map(thing)];
  const { listings } = await list({ directories, temporary: TEMPORARY });
  const [names, rootIds, ...layers] = listings;
  const partsOf = (listing: Listing | undefined): Parts => listing?.parts ?? [];
  return {
    layers: ALGORITHMS.map((_, which) => partsOf(layers[which])),
    roots: partsOf(rootIds),
    names: partsOf(names),
    temporaries: below(nameDocuments, names?.temporaries),
  };
}

/** What stands about a layer or a root that cannot be read is none: it is kept, as that is. */
export async function listStrays(
  layout: StoreLayout,
  { layers, roots }: StoreListing,
  { strays }: Pick<ScanWorkers, "strays">,
): Promise<Strays> {
  const { meta, spills, rootMetas } = layout;
  const known = layers.flat();
  const about = [
    { ...document(meta), known },
    { ...document(rootMetas), known: roots },
    { ...thing(spills), known },
  ];
  const found = await strays({ about, temporary: TEMPORARY });
  const [ofLayers, ofRoots, ofSpills] = found.strays;
  return {
    temporaries: [...below(meta, ofLayers?.temporaries), ...below(rootMetas, ofRoots?.temporaries)],
    metas: [...below(meta, ofLayers?.orphans), ...below(rootMetas, ofRoots?.orphans)],
    spills: below(spills, ofSpills?.orphans),
  };
}
