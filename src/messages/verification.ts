/** What a verification looked at and found. */
import { z } from "zod";
import { findingCodes } from "../finding-codes.js";
import { count, digest } from "./fields.js";

/** Something in the store that is not as it was made. */
export const Finding = z.object({
  code: z.enum(findingCodes),
  layer: digest.optional(),
  root: z.string().optional(),
  /** Below the layer's or the root's tree, or one of its documents; without either, below the state directory. Escaped. */
  path: z.string(),
  detail: z.string(),
  /** The roots that show a damaged file of a layer; `names` are those whose current generation it is. */
  roots: z.array(z.object({ rootId: z.string(), names: z.array(z.string()) })).optional(),
  /** Why it could not be repaired, where that was asked for. */
  unrepaired: z.string().optional(),
});
export type Finding = z.infer<typeof Finding>;

export const Verification = z.object({
  /** What was looked at; bytes are contents that were read. */
  checked: z.object({ layers: count, roots: count, documents: count, entries: count, bytes: count }),
  /** What is left, the first of it, and how much there is. */
  findings: z.array(Finding),
  findingsTotal: count,
  /** What was found and mended; only where that was asked for. */
  repaired: z.array(Finding).optional(),
  repairedTotal: count.optional(),
});
export type Verification = z.infer<typeof Verification>;
