/**
 * `rollback NAME [GEN]`: makes the generation before the current one current again, or the one that is asked for.
 */
import { StrataError } from "../../errors.js";
import type { Root } from "../../messages/root.js";
import { parseKnownName } from "../../oci/reference.js";
import { printable } from "../../printable.js";
import { withDaemon } from "../connect.js";
import type { Verb } from "../verb.js";

export const rollback: Verb = {
  name: "rollback",
  summary: "go back to an earlier generation of a name, and print where it stands",
  define: (command) => {
    command.argument("<name>", "as `stratad roots` lists it");
    command.argument("[generation]", "as `stratad status NAME` lists it (default: the one before the current)");
  },
  run: async (context, [text = "", number]) => {
    const name = parseKnownName(text);
    const params = { name, ...(number === undefined ? {} : { generation: parseGeneration(number) }) };
    const answer = await withDaemon(context, (client) => client.request("root/rollback", params));
    if (context.document) {
      context.print(answer);
      return 0;
    }
    const [had, has] = [namedIn(answer.had, name), namedIn(answer.has, name)];
    context.message(`${printable(name)}: ${changeWords(had?.generation, has?.generation)}`);
    context.result(printable(has?.path ?? answer.has.path, 8192));
    return 0;
  },
};

/** USAGE for anything but a number that a generation may have. */
function parseGeneration(text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new StrataError("USAGE", `Cannot read the generation: '${printable(text, 64)}' is not a number from 1`, {
    hint: "`stratad status NAME` lists the generations of a name.",
  });
}

const namedIn = (root: Root | undefined, name: string) => root?.names.find((named) => named.name === name);

function changeWords(had: number | undefined, has: number | undefined): string {
  if (had === has) return `generation ${has} is current already`;
  return `generation ${has} is current${had === undefined ? "" : `, it was ${had}`}`;
}
