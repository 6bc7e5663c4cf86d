/**
 * One verification while it goes on: what it found, how far it is, and what the checks of all kinds of trees share.
 */
import type { BigIntStats } from "node:fs";
import { StrataError, systemErrorCode } from "../src/errors.js";
import type { Extent, TreeFinding, VerifyResult, VerifyTask } from "../src/findings.js";
import { MAX_FINDINGS_OF_TREE } from "../src/limits.js";
import type { EntriesFile } from "../src/root-tasks.js";
import { TaskProgress } from "../src/task-progress.js";
import { type StoredEntries, withEntries } from "./entries-file.js";
import { FileReader } from "./file-check.js";
import { unreadable } from "./tree-walk.js";

const LOOK_EVERY = 256;

export class Verification {
  readonly extent: Extent;
  readonly reader: FileReader;
  readonly watched: ReadonlySet<string>;
  readonly seen = new Set<string>();
  readonly findsApart: boolean;
  apart = 0;
  readonly #progress: TaskProgress;
  readonly #limit: number;
  readonly #findings: TreeFinding[] = [];
  #total = 0;
  #entries = 0;

  /** `limit` findings are kept; the rest are counted. */
  constructor(task: VerifyTask, limit = MAX_FINDINGS_OF_TREE) {
    this.#limit = limit;
    this.extent = task.extent;
    this.findsApart = task.findsApart === true;
    this.#progress = new TaskProgress(task.progress);
    this.#progress.activity = "working";
    this.reader = new FileReader(this.#progress);
    this.watched = new Set(task.watched);
  }

  result(): VerifyResult {
    const { bytes } = this.reader;
    const [findings, total, entries] = [this.#findings, this.#total, this.#entries];
    return { findings, total, entries, bytes, seen: [...this.seen], apart: this.apart };
  }

  tell(finding: TreeFinding): void {
    this.#total += 1;
    if (this.#findings.length < this.#limit) this.#findings.push(finding);
  }

  /** Whoever goes through entries calls it for each. CANCELLED. */
  tick(): void {
    this.#entries += 1;
    this.#progress.entries += 1;
    if (this.#entries % LOOK_EVERY === 0) this.#progress.throwIfCancelled();
  }

  /** False where the list is not what was committed: that is told where the list belongs to. */
  through(file: EntriesFile, isOwn: boolean, use: (entries: StoredEntries) => void): boolean {
    let thrown: { readonly error: unknown } | undefined;
    try {
      withEntries(file, (entries) => {
        try {
          use(entries);
        } catch (error) {
          thrown = { error };
        }
      });
    } catch (error) {
      const errno = systemErrorCode(error);
      const isCorrupt = error instanceof StrataError && error.code === "STORE_CORRUPT";
      if (errno === undefined && !isCorrupt) throw error;
      const detail = errno === undefined ? `it is not the ${file.kind} that was committed` : unreadable(errno);
      if (isOwn) this.tell({ code: "DOCUMENT", path: file.kind, detail });
      return false;
    }
    if (thrown !== undefined) throw thrown.error;
    return true;
  }
}

/** As roots tell of the inodes that they share. */
export const inodeKey = ({ dev, ino }: BigIntStats): string => `${dev}:${ino}`;
