/**
 * `layers`: what is unpacked in the store, and how many roots share it.
 */
import { withDaemon } from "../connect.js";
import { layerTable } from "../listings.js";
import { allLayers } from "../pages.js";
import type { Verb } from "../verb.js";

export const layers: Verb = {
  name: "layers",
  summary: "list the unpacked layers, and how many roots share each",
  define: (command) => {
    command.addHelpText(
      "after",
      "\nSHARED is what links to its files save: where several roots have them, more than its size.",
    );
  },
  run: async (context) => {
    const found = await withDaemon(context, allLayers);
    if (context.document) context.print({ layers: found });
    else context.result(...layerTable(found, { nowMs: Date.now(), quiet: context.globals.quiet }));
    return 0;
  },
};
