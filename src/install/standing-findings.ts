/**
 * What verifications left in the store, as far as the last of them tell: what a later one finds mended is not told any more.
 */
import type { ServerStatus } from "../messages/methods.js";
import type { Finding } from "../messages/verification.js";

/** One verification. */
export interface Verified {
  /** The first of what it left, of so many. */
  readonly left: readonly Finding[];
  readonly leftTotal: number;
  readonly repaired: readonly Finding[];
  /** It read contents too. */
  readonly deep: boolean;
  readonly isOfAll: boolean;
}

export class StandingFindings {
  #view: ServerStatus["findings"];
  #known = new Set<string>();

  /** Undefined where nothing is known to be wrong. */
  get view(): ServerStatus["findings"] {
    return this.#view;
  }

  add({ left, leftTotal, repaired, deep, isOfAll }: Verified): void {
    const standing = this.#view;
    if (leftTotal > 0) {
      this.#view = { total: leftTotal, at: new Date().toISOString(), deep };
      this.#known = new Set(left.map(keyOf));
    } else if (standing !== undefined) {
      const mended = repaired.filter((finding) => this.#known.delete(keyOf(finding))).length;
      const total = standing.total - mended;
      // One that reads no contents cannot say that they are whole.
      const isClean = isOfAll && (deep || !standing.deep);
      this.#view = isClean || total <= 0 ? undefined : { ...standing, total };
    }
  }
}

const keyOf = ({ code, layer, root, path }: Finding): string => JSON.stringify([code, layer, root, path]);
