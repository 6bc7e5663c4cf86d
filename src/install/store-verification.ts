/**
 * `store/verify`: what is asked for becomes layers and roots, one verification at a time, and what is found is told to those who keep
 * it. Ends when the daemon does.
 */
import { StrataError } from "../errors.js";
import { MAX_FINDINGS_JOURNALLED } from "../limits.js";
import type { Log } from "../log.js";
import type { DaemonEvent } from "../messages/events.js";
import type { ParsedParams, ServerStatus } from "../messages/methods.js";
import type { Finding, Verification } from "../messages/verification.js";
import type { DiffId } from "../oci/digest.js";
import { printable } from "../printable.js";
import { Slots } from "../slots.js";
import type { RootDocument } from "../store/documents.js";
import type { Journal } from "../store/journal.js";
import type { Store } from "../store/store.js";
import type { Selection } from "../store/structure.js";
import type { Repairer } from "./repairer.js";
import { StandingFindings } from "./standing-findings.js";
import type { Verifier } from "./verifier.js";

/** What was found wrong, and what of it was mended. */
export interface Findings {
  readonly found: readonly Finding[];
  readonly repaired: readonly Finding[];
}

export interface StoreVerificationOptions {
  readonly store: Store;
  readonly verifier: Verifier;
  readonly repairer: Repairer;
  /** Called after each verification that found anything. */
  readonly onFindings: (findings: Findings) => void;
  readonly emit: (event: DaemonEvent) => void;
  readonly log: Log;
}

type Params = ParsedParams<"store/verify">;

export class StoreVerification {
  readonly #options: StoreVerificationOptions;
  /** Two would read the same disk, and repair the same layer. */
  readonly #turn = new Slots(1);
  readonly #closing = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  readonly #standing = new StandingFindings();

  constructor(options: StoreVerificationOptions) {
    this.#options = options;
  }

  get standing(): ServerStatus["findings"] {
    return this.#standing.view;
  }

  /** UNKNOWN_NAME, UNKNOWN_ROOT, UNKNOWN_LAYER; CANCELLED on `signal` and when the daemon stops. */
  async verify(params: Params, signal: AbortSignal): Promise<Verification> {
    return this.inTurn(signal, async (both) => {
      const { deep = false, repair = false } = params;
      const request = { deep, selection: this.#selection(params), signal: both };
      const found = await this.#options.verifier.verify(request);
      const isOfAll = request.selection === undefined;
      if (!repair || found.total + found.apart.length === 0) {
        this.#standing.add({ left: found.findings, leftTotal: found.total, repaired: [], deep, isOfAll });
        this.#tell({ found: found.findings, repaired: [] }, found.total);
        const none = repair ? { repaired: [], repairedTotal: 0 } : {};
        return { checked: found.checked, findings: [...found.findings], findingsTotal: found.total, ...none };
      }
      const { left, leftTotal, repaired, repairedTotal } = await this.#options.repairer.repair(found, request);
      this.#standing.add({ left, leftTotal, repaired, deep, isOfAll });
      this.#tell({ found: [...repaired, ...left], repaired }, leftTotal);
      return { checked: found.checked, findings: left, findingsTotal: leftTotal, repaired, repairedTotal };
    });
  }

  /** Runs `work` while no verification runs. CANCELLED. */
  async inTurn<Value>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<Value>): Promise<Value> {
    const both = AbortSignal.any([signal, this.#closing.signal]);
    return this.#turn.run(0, both, () => {
      const running = work(both);
      this.#running = running.catch(() => undefined);
      return running;
    });
  }

  /** What runs is given up. */
  async close(): Promise<void> {
    this.#closing.abort(new StrataError("SHUTTING_DOWN", "Cannot verify the store: the daemon is stopping"));
    await this.#running;
  }

  #tell(findings: Findings, left: number): void {
    if (findings.found.length === 0) return;
    const { length: repaired } = findings.repaired;
    this.#options.emit({ type: "store.findings", data: { found: findings.found.slice(0, LOGGED), repaired, left } });
    this.#options.log.warn("store.findings", {
      found: findings.found.length,
      repaired,
      left,
      first: findings.found.slice(0, LOGGED),
    });
    this.#options.onFindings(findings);
  }

  #selection({ name, digest }: Params): Selection | undefined {
    const { store } = this.#options;
    if (name !== undefined) {
      const current = store.names.current(name);
      if (current === undefined)
        throw new StrataError("UNKNOWN_NAME", `Cannot verify the name ${printable(name, 128)}: there is none`);
      const root = store.roots.get(current.rootId);
      if (root === undefined)
        throw new StrataError("UNKNOWN_ROOT", `Cannot verify the root of ${printable(name, 128)}: it is gone`);
      return selected([root]);
    }
    if (digest === undefined) return undefined;
    const isNamed = (known: string): boolean => known === digest;
    const layer = store.layers.get(digest as DiffId) ?? store.layers.withBlob(digest);
    const roots = store.roots
      .all()
      .filter(({ manifestDigest, layers }) =>
        layer === undefined ? isNamed(manifestDigest) || layers.some(isNamed) : layers.includes(layer.document.diffId),
      );
    if (layer !== undefined) return { layers: [layer.document.diffId], roots: roots.map(({ rootId }) => rootId) };
    if (roots.length > 0) return selected(roots);
    throw new StrataError("UNKNOWN_LAYER", `Cannot verify ${printable(digest, 160)}: no layer and no manifest has it`);
  }
}

/** Each finding as an entry, the first MAX_FINDINGS_JOURNALLED; the log and the event say how many there are. */
export function journalFindings(journal: Pick<Journal, "append">, { found, repaired }: Findings): void {
  const at = new Date().toISOString();
  const mended = new Set(repaired);
  for (const finding of found.slice(0, MAX_FINDINGS_JOURNALLED)) {
    const { code, layer, root, path, detail } = finding;
    const of = { ...(layer === undefined ? {} : { layer }), ...(root === undefined ? {} : { root }) };
    journal.append({ kind: "finding", at, code, ...of, path, detail, repaired: mended.has(finding) });
  }
}

/** In a log line. */
const LOGGED = 16;

const selected = (roots: readonly RootDocument[]): Selection => ({
  layers: [...new Set(roots.flatMap(({ layers }) => layers))],
  roots: roots.map(({ rootId }) => rootId),
});
