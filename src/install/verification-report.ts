/**
 * What a verification finds, brought together: one finding a path, with the roots that show it, and how much there is beyond what is
 * listed.
 */
import type { FindingCode } from "../finding-codes.js";
import type { TreeFinding, VerifyResult } from "../findings.js";
import { MAX_FINDINGS_TOLD } from "../limits.js";
import type { Finding } from "../messages/verification.js";
import type { DiffId } from "../oci/digest.js";
import { printable, printableName } from "../printable.js";
import type { RootDocument } from "../store/documents.js";
import type { StructureFinding } from "../store/looks.js";
import type { Store } from "../store/store.js";

/** A finding that may still learn which roots show it. */
interface Told {
  readonly finding: Finding;
  readonly inode?: string | undefined;
  readonly roots: Set<string>;
}

export class VerificationReport {
  readonly #store: Store;
  readonly #told: Told[] = [];
  /** Layers and roots of which no tree is looked at: they lack what that needs. */
  readonly #lacking = new Set<string>();
  readonly #byInode = new Map<string, Told>();
  #total = 0;
  #entries = 0;
  #bytes = 0;

  constructor(store: Store) {
    this.#store = store;
  }

  structure({ path, ...finding }: StructureFinding): void {
    const told = this.#tell({ ...finding, path: printable(path, 1024) });
    const { code, layer, root } = finding;
    if (code !== "MISSING") return;
    if (layer !== undefined) {
      this.#lacking.add(layer);
      for (const { rootId, layers } of this.#store.roots.all()) if (layers.includes(layer)) told?.roots.add(rootId);
    }
    if (root !== undefined) this.#lacking.add(root);
  }

  lacks(id: string): boolean {
    return this.#lacking.has(id);
  }

  layer(diffId: DiffId, results: readonly VerifyResult[]): void {
    this.#tree({ layer: diffId }, results);
  }

  root(root: RootDocument, result: VerifyResult): void {
    this.#tree({ root: root.rootId }, [result]);
    for (const inode of result.seen) this.#byInode.get(inode)?.roots.add(root.rootId);
    if (root.link !== "symlink") return;
    for (const { finding, roots } of this.#told)
      if (finding.code !== "DOCUMENT" && root.layers.some((diffId) => diffId === finding.layer)) roots.add(root.rootId);
  }

  /** Damaged ones, of the layers that the root may have them from. */
  inodesOf({ layers }: RootDocument): string[] {
    const own = new Set<string | undefined>(layers);
    return this.#told.flatMap(({ finding, inode }) => (inode !== undefined && own.has(finding.layer) ? [inode] : []));
  }

  result(): { findings: Finding[]; total: number; entries: number; bytes: number } {
    const findings = this.#told.map(({ finding, roots }) =>
      roots.size === 0 ? finding : { ...finding, roots: [...roots].map((rootId) => this.#named(rootId)) },
    );
    return { findings, total: this.#total, entries: this.#entries, bytes: this.#bytes };
  }

  #tree(of: Pick<Finding, "layer" | "root">, results: readonly VerifyResult[]): void {
    // Contents that are read in slices tell the attributes too: one finding a path, the graver one.
    const byPath = new Map<string, TreeFinding>();
    for (const { findings, total, entries, bytes } of results) {
      this.#entries += entries;
      this.#bytes += bytes;
      let repeated = 0;
      for (const finding of findings) {
        const key = `${finding.path}\0${finding.spill ?? ""}`;
        const known = byPath.get(key);
        if (known !== undefined) repeated += 1;
        if (known === undefined || isGraver(finding.code, known.code)) byPath.set(key, finding);
      }
      this.#total += total - repeated;
    }
    for (const { code, path, detail, inode } of byPath.values()) {
      const told = this.#list({ code, ...of, path: printableName(path, 4096), detail }, inode);
      if (told !== undefined && inode !== undefined && of.layer !== undefined) this.#byInode.set(inode, told);
    }
  }

  #tell(finding: Finding): Told | undefined {
    this.#total += 1;
    return this.#list(finding);
  }

  #list(finding: Finding, inode?: string): Told | undefined {
    if (this.#told.length >= MAX_FINDINGS_TOLD) return undefined;
    const told = { finding, inode, roots: new Set<string>() };
    this.#told.push(told);
    return told;
  }

  #named(rootId: string): { rootId: string; names: string[] } {
    return { rootId, names: this.#store.names.of(rootId).map(({ name }) => name) };
  }
}

const isGraver = (code: FindingCode, than: FindingCode): boolean => code === "CONTENT" && than === "MODE";
