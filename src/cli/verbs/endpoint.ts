/**
 * `endpoint`: where the daemon that answers listens, for plugins that should not know paths. Starts one with `--spawn` only.
 */
import { join } from "node:path";
import type { StratadClient } from "../../client/client.js";
import { readEndpointDocument, SYSTEM_ENDPOINT_FILE } from "../../client/endpoint.js";
import { StrataError } from "../../errors.js";
import type { EndpointDocument } from "../../messages/endpoint.js";
import { printable } from "../../printable.js";
import { withDaemon } from "../connect.js";
import type { Context } from "../context.js";
import { userConfig } from "../spawn.js";
import { formatTable } from "../tables.js";
import type { Verb } from "../verb.js";

export const endpoint: Verb = {
  name: "endpoint",
  summary: "print where the daemon listens",
  define: (command) => {
    command.option("--spawn", "start the daemon where none answers");
  },
  run: async (context, _args, options) => {
    const spawn = options.spawn === true;
    const document = await withDaemon(context, (client) => findDocument(context, client), { spawn });
    if (context.document) context.print(document);
    else context.result(...endpointLines(document));
    return 0;
  },
};

/** The daemon.json that this very daemon wrote: one that another left behind would mislead. */
async function findDocument({ host }: Context, client: StratadClient): Promise<EndpointDocument> {
  const { runtimeDir } = await userConfig(host);
  for (const file of [join(runtimeDir, "daemon.json"), SYSTEM_ENDPOINT_FILE]) {
    const document = await readEndpointDocument(file).catch(() => undefined);
    if (document?.instanceId === client.server.instanceId) return document;
  }
  throw new StrataError(
    "DAEMON_UNREACHABLE",
    "Cannot find the daemon's daemon.json: the one that answers wrote none here",
    {
      hint: "A daemon with another runtime directory answers; its own user can ask.",
    },
  );
}

/** As `--endpoint` takes them. */
function endpointLines({ endpoints }: EndpointDocument): string[] {
  const rows = endpoints.flatMap(({ scope, path, url }) => {
    const address = path === undefined ? url : `unix:${path}`;
    return address === undefined ? [] : [[scope, printable(address, 4096)]];
  });
  return formatTable(undefined, rows);
}
