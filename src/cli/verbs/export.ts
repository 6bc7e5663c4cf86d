/**
 * `export NAME... FILE`: names with their layers into one oci-archive, for a store that reaches no registry. Ctrl-C leaves no file.
 */
import { resolve } from "node:path";
import { Option } from "commander";
import { formatSize } from "../../byte-size.js";
import { StrataError } from "../../errors.js";
import { type PackCodec, packCodecs } from "../../oci/media-types.js";
import { parseKnownName } from "../../oci/reference.js";
import { printable } from "../../printable.js";
import { withDaemon } from "../connect.js";
import type { Context } from "../context.js";
import { listenForInterrupt } from "../interrupt.js";
import { plural } from "../text.js";
import type { Verb } from "../verb.js";

/** Lines of progress in all: one for each so many percent. */
const STEP_PERCENT = 25;

export const exportNames: Verb = {
  name: "export",
  summary: "write installed names with their layers into an oci-archive",
  define: (command) => {
    command.usage("[options] <names...> <file>");
    command.argument("<names...>", "as `stratad roots` lists them, and last the file to write");
    command
      .addOption(new Option("--codec <codec>", "how layers are compressed (default: gzip)").choices(packCodecs))
      .option("--force", "replace the file where there is one");
  },
  run: async (context, args, options) => {
    const { names, path } = placesOf(args, context.host.cwd);
    const params = {
      names,
      path,
      ...(options.codec === undefined ? {} : { codec: options.codec as PackCodec }),
      ...(options.force === true ? { force: true } : {}),
    };
    const interrupt = listenForInterrupt(context.host);
    interrupt.happened.then(
      () => context.giveUp(new StrataError("CANCELLED", "Cannot finish the export: interrupted")),
      () => {},
    );
    try {
      const show = showProgress(context);
      const answer = await withDaemon(context, (client) => client.follow("store/export", params, show));
      const layers = new Set(answer.images.flatMap((image) => image.layers.map(({ digest }) => digest))).size;
      const what = `${plural(answer.images.length, "image")}, ${plural(layers, "layer")}`;
      context.message(`${printable(answer.path, 8192)}: ${what}, ${formatSize(answer.bytes)}`);
      if (context.document) context.print(answer);
      else context.result(printable(answer.path, 8192));
      return 0;
    } finally {
      interrupt.stop();
    }
  },
};

/** USAGE; INVALID_NAME. */
function placesOf(args: readonly string[], cwd: string): { names: string[]; path: string } {
  const [file, names] = [args.at(-1) ?? "", args.slice(0, -1)];
  if (names.length === 0)
    throw new StrataError("USAGE", "Cannot read the command line: there is no name before the file", {
      hint: "`stratad export NAME... FILE`: first the names, last the file to write.",
    });
  return { names: names.map(parseKnownName), path: resolve(cwd, file) };
}

function showProgress(context: Context): (value: { readonly percentage?: number | undefined }) => void {
  let shown = 0;
  return (value) => {
    context.event({ progress: value });
    const { percentage = 0 } = value;
    if (percentage < shown + STEP_PERCENT || percentage >= 100) return;
    shown = percentage - (percentage % STEP_PERCENT);
    context.message(`export: ${shown}% packed`);
  };
}
