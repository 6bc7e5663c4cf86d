/** Roots whose files share their blocks with the store's: only where the state's file system can. */

import type { LinkMode } from "../choices.js";
import { StrataError } from "../errors.js";
import { fileSystemName } from "../store/probes.js";
import type { Store } from "../store/store.js";

/** NO_REFLINK, with the file system named. */
export async function refuseWithoutReflink(link: LinkMode, store: Store): Promise<void> {
  if (link !== "reflink" || store.canReflink) return;
  const fact = `${await fileSystemName(store.layout.state)} does not let files share their blocks`;
  throw new StrataError("NO_REFLINK", `Cannot link the root: ${fact}`, { phase: "link" });
}
