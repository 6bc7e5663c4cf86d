/**
 * One scan of the store, as a start makes it: lists what stands there and has workers tell what the documents say, a part of up to a thousand
 * things in each task, from memos where they hold. What it is told it hands on part by part, each in a turn of its own.
 *
 * Knows neither layers nor roots nor names: each kind says where its documents stand and takes what they say.
 */
import { readdir, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { StrataError } from "../errors.js";
import { SETTLED_MS } from "../limits.js";
import type { Log } from "../log.js";
import { type Thing, thingAt } from "../memo-rows.js";
import type {
  KeyColumns,
  LayerKeys,
  ListResult,
  ListTask,
  Recalled,
  ScannedKind,
  ScannedKinds,
  ScanPlace,
  ScanResult,
  ScanTask,
  StraysResult,
  StraysTask,
} from "../scan-tasks.js";
import { readingOf } from "../stored-documents.js";
import { unlinkIfThere } from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import type { MemoRow } from "./layer-index.js";
import type { StoreLayout } from "./layout.js";
import { Mutex } from "./mutex.js";

/** What workers do for a scan, one task each. */
export interface ScanWorkers {
  readonly list: (task: ListTask) => Promise<ListResult>;
  readonly strays: (task: StraysTask) => Promise<StraysResult>;
  readonly scan: (task: ScanTask) => Promise<ScanResult>;
}

/** The ids of one directory, as `list` parts them. */
export type Parts = readonly string[];

export interface ScannedThing<Kind extends ScannedKind> {
  readonly document: ScannedKinds[Kind]["document"];
  /** Absent where there is none that could be read. */
  readonly meta?: ScannedKinds[Kind]["meta"];
  /** Of its symlink, where the kind has such; absent where there is none. */
  readonly target?: string;
}

/** Whom to tell, of every thing once, in any order. */
export interface ScanEars<Kind extends ScannedKind> {
  readonly found: (id: string, thing: ScannedThing<Kind>) => void;
  /** Instead of `found`, of a layer that a memo knows: its documents stand in the row. */
  readonly recalled?: (id: string, keys: LayerKeys, row: MemoRow) => void;
  /** STORE_CORRUPT and what the file system said. */
  readonly unreadable: (id: string, error: StrataError) => void;
}

export class StoreScan {
  readonly #layout: StoreLayout;
  readonly #scan: ScanWorkers["scan"];
  readonly #log: Log;
  /** One part at a time has the main thread, and others in between. */
  readonly #turns = new Mutex();
  /** Kinds of which there are few are read by one thread: to start another for them, and load there what reads documents, takes longer. */
  readonly #few = new Mutex();
  readonly #memos = new Set<string>();
  #settledBeforeMs: number | undefined;
  /** Whether it was said why a memo was not written: once is enough. */
  #saidUnkept = false;
  /** Things whose documents were read, and those that a memo knew. */
  read = 0;
  recalled = 0;
  /** How many of each have something to be told of what changes about them. */
  readonly metas: Record<ScannedKind, number> = { layers: 0, roots: 0, names: 0 };

  constructor(layout: StoreLayout, { scan }: Pick<ScanWorkers, "scan">, log: Log) {
    this.#layout = layout;
    this.#scan = scan;
    this.#log = log;
  }

  /** Before anything is listed: what changes from here on may not be in any memo. */
  async start(): Promise<void> {
    const { memos } = this.#layout;
    try {
      // The time that the file system itself gives: that of this machine may be another.
      await utimes(memos, new Date(), new Date());
      this.#settledBeforeMs = (await stat(memos)).ctimeMs - SETTLED_MS;
    } catch (error) {
      this.#log.warn("memo.unwritten", { error });
    }
  }

  async each<Kind extends ScannedKind>(place: ScanPlace<Kind>, parts: Parts, ears: ScanEars<Kind>): Promise<void> {
    await eachConcurrently(parts.entries(), async ([part, joined]) => {
      const ids = idsIn(joined);
      let memo = this.#memoOf(place, parts, part);
      for (let left = ids; left.length > 0; ) {
        const task = { ...place, ids: left.join("/"), ...(memo === undefined ? {} : { memo }) };
        const result = await (parts.length > 1 ? this.#scan(task) : this.#few.run(() => this.#scan(task)));
        const told = await this.#turns.run(async () => {
          await nextTurn();
          return this.#tell({ place, ids: left, result, ears });
        });
        if (told) left = left.slice(result.scanned);
        else if (memo !== undefined) await this.#discard(memo.path);
        // Of the rest, or of one that only a hand can have written, everything is read.
        memo = undefined;
      }
    });
  }

  /** Brings the memos of one directory up to date, a part at a time, and tells nobody; `rest` waits between two. */
  async renew(place: ScanPlace, parts: Parts, rest: (tookMs: number) => Promise<void>): Promise<void> {
    for (const [part, joined] of parts.entries()) {
      const memo = this.#memoOf(place, parts, part);
      if (memo === undefined || joined === "") continue;
      const start = performance.now();
      this.#sayUnkept(await this.#scan({ ...place, ids: joined, memo, silent: true }));
      await rest(performance.now() - start);
    }
  }

  /** Removes memos that nothing asked for: those of other parts than there are. */
  async sweepMemos(): Promise<void> {
    const { memos } = this.#layout;
    for (const name of await readdir(memos))
      if (!this.#memos.has(join(memos, name))) await this.#discard(join(memos, name));
  }

  async #discard(path: string): Promise<void> {
    await unlinkIfThere(path).catch((error: unknown) => this.#log.warn("memo.left", { path, error }));
  }

  /** Undefined where all ids are one part: so few are read in no time. */
  #memoOf({ kind, prefix }: ScanPlace, parts: Parts, part: number): ScanTask["memo"] {
    if (parts.length === 1) return undefined;
    const path = this.#layout.memo(`${prefix.replace(":", "-")}${kind}-${parts.length}-${part}`);
    this.#memos.add(path);
    const settledBeforeMs = this.#settledBeforeMs;
    return { path, reading: readingOf(kind), ...(settledBeforeMs === undefined ? {} : { settledBeforeMs }) };
  }

  /** False where the memo was unusable: then nobody was told anything. */
  #tell<Kind extends ScannedKind>({ place, ids, result, ears }: Telling<Kind>): boolean {
    const { read, targets = [] } = result;
    let recalled: RecalledRow[] = [];
    try {
      if (result.recalled !== undefined) recalled = rowsIn(place, ids, result.recalled);
    } catch (error) {
      this.#log.warn("memo.unusable", { kind: place.kind, error });
      return false;
    }
    this.#sayUnkept(result);
    this.recalled += recalled.length;
    // Nothing is recalled of what has none.
    this.metas[place.kind] += recalled.length + read.filter((thing) => "meta" in thing).length;
    this.read += read.length;
    const found = (at: number, thing: object): void => {
      const target = targets[at];
      ears.found(ids[at] as string, { ...(thing as ScannedThing<Kind>), ...(target === undefined ? {} : { target }) });
    };
    for (const row of recalled)
      if ("keys" in row) ears.recalled?.(ids[row.at] as string, row.keys, row);
      else found(row.at, row.thing);
    for (const { at, ...thing } of read)
      if ("unreadable" in thing) ears.unreadable(ids[at] as string, StrataError.fromWire(thing.unreadable));
      else found(at, thing);
    return true;
  }

  #sayUnkept({ unkept }: ScanResult): void {
    if (unkept === undefined || this.#saidUnkept) return;
    this.#saidUnkept = true;
    this.#log.warn("memo.unwritten", { error: unkept });
  }
}

interface Telling<Kind extends ScannedKind> {
  readonly place: ScanPlace<Kind>;
  readonly ids: readonly string[];
  readonly result: ScanResult;
  readonly ears: ScanEars<Kind>;
}

/** A layer with its keys, whose documents nobody needs to parse yet, or what else is parsed. */
type RecalledRow = { readonly at: number } & (({ readonly keys: LayerKeys } & MemoRow) | { readonly thing: Thing });

/** Throws where they are not what this place's memos hold. */
function rowsIn({ kind, prefix }: ScanPlace, ids: readonly string[], { at, rows, keys }: Recalled): RecalledRow[] {
  const keysAt = kind === "layers" ? keyReader(keys) : undefined;
  const found: RecalledRow[] = [];
  for (const [row, place] of at.entries()) {
    if (place < 0) continue;
    if (keysAt !== undefined) found.push({ at: place, keys: keysAt(row), rows, row });
    else found.push({ at: place, thing: thingAt(rows, row, `${prefix}${ids[place]}`) });
  }
  return found;
}

function keyReader(text: string): (row: number) => LayerKeys {
  const { createdAt, bytes, verifiedAt, blobKeys } = JSON.parse(text) as KeyColumns;
  return (row) => ({
    createdAt: createdAt[row] as string,
    bytes: bytes[row] as number,
    verifiedAt: verifiedAt[row] ?? null,
    blobKeys: blobKeys[row] ?? [],
  });
}

const idsIn = (joined: string): readonly string[] => (joined === "" ? [] : joined.split("/"));
