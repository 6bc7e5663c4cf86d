/**
 * `pin NAME` and `unpin NAME`: keep the root that a name has, also when no name has it any more; or let it go again.
 */
import { parseName } from "../../oci/reference.js";
import { printable } from "../../printable.js";
import { withDaemon } from "../connect.js";
import type { Verb } from "../verb.js";

export const pin = pinning("pin", "keep the root that a name has, whatever becomes of the name");
export const unpin = pinning("unpin", "take a pin back: the root goes when nothing else needs it");

function pinning(name: "pin" | "unpin", summary: string): Verb {
  return {
    name,
    summary,
    define: (command) => {
      command.argument("<name>", "as `stratad roots` lists it, or the id of a root");
    },
    run: async (context, [text = ""]) => {
      const which = ROOT_ID.test(text) ? { rootId: text } : { name: parseName(text) };
      const params = { ...which, pinned: name === "pin" };
      const root = await withDaemon(context, (client) => client.request("root/pin", params));
      if (context.document) context.print(root);
      else context.result(printable(root.rootId));
      return 0;
    },
  };
}

/** Who unpins a root that no name has any more has only its id. */
const ROOT_ID = /^[0-9a-f]{64}$/;
