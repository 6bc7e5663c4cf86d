/**
 * The whole journey of one job: source → manifest → root (found, joined or made) → name (architecture.md, How an install flows).
 *
 * Jobs for the same root share one piece of work; a job only decides whether it still wants it. Knows no session.
 */
import { PROGRESS_INTERVAL_MS } from "../limits.js";
import type { Log } from "../log.js";
import type { DaemonEvent } from "../messages/events.js";
import { formatPlatform, type Platform, parsePlatform, platformMatches } from "../oci/platform.js";
import { KnownManifests } from "../sources/known-manifests.js";
import { type OpenOptions, openSource } from "../sources/open.js";
import { placementsOf } from "../sources/placements.js";
import {
  imagePlatformNote,
  type KnownManifest,
  packagePlatform,
  type ResolvedManifest,
  resolveLayers,
  resolveManifest,
} from "../sources/resolve.js";
import type { ImageSource } from "../sources/source.js";
import type { RootDocument } from "../store/documents.js";
import type { Lease } from "../store/leases.js";
import { rootIdOf } from "../store/roots.js";
import type { Store } from "../store/store.js";
import { HeldSource } from "./held-source.js";
import type { ImageInstaller } from "./image-installer.js";
import { ImageProgress } from "./image-progress.js";
import type { Job } from "./job.js";
import { refuseWithoutReflink } from "./reflink.js";
import type { RootComparer } from "./root-comparer.js";
import { SingleFlight, untilAborted } from "./single-flight.js";

export interface InstallerOptions {
  readonly store: Store;
  readonly images: ImageInstaller;
  readonly comparer: RootComparer;
  readonly sources: OpenOptions;
  readonly maxLayers: number;
  readonly emit: (event: DaemonEvent) => void;
  /** Called when a job needs nothing of the store any more, however it ended. */
  readonly ended: () => void;
  readonly log: Log;
}

/** What jobs that share one root's work have in common. */
interface SharedWork {
  readonly from: string;
  readonly jobs: Set<Job>;
  progress: ImageProgress | undefined;
}

interface Making {
  readonly job: Job;
  readonly source: HeldSource;
  readonly open: ImageSource;
}

/** A root that is there, and what the job says of it. */
interface Standing {
  readonly manifest: KnownManifest;
  readonly root: RootDocument;
  readonly note: string | undefined;
}

export class Installer {
  readonly #options: InstallerOptions;
  readonly #flights = new SingleFlight<string, RootDocument>();
  readonly #works = new Map<string, SharedWork>();
  readonly #manifests = new KnownManifests();

  constructor(options: InstallerOptions) {
    this.#options = options;
  }

  /** Runs the job to its end; it never rejects: how it went stands in the job. */
  async run(job: Job): Promise<void> {
    const lease = this.#options.store.leases.open();
    await this.#toItsEnd(job, lease, async () => {
      job.started();
      await this.#install(job, lease);
    });
  }

  /**
   * The same for a job that has only to be told so: its root stands, and nothing has to be read, compared or waited for. That takes nothing
   * which others wait for. False, and nothing was done, where more is to do.
   */
  async runStanding(job: Job): Promise<boolean> {
    const lease = this.#options.store.leases.open();
    const standing = await this.#toldAtOnce(job, lease).catch(() => undefined);
    if (standing === undefined) {
      lease.drop();
      return false;
    }
    await this.#toItsEnd(job, lease, async () => {
      job.started();
      // Removed in this very moment.
      if (!(await this.#finish(tellStanding(job, standing), { job, lease }))) await this.#install(job, lease);
    });
    return true;
  }

  async #toItsEnd(job: Job, lease: Lease, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await job.failed(error);
      if (job.view().error?.code === "INTERNAL") this.#options.log.error("job.failed", { jobId: job.jobId, error });
    } finally {
      lease.drop();
      this.#options.ended();
    }
  }

  async #toldAtOnce(job: Job, lease: Lease): Promise<Standing | undefined> {
    const { store } = this.#options;
    const { request, name } = job.spec;
    const { standing } = await this.#look(job, lease);
    job.signal.throwIfAborted();
    if (standing === undefined || (request.durable === true && !isDurable(standing.root, store))) return undefined;
    const had = store.names.current(name);
    return had === undefined || had.rootId === standing.root.rootId ? standing : undefined;
  }

  /** What the reference names, as far as one look tells, and the root of that where it stands. */
  async #look(job: Job, lease: Lease) {
    const { store } = this.#options;
    const { request, reference, link, name } = job.spec;
    await refuseWithoutReflink(link, store);
    store.refuseFoldedName(name);
    const platform = request.platform === undefined ? undefined : parsePlatform(request.platform);
    const look = await untilAborted(this.#manifests.look(reference, platform), job.signal);
    const standing = look.known && (await this.#find(look.known, platform, { job, lease }));
    return { platform, look, standing };
  }

  async #install(job: Job, lease: Lease): Promise<void> {
    const { sources, maxLayers } = this.#options;
    const { signal } = job;
    const { reference } = job.spec;
    const { platform, look, standing } = await this.#look(job, lease);
    if (standing !== undefined && (await this.#finish(tellStanding(job, standing), { job, lease }))) return;
    const source = await HeldSource.opened(openSource(reference, sources), signal);
    await source.use(async (open) => {
      const manifest = await untilAborted(resolveManifest(open, { platform, maxLayers, signal }), signal);
      await untilAborted(look.remember(manifest), signal);
      for (;;) {
        const standing = await this.#find(manifest, platform, { job, lease });
        const root = standing ? tellStanding(job, standing) : await this.#make(manifest, { job, source, open });
        if (await this.#finish(root, { job, lease })) return;
      }
    });
  }

  #rootIdOf(manifest: KnownManifest, job: Job): string {
    const { overlap, link, name } = job.spec;
    const placements = placementsOf(manifest.manifest.layers);
    return rootIdOf({ manifestDigest: manifest.manifestDescriptor.digest, overlap, link, placements, name });
  }

  /** The name leads to the root, and the job is over. False where the root was removed since it stood: then it is made again. */
  async #finish(root: RootDocument, { job, lease }: { readonly job: Job; readonly lease: Lease }): Promise<boolean> {
    const { store, comparer, emit } = this.#options;
    const { name, referenceText: reference, request } = job.spec;
    const { rootId, platform, manifestDigest } = root;
    // Before the flip, so that its event comes with it: another of the same name may follow at once.
    const changes = await comparer.changes(name, root, { lease, signal: job.signal });
    const named = await store.name(name, { rootId, reference, platform, manifestDigest });
    if (named === undefined) return false;
    const { layout } = store;
    const { generation } = named.generation;
    const update = changes === undefined ? {} : { changes };
    if (named.flipped) {
      const data = { rootId, path: layout.name(name), generation, ...update };
      emit({ type: "name.changed", name, data });
    }
    job.named({
      root: { rootId, path: layout.rootTree(rootId) },
      name: { name, path: layout.name(name), generation },
      ...update,
    });
    const waits = request.durable === true;
    if (waits && !isDurable(root, store)) await store.makeDurable();
    const durable = isDurable(root, store);
    await job.ready(durable);
    if (!durable && !waits) this.#makeDurableBehind(job, root);
    return true;
  }

  /** A root that stands already: one stat, and no config is read. */
  async #find(
    manifest: KnownManifest,
    platform: Platform | undefined,
    { job, lease }: { readonly job: Job; readonly lease: Lease },
  ): Promise<Standing | undefined> {
    const rootId = this.#rootIdOf(manifest, job);
    lease.root(rootId);
    const root = this.#options.store.roots.get(rootId);
    if (root === undefined || !(await this.#options.store.roots.stands(rootId))) return undefined;
    const packaged = packagePlatform(manifest);
    const isFor = packaged === undefined ? root.platform : formatPlatform(packaged.platform);
    // Without an index only the config knows the platform: it is judged where that is read.
    if (manifest.direct && platform !== undefined && !platformMatches(parsePlatform(isFor), platform)) return undefined;
    const note = packaged === undefined ? imagePlatformNote(parsePlatform(isFor), manifest) : packaged.note;
    return { manifest, root: { ...root, platform: isFor }, note };
  }

  async #make(manifest: ResolvedManifest, { job, source, open }: Making): Promise<RootDocument> {
    const rootId = this.#rootIdOf(manifest, job);
    const resolveStart = performance.now();
    const image = await untilAborted(resolveLayers(open, manifest, job.signal), job.signal);
    const placements = placementsOf(image.layers.map(({ descriptor }) => descriptor));
    job.resolved(formatPlatform(image.platform), image.platformNote);
    const { overlap, link, referenceText: from } = job.spec;
    for (;;) {
      const known = this.#works.get(rootId);
      const work: SharedWork = known ?? { from, jobs: new Set(), progress: undefined };
      this.#works.set(rootId, work);
      work.jobs.add(job);
      if (work.progress !== undefined) job.update(work.progress.view());
      try {
        const landed = await this.#flights.run(rootId, job.signal, (signal) =>
          source.use(async () => {
            const progress = new ImageProgress(manifest.manifestDescriptor.digest, image.layers, () => tell(work));
            progress.timing("resolveMs", performance.now() - resolveStart);
            work.progress = progress;
            const ticker = setInterval(() => tell(work), PROGRESS_INTERVAL_MS);
            try {
              return await this.#options.images.install({
                rootId,
                image,
                source,
                from,
                isFetched: job.spec.reference.transport === "docker",
                overlap,
                link,
                placements,
                progress,
                signal,
              });
            } finally {
              clearInterval(ticker);
              tell(work);
              if (this.#works.get(rootId) === work) this.#works.delete(rootId);
            }
          }),
        );
        return { ...landed.value, platform: formatPlatform(image.platform) };
      } catch (error) {
        if (known === undefined || work.from === from || job.signal.aborted) throw error;
      } finally {
        work.jobs.delete(job);
        if (work.jobs.size === 0 && this.#works.get(rootId) === work) this.#works.delete(rootId);
      }
    }
  }

  /** Nobody waits for it; and nobody's answer waits for the fork of this large process. */
  #makeDurableBehind(job: Job, root: RootDocument): void {
    const { store, log, emit } = this.#options;
    const { jobId, spec } = job;
    setImmediate(async () => {
      try {
        await store.makeDurable();
        if (!isDurable(root, store)) return;
        job.isOnDisk();
        emit({ type: "job.durable", jobId, name: spec.name, data: { job: job.view() } });
      } catch (error) {
        log.warn("sync.failed", { error });
      }
    });
  }
}

const isDurable = (root: RootDocument, store: Store): boolean =>
  store.roots.isDurable(root.rootId) && root.layers.every((diffId) => store.layers.get(diffId)?.meta.durable === true);

function tell(work: SharedWork): void {
  const view = work.progress?.view();
  if (view !== undefined) for (const job of work.jobs) job.update(view);
}

function tellStanding(job: Job, { manifest, root, note }: Standing): RootDocument {
  job.resolved(root.platform, note);
  const progress = new ImageProgress(
    root.manifestDigest,
    manifest.manifest.layers.map((descriptor, index) => ({
      descriptor,
      diffId: root.layers[index] as (typeof root.layers)[number],
    })),
    () => undefined,
  );
  for (const index of root.layers.keys()) progress.layer(index, { state: "stored", reused: true });
  job.update(progress.view());
  return root;
}
