/**
 * `rm NAME`: takes a name away. Layers that nothing else needs are left to the collector.
 */
import { parseKnownName } from "../../oci/reference.js";
import { printable } from "../../printable.js";
import { withDaemon } from "../connect.js";
import { shortDigest, shown } from "../text.js";
import type { Verb } from "../verb.js";

export const rm: Verb = {
  name: "rm",
  summary: "remove an installed name",
  define: (command) => {
    command.argument("<name>", "as `stratad roots` lists it");
  },
  run: async (context, [text = ""]) => {
    const name = parseKnownName(text);
    const root = await withDaemon(context, (client) => client.request("root/remove", { name }));
    if (context.document) context.print(root);
    else context.result(printable(name));
    if (root.stays !== undefined) context.message(`its root ${shortDigest(root.rootId)} stays: ${shown(root.stays)}`);
    // Where no other name keeps it.
    if (root.pinned && root.names.length <= 1)
      context.message(`hint: \`stratad unpin ${printable(root.rootId)}\` lets it go.`);
    return 0;
  },
};
