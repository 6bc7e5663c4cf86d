/**
 * The parts that work: they install, plan, verify, repair, export and import. A daemon is ready, and answers what it knows, without
 * them: they are half of what it would load before (parts.ts asks for them).
 */
import type { Config } from "./config.js";
import { Exporter } from "./export/exporter.js";
import { ImageInstaller } from "./install/image-installer.js";
import { Importer } from "./install/importer.js";
import { Installer } from "./install/installer.js";
import type { Jobs } from "./install/jobs.js";
import { LayerInstaller } from "./install/layer-installer.js";
import { Planner } from "./install/planner.js";
import { Repairer } from "./install/repairer.js";
import { RootAssembler } from "./install/root-assembler.js";
import { RootComparer } from "./install/root-comparer.js";
import { RootLinker } from "./install/root-linker.js";
import { Scrubber } from "./install/scrubber.js";
import { SpaceLedger, type SpaceOptions } from "./install/space-ledger.js";
import { SpareMaker } from "./install/spare-maker.js";
import { journalFindings, StoreVerification } from "./install/store-verification.js";
import { Verifier } from "./install/verifier.js";
import type { Surroundings } from "./parts.js";
import { userRegistries } from "./sources/registry/user-registries.js";
import type { Catalog } from "./store/catalog.js";
import type { Collector } from "./store/collector.js";

/** What they stand on besides. */
export interface Standing {
  readonly catalog: Catalog;
  readonly jobs: Jobs;
  readonly policies: ConstructorParameters<typeof Planner>[0]["policies"];
  readonly collector: Collector;
  readonly measure: SpaceOptions["measure"];
}

export interface Works {
  readonly layers: LayerInstaller;
  readonly images: ImageInstaller;
  readonly installer: Installer;
  readonly planner: Planner;
  readonly verification: StoreVerification;
  readonly exporter: Exporter;
  readonly importer: Importer;
  /** Where the configuration asks for one; the caller starts and stops it. */
  readonly scrubber: Scrubber | undefined;
  /** The caller stops it. */
  readonly spares: SpareMaker;
}

/** The caller closes the verification. */
export function buildWorks(config: Config, around: Surroundings, standing: Standing): Works {
  const { pool, store, journal, version, emit, log } = around;
  const { catalog, jobs, policies, collector, measure } = standing;
  const { maxLayers, maxLayerBytes } = config.limits;
  const layers = new LayerInstaller({ store, pool, limits: config.limits, decoders: config.decoders });
  const linker = new RootLinker({ store, pool });
  const spares = new SpareMaker({ store, pool, linker, measure, maxEntries: config.spareEntries, log });
  const space = new SpaceLedger({
    measure,
    // Spares first: a layer that goes has to be fetched again.
    makeRoom: [
      async () => void (await spares.clear()),
      async (wanted, signal) => void (await collector.makeRoom(wanted, signal)),
    ],
    stateDir: config.stateDir,
  });
  const roots = new RootAssembler({ store, pool, limits: config.limits, space, linker, spares });
  const images = new ImageInstaller({ store, roots, layers, space, maxLayerBytes });
  const sources = {
    importDirs: config.importDirs ?? ("anywhere" as const),
    registry: userRegistries(config.insecureRegistries, version),
  };
  const comparer = new RootComparer({ store, pool, log });
  const ended = () => collector.consider();
  const installer = new Installer({ store, images, comparer, sources, maxLayers, emit, ended, log });
  const freeBytes = async () => (await measure()).free.bytes;
  const planner = new Planner({ store, roots, sources, policies, maxLayers, freeBytes });
  const guests = [config.runtimeDir, config.socket, config.readOnlySocket, config.configFile];
  const verifier = new Verifier({ store, pool, guests });
  const repairer = new Repairer({ store, pool, verifier, layers, images, spares, sources, maxLayers, log });
  const verification = new StoreVerification({
    store,
    verifier,
    repairer,
    onFindings: (findings) => journalFindings(journal, findings),
    emit,
    log,
  });
  const { scrubBytesPerSecond: bytesPerSecond } = config;
  const scrubber =
    bytesPerSecond === undefined
      ? undefined
      : new Scrubber({ store, pool, verifier, verification, bytesPerSecond, log });
  const exporter = new Exporter({ store, catalog, pool, importDirs: sources.importDirs });
  const importer = new Importer({ jobs, policies, sources });
  return { layers, images, installer, planner, verification, exporter, importer, scrubber, spares };
}
