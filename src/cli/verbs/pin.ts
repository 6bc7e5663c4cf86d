/**
 * `pin NAME` and `unpin NAME`: keep the root that a name has, also when no name has it any more; or let it go again.
 */
import { parseKnownName } from "../../oci/reference.js";
import { printable } from "../../printable.js";
import { withDaemon } from "../connect.js";
import { isName, wholeRootId } from "../short-ids.js";
import type { Verb } from "../verb.js";

export const pin = pinning("pin", "keep the root that a name has, whatever becomes of the name");
export const unpin = pinning("unpin", "take a pin back: the root goes when nothing else needs it");

function pinning(name: "pin" | "unpin", summary: string): Verb {
  return {
    name,
    summary,
    define: (command) => {
      command.argument("<name>", "as `stratad roots` lists it, or the id of a root, or how that begins");
    },
    run: async (context, [text = ""]) => {
      const rootName = parseKnownName(text);
      const pinned = name === "pin";
      const { before, root } = await withDaemon(context, async (client) => {
        const isGiven = await isName(client, text);
        const which = isGiven ? { name: rootName } : { rootId: await wholeRootId(client, text) };
        const before = pinned ? undefined : await client.request("root/get", which);
        return { before, root: await client.request("root/pin", { ...which, pinned }) };
      });
      if (context.document) context.print(root);
      else context.result(printable(root.rootId));
      if (before?.pinned === false) {
        context.message("it was not pinned");
        context.message(
          "hint: `stratad roots` shows which are; a pin is of a root, and stays with it when its name gets another.",
        );
      }
      if (!pinned && root.heldFor !== undefined) context.message(`it is held for ${printable(root.heldFor, 256)}`);
      return 0;
    },
  };
}
