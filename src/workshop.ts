/**
 * The composition root of a repack: a store and a pool of its own, in a directory that goes with all that is in it, and the daemon's own
 * parts on them. No daemon is asked, and none sees anything of it.
 */
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "./config.js";
import { HeldSource } from "./install/held-source.js";
import { LayerInstaller } from "./install/layer-installer.js";
import { overlapError } from "./install/overlap-error.js";
import type { Log } from "./log.js";
import { formatReference } from "./oci/reference.js";
import { Pool } from "./pool.js";
import type { OpenedSource, StoredImage, Workshop } from "./repack/workshop.js";
import type { PlannedRoot } from "./root-tasks.js";
import type { OpenOptions } from "./sources/open.js";
import { placementsOf } from "./sources/placements.js";
import { userRegistries } from "./sources/registry/user-registries.js";
import type { ImageSource } from "./sources/source.js";
import { changesetOf } from "./store/entries-files.js";
import type { Store } from "./store/store.js";
import { storeOnPool } from "./store-on-pool.js";
import { ownVersion } from "./version.js";

export interface WorkshopOptions {
  readonly config: Config;
  /** The directory that the workshop is made in. */
  readonly below: string;
  readonly log: Log;
}

/** Runs `work` with a workshop, and removes that however `work` ends. What keeps the directory from being made, and what `work` throws. */
export async function inWorkshop<Value>(
  { config, below, log }: WorkshopOptions,
  work: (workshop: Workshop) => Promise<Value>,
): Promise<Value> {
  const directory = join(below, `.stratad-${randomBytes(8).toString("hex")}`);
  await mkdir(directory, 0o700);
  const { workers: threads, stallTimeoutMs } = config;
  const pool = new Pool({ threads, stallTimeoutMs, heapMb: HEAP_MB, log });
  try {
    // Of no boot: nothing of it outlives the process.
    const store = storeOnPool(join(directory, "store"), { bootId: "", dedup: "off", pool, log });
    await store.open();
    return await work(await workshopOf(directory, { config, store, pool }));
  } finally {
    // A tree may be deeper than rm goes, and may have directories that nobody may write to.
    await pool.run("remove", { path: directory }).catch(() => rm(directory, { recursive: true, force: true }));
    await pool.close();
  }
}

/** MAX_REPACKED_ENTRIES take half of it. */
const HEAP_MB = 4096;

interface Parts {
  readonly config: Config;
  readonly store: Store;
  readonly pool: Pool;
}

async function workshopOf(directory: string, { config, store, pool }: Parts): Promise<Workshop> {
  const { limits } = config;
  const layers = new LayerInstaller({ store, pool, limits, decoders: config.decoders });
  return {
    directory,
    store,
    pool,
    limits,
    sources: await sourcesOf(config),
    withSource: (source, work) => {
      const held = new HeldSource(source);
      return held.use(() => work(openedSource(held, source, layers)));
    },
    plan: async (stored, file, { overlap, signal }) => {
      const task = { ...planTask(stored, store), policy: overlap, limits, file };
      const planned = await pool.run("plan", task, { signal });
      if (planned.kind === "conflicts") throw overlapError({ ...planned, image: stored.image, overlap });
      return { ...planned, file: { kind: "plan", path: file, sha256: sha256Of(planned) } };
    },
    unpackAnew: (source, layer, { file, signal }) =>
      store.staging.with(async (paths) => {
        const { document } = await layers.unpackAnew(paths, source, { layer, signal });
        await rename(paths.changeset, file);
        return { kind: "changeset", path: file, sha256: document.changesetSha256 };
      }),
  };
}

/** Who runs a command may read what they may read. */
async function sourcesOf(config: Config): Promise<OpenOptions> {
  return {
    importDirs: "anywhere",
    registry: userRegistries(config.insecureRegistries, await ownVersion()),
  };
}

function openedSource(held: HeldSource, source: ImageSource, layers: LayerInstaller): OpenedSource {
  const from = formatReference(source.reference);
  return {
    source,
    unpack: (layer, { signal, unpacking }) =>
      layers.install({
        layer,
        source: held,
        from,
        signal,
        progress: ({ task }) => {
          if (task !== undefined) unpacking(task);
        },
        topLevel: () => undefined,
      }),
  };
}

function planTask({ image, layers }: StoredImage, { layout, folding }: Store) {
  const placements = placementsOf(image.layers.map(({ descriptor }) => descriptor));
  return {
    layers: layers.map((layer, index) => {
      const placement = placements[index];
      const changeset = changesetOf(layout, layer);
      return placement === undefined ? { changeset } : { changeset, placement };
    }),
    ...(folding === undefined ? {} : { folding }),
  };
}

function sha256Of({ sha256 }: PlannedRoot): string {
  if (sha256 === undefined) throw new Error("a plan that was asked for is not there");
  return sha256;
}
