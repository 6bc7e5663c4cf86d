/**
 * `gc`: removes what nothing needs any more, or says with `--plan` what that is and why each thing would go or stay.
 */
import { StrataError } from "../../errors.js";
import { MAX_GENERATIONS } from "../../limits.js";
import { printable } from "../../printable.js";
import { bytesOption } from "../bytes-option.js";
import { collectionLines, collectionSummary } from "../collection-view.js";
import { withDaemon } from "../connect.js";
import type { Options, Verb } from "../verb.js";

export const gc: Verb = {
  name: "gc",
  summary: "remove what no name, pin or running install needs",
  define: (command) => {
    command.option("--plan", "say what would go and what would stay, each with the reason, and remove nothing");
    command.option(
      "--keep-bytes <bytes>",
      "of layers that no root needs, keep those used last up to this: 500MB, 2GiB",
    );
    command.option("--keep-last <count>", "generations of each name to keep (default: the setting keep_generations)");
  },
  run: async (context, _args, options) => {
    const request = {
      plan: options.plan === true,
      ...bytesOption(options, "keepBytes", "--keep-bytes"),
      ...keepLast(options),
    };
    const answer = await withDaemon(context, (client) => client.request("store/gc", request));
    if (context.document) context.print(answer);
    else if (answer.plan) context.result(...collectionLines(answer, { quiet: context.globals.quiet }));
    else context.result(collectionSummary(answer));
    return 0;
  },
};

/** USAGE for anything but a number of generations. */
function keepLast({ keepLast: text }: Options): { keepLast?: number } {
  if (typeof text !== "string") return {};
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= MAX_GENERATIONS) return { keepLast: count };
  const fact = `'${printable(text, 64)}' is not a number from 1 to ${MAX_GENERATIONS}`;
  throw new StrataError("USAGE", `Cannot read --keep-last: ${fact}`, {
    hint: "`stratad status NAME` lists the generations of a name.",
  });
}
