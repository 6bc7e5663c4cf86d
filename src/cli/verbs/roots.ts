/**
 * `roots`: what is installed, by name.
 */
import { withDaemon } from "../connect.js";
import { rootTable } from "../listings.js";
import { allRoots } from "../pages.js";
import type { Verb } from "../verb.js";

export const roots: Verb = {
  name: "roots",
  summary: "list what is installed, and where it stands",
  define: () => {},
  run: async (context) => {
    const found = await withDaemon(context, allRoots);
    if (context.document) context.print({ roots: found });
    else context.result(...rootTable(found, { nowMs: Date.now(), quiet: context.globals.quiet }));
    return 0;
  },
};
