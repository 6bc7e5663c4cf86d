/**
 * `plan REF`: what an install would do, and what it would be refused for. Exits as that install would: 65 where there are conflicts,
 * with the plan printed all the same.
 */
import { codeTable } from "../../errors.js";
import { withDaemon } from "../connect.js";
import { addRootOptions, imageRequest, REFERENCE_FORMS } from "../image-request.js";
import { planLines } from "../plan-view.js";
import type { Verb } from "../verb.js";

export const plan: Verb = {
  name: "plan",
  summary: "show what an install would fetch, write and share, and change nothing",
  define: (command) => {
    command.argument("<reference>", REFERENCE_FORMS);
    addRootOptions(command);
  },
  run: async (context, [text = ""], options) => {
    const request = await imageRequest(text, options, context.host.cwd);
    const answer = await withDaemon(context, (client) => client.request("install/plan", request));
    if (context.document) context.print(answer);
    else context.result(...planLines(answer, { quiet: context.globals.quiet }));
    return answer.conflicts.length === 0 ? 0 : codeTable.LAYER_OVERLAP.exitCode;
  },
};
