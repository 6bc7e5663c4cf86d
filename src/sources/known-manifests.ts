/**
 * What local references were resolved to, for as long as the one file that decides it is as it was: a layout's index.json, or the
 * archive itself. What index.json leads to stands below digests, so the same index leads to the same manifest.
 *
 * One stat takes the place of reading. A file that changed just now is not known: its clock may not tell the next change from this one.
 */
import type { BigIntStats } from "node:fs";
import { lstat, stat } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { systemErrorCode } from "../errors.js";
import { MAX_KNOWN_MANIFEST_BYTES, MAX_KNOWN_MANIFESTS, SETTLED_MS } from "../limits.js";
import type { Platform } from "../oci/platform.js";
import type { Reference } from "../oci/reference.js";
import { SharedLook } from "../shared-look.js";
import type { KnownManifest, ResolvedManifest } from "./resolve.js";

/** One look at the file, before the source is opened. */
export interface ManifestLook {
  /** What the reference and the platform led to before; absent where that is to be found out anew. */
  readonly known?: KnownManifest;
  /** Keeps what a source that was opened since the look led to. */
  remember(resolved: ResolvedManifest): Promise<void>;
}

interface Entry {
  /** Of the file that decides. */
  readonly identity: string;
  readonly manifest: KnownManifest;
}

export class KnownManifests {
  /** The least recently used first. */
  readonly #entries = new Map<string, Entry>();
  readonly #looks = new SharedLook<DecidingFile | undefined>();
  readonly #now: () => number;

  /** `now` is the clock of the file systems, in milliseconds. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** `platform` is what the client asked for. Whether the path is allowed was found out when it was resolved: the file is the same one. */
  async look(reference: Reference, platform: Platform | undefined): Promise<ManifestLook> {
    const key = JSON.stringify({ reference, platform });
    const before = await this.#looks.at(key, () => decidingFile(reference));
    if (before === undefined) return { remember: forget };
    const entry = this.#entries.get(key);
    if (entry?.identity === before.identity) {
      this.#set(key, entry);
      return { known: entry.manifest, remember: forget };
    }
    this.#entries.delete(key);
    return {
      remember: async ({ manifestBytes, ...manifest }) => {
        const isSettled = this.#now() - before.changedMs > SETTLED_MS;
        if (!isSettled || JSON.stringify(manifest).length > MAX_KNOWN_MANIFEST_BYTES) return;
        const after = await decidingFile(reference);
        if (after?.identity === before.identity) this.#set(key, { identity: before.identity, manifest });
      },
    };
  }

  #set(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > MAX_KNOWN_MANIFESTS && oldest !== undefined) this.#entries.delete(oldest);
  }
}

const forget = async (): Promise<void> => undefined;

interface DecidingFile {
  /** Another where it is another file, or was written to or replaced. */
  readonly identity: string;
  readonly changedMs: number;
}

/** Undefined where there is no such file: opening the source says why. */
async function decidingFile(reference: Reference): Promise<DecidingFile | undefined> {
  if (reference.transport === "docker" || !isAbsolute(reference.path)) return undefined;
  const { transport, path } = reference;
  try {
    const found = await (transport === "oci"
      ? lstat(join(path, "index.json"), { bigint: true })
      : stat(path, { bigint: true }));
    return found.isFile() ? factsOf(found) : undefined;
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return undefined;
  }
}

function factsOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): DecidingFile {
  return { identity: [dev, ino, size, mtimeNs, ctimeNs].join(" "), changedMs: Number(ctimeNs / 1_000_000n) };
}
