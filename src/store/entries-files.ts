/** Where the entries of a stored layer and of a root stand, and what they hash to. Pure. */
import type { EntriesFile } from "../root-tasks.js";
import type { LayerDocument } from "../tasks.js";
import type { StoreLayout } from "./layout.js";

export const changesetOf = (
  layout: StoreLayout,
  { diffId, changesetSha256: sha256 }: Pick<LayerDocument, "diffId" | "changesetSha256">,
): EntriesFile => ({ kind: "changeset", path: layout.changeset(diffId), sha256 });

export const planOf = (layout: StoreLayout, rootId: string, sha256: string): EntriesFile => ({
  kind: "plan",
  path: layout.rootPlan(rootId),
  sha256,
});
