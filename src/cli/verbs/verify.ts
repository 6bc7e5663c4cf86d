/**
 * `verify [NAME|DIGEST]`: whether the store is as it was made, and with --repair makes it so. Exits with 65 where a finding is left.
 */
import type { Params } from "../../messages/methods.js";
import type { Finding } from "../../messages/verification.js";
import { parseName } from "../../oci/reference.js";
import { withDaemon } from "../connect.js";
import { checkedLine, findingLines } from "../finding-view.js";
import type { Verb } from "../verb.js";

const FINDING_EXIT_CODE = 65;

export const verify: Verb = {
  name: "verify",
  summary: "check that the store is as it was made, and repair what is not",
  define: (command) => {
    command.argument("[name|digest]", "a name, a layer's or a manifest's digest (default: everything)");
    command.option("--deep", "read every file of layers and roots too");
    command.option("--repair", "fetch again what is damaged, and only that");
  },
  run: async (context, [text], options) => {
    const params: Params<"store/verify"> = {
      ...(text === undefined ? {} : subjectOf(text)),
      ...(options.deep === true ? { deep: true } : {}),
      ...(options.repair === true ? { repair: true } : {}),
    };
    const answer = await withDaemon(context, (client) => client.request("store/verify", params));
    if (context.document) context.print(answer);
    else {
      context.result(...findingLines(answer));
      context.message(checkedLine(answer));
      if (options.repair !== true && answer.findings.some(isRepairable))
        context.message("hint: The same with --repair repairs what can be repaired.");
    }
    return answer.findingsTotal === 0 ? 0 : FINDING_EXIT_CODE;
  },
};

/** What is nothing of the store's is left to whoever put it there. */
const isRepairable = ({ code }: Finding): boolean => code !== "STRANGER";

/** No name has a colon. INVALID_NAME. */
const subjectOf = (text: string): { name: string } | { digest: string } =>
  text.includes(":") ? { digest: text } : { name: parseName(text) };
