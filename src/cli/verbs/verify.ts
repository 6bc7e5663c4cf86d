/**
 * `verify [NAME|DIGEST]`: whether the store is as it was made, and with --repair makes it so. Exits with 65 where a finding is left.
 */
import type { StratadClient } from "../../client/client.js";
import type { Params } from "../../messages/methods.js";
import type { Finding } from "../../messages/verification.js";
import { parseKnownName } from "../../oci/reference.js";
import { withDaemon } from "../connect.js";
import { checkedLine, findingLines } from "../finding-view.js";
import { isName, wholeDigest } from "../short-ids.js";
import type { Verb } from "../verb.js";

const FINDING_EXIT_CODE = 65;

export const verify: Verb = {
  name: "verify",
  summary: "check that the store is as it was made, and repair what is not",
  define: (command) => {
    command.argument(
      "[name|digest]",
      "a name, a layer's or a manifest's digest, or how that begins (default: everything)",
    );
    command.option("--deep", "read every file of layers and roots too");
    command.option("--repair", "mend what can be mended; a layer is fetched again only where its contents are damaged");
  },
  run: async (context, [text], options) => {
    const how: Params<"store/verify"> = {
      ...(options.deep === true ? { deep: true } : {}),
      ...(options.repair === true ? { repair: true } : {}),
    };
    // No name has a colon.
    if (text !== undefined && !text.includes(":")) parseKnownName(text);
    const answer = await withDaemon(context, async (client) =>
      client.request("store/verify", { ...how, ...(text === undefined ? {} : await subjectOf(client, text)) }),
    );
    if (context.document) context.print(answer);
    else {
      context.result(...findingLines(answer));
      context.message(checkedLine(answer));
      if (options.deep !== true) context.message("Contents were not read; --deep reads them too.");
      if (options.repair !== true && answer.findings.some(isRepairable))
        context.message("hint: The same with --repair repairs what can be repaired.");
    }
    return answer.findingsTotal === 0 ? 0 : FINDING_EXIT_CODE;
  },
};

/** What is nothing of the store's is left to whoever put it there. */
const isRepairable = ({ code }: Finding): boolean => code !== "STRANGER";

async function subjectOf(client: StratadClient, text: string): Promise<{ name: string } | { digest: string }> {
  if (!text.includes(":") && (await isName(client, text))) return { name: text };
  return { digest: await wholeDigest(client, text) };
}
