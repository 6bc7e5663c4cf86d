/**
 * What stands in a store by the names in its directories, whatever can be read of it: what a start scans, and what it removes.
 */
import { opendir } from "node:fs/promises";
import { join } from "node:path";
import { MAX_SCANNED } from "../limits.js";
import { listingOf } from "../listed-names.js";
import type { Listing, ListResult, ListTask } from "../scan-tasks.js";
import { TEMPORARY } from "./documents.js";
import { ALGORITHMS, type StoreLayout } from "./layout.js";
import type { Parts, ScanWorkers } from "./store-scan.js";

export interface StoreListing {
  /** By the digest's algorithm, in the order of ALGORITHMS. */
  readonly layers: readonly Parts[];
  readonly roots: Parts;
  readonly names: Parts;
  /** How many things stand about layers and about roots. */
  readonly about: { readonly metas: number; readonly rootMetas: number; readonly spills: number };
  /** Paths of documents that were never finished. */
  readonly temporaries: readonly string[];
}

/** Paths. */
export interface Strays {
  /** Documents about layers and roots that are not there. */
  readonly metas: readonly string[];
  /** Of layers that are not there. */
  readonly spills: readonly string[];
}

const document = (directory: string) => ({ directory, suffix: ".json" });
const thing = (directory: string) => ({ directory, suffix: "" });
const below = (directory: string, names: readonly string[] = []): string[] =>
  names.map((name) => join(directory, name));

export async function listStore(layout: StoreLayout, workers: Pick<ScanWorkers, "list">): Promise<StoreListing> {
  const list = async (task: ListTask) => (await listFew(task)) ?? workers.list(task);
  const { layerDirectories, roots, nameDocuments, meta, rootMetas, spills } = layout;
  const things = [document(nameDocuments), thing(roots), ...layerDirectories.map(thing)];
  const about = [document(meta), document(rootMetas), thing(spills)];
  const [standing, counted] = await Promise.all([
    list({ directories: things, temporary: TEMPORARY }),
    list({ directories: about.map((listed) => ({ ...listed, isCounted: true })), temporary: TEMPORARY }),
  ]);
  const [names, rootIds, ...layers] = standing.listings;
  const [ofLayers, ofRoots, ofSpills] = counted.listings;
  const partsOf = (listing: Listing | undefined): Parts => listing?.parts ?? [];
  return {
    layers: ALGORITHMS.map((_, which) => partsOf(layers[which])),
    roots: partsOf(rootIds),
    names: partsOf(names),
    about: { metas: ofLayers?.count ?? 0, rootMetas: ofRoots?.count ?? 0, spills: ofSpills?.count ?? 0 },
    temporaries: [
      ...below(nameDocuments, names?.temporaries),
      ...below(meta, ofLayers?.temporaries),
      ...below(rootMetas, ofRoots?.temporaries),
    ],
  };
}

/** Most stores are small: to list one takes no thread. Undefined where a directory has more names than are scanned as one part. */
async function listFew({ directories, temporary }: ListTask): Promise<ListResult | undefined> {
  const all = await Promise.all(directories.map(({ directory }) => fewNames(directory)));
  const listings = directories.flatMap((listed, at) => {
    const names = all[at];
    return names === undefined ? [] : [listingOf(names, listed, temporary)];
  });
  return listings.length === directories.length ? { listings } : undefined;
}

async function fewNames(directory: string): Promise<string[] | undefined> {
  const names: string[] = [];
  for await (const { name } of await opendir(directory, { bufferSize: MAX_SCANNED + 1 })) {
    if (names.length === MAX_SCANNED) return undefined;
    names.push(name);
  }
  return names;
}

/**
 * Looks one by one only where more stands than a scan has found to be about something: `told` metas of layers and of roots. What stands
 * about a layer or a root that cannot be read is no stray: it is kept, as that is.
 */
export async function listStrays(
  layout: StoreLayout,
  { layers, roots, about }: StoreListing,
  { strays, told }: Pick<ScanWorkers, "strays"> & { readonly told: Readonly<Record<"layers" | "roots", number>> },
): Promise<Strays> {
  const { meta, spills, rootMetas } = layout;
  const known = layers.flat();
  const places = [
    { listed: document(meta), known, isClean: about.metas === told.layers },
    { listed: document(rootMetas), known: roots, isClean: about.rootMetas === told.roots },
    { listed: thing(spills), known, isClean: about.spills === 0 },
  ];
  const asked = places.filter(({ isClean }) => !isClean).map((place) => ({ ...place.listed, known: place.known }));
  const { strays: names } = asked.length === 0 ? { strays: [] } : await strays({ about: asked });
  const found = asked.map(({ directory }, which) => ({ directory, paths: below(directory, names[which]) }));
  const pathsIn = (...directories: readonly string[]): string[] =>
    found.filter(({ directory }) => directories.includes(directory)).flatMap(({ paths }) => paths);
  return { metas: pathsIn(meta, rootMetas), spills: pathsIn(spills) };
}
