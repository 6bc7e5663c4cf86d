/**
 * `version`: which release this is, without asking a daemon.
 */
import { PROTOCOL_VERSION } from "../../messages/protocol.js";
import { ownVersion } from "../../version.js";
import type { Verb } from "../verb.js";

export const version: Verb = {
  name: "version",
  summary: "print the version of this command",
  define: () => {},
  run: async (context) => {
    const own = await ownVersion();
    const node = process.version;
    if (context.document) context.print({ version: own, protocol: PROTOCOL_VERSION, node });
    else context.result(`stratad ${own} (protocol ${PROTOCOL_VERSION}, node ${node})`);
    return 0;
  },
};
