/**
 * `du`: what each root costs, and what sharing layers saves.
 */
import { withDaemon } from "../connect.js";
import { usageTable } from "../listings.js";
import type { Verb } from "../verb.js";

export const du: Verb = {
  name: "du",
  summary: "show what roots cost: apparent, unique and shared bytes",
  define: (command) => {
    command.addHelpText(
      "after",
      [
        "",
        "APPARENT  bytes of a root's files",
        "UNIQUE    bytes that only this root needs: what removing it gives back at most;",
        "          in total, what the store holds",
        "SHARED    bytes in layers that another root uses too; in total, what linking saves",
      ].join("\n"),
    );
  },
  run: async (context) => {
    const usage = await withDaemon(context, (client) => client.request("store/usage", {}));
    if (context.document) context.print(usage);
    else context.result(...usageTable(usage, { quiet: context.globals.quiet }));
    return 0;
  },
};
