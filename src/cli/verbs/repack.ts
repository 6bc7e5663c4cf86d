/**
 * `repack IN=OUT... --out oci:DIR`: images in, the same images with shared layers out. Needs no daemon: all that it makes stands in a directory
 * of its own until it is published, and goes with it. Ctrl-C leaves nothing.
 */
import { access, constants, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { loadConfig } from "../../config.js";
import { StrataError, systemErrorCode } from "../../errors.js";
import { createLog } from "../../log.js";
import { printable } from "../../printable.js";
import { RepackProgress } from "../../repack/repack-progress.js";
import type { RepackReport } from "../../repack/repack-report.js";
import type { RepackRequest } from "../../repack/repacker.js";
import { sharingPicture } from "../../repack/sharing-picture.js";
import type { Context } from "../context.js";
import { listenForInterrupt } from "../interrupt.js";
import { showRepack } from "../repack-progress-view.js";
import { addRepackOptions, type RepackPlace, repackPlace, repackRequest } from "../repack-request.js";
import { repackLines } from "../repack-view.js";
import type { Verb } from "../verb.js";
import { configInput } from "./serve.js";

export const repack: Verb = {
  name: "repack",
  summary: "write images again, with what they share in layers that they share",
  define: (command) => {
    command.usage("[options] <IN=OUT...> --out <place>");
    command.argument("<images...>", "a reference, and behind its last = what the image is to be called");
    addRepackOptions(command);
  },
  run: async (context, args, options) => {
    const { cwd } = context.host;
    const place = repackPlace(options, cwd);
    const request = repackRequest(args, options, context.host);
    const picture = typeof options.picture === "string" ? resolve(cwd, options.picture) : undefined;
    if (picture !== undefined) await drawing(picture, () => access(dirname(picture), constants.W_OK));
    const report = await repacked(context, place, request);
    if (context.document) context.print(report);
    else context.result(...repackLines(report, { policy: request.policy, quiet: context.globals.quiet }));
    if (picture !== undefined) await drawing(picture, () => writeFile(picture, sharingPicture(report)));
    return 0;
  },
};

/** USAGE: looked at before all the work, and told after it. */
async function drawing(picture: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    const fact = systemErrorCode(error) ?? "it cannot be written";
    throw new StrataError("USAGE", `Cannot draw the picture ${printable(picture, 1024)}: ${fact}`, {
      hint: "Name a file in a directory that is there and may be written to.",
      cause: error,
    });
  }
}

async function repacked(
  context: Context,
  place: RepackPlace | undefined,
  request: RepackRequest,
): Promise<RepackReport> {
  const { host, signal } = context;
  const interrupt = listenForInterrupt(host, { ownWork: true });
  void interrupt.happened.then(() =>
    context.giveUp(new StrataError("CANCELLED", "Cannot finish the repack: interrupted")),
  );
  context.givenUp().catch(() => undefined);
  const progress = new RepackProgress();
  const view = showRepack(context, progress);
  try {
    const config = await loadConfig(configInput(host, {}));
    const log = createLog("error", context.log);
    // Only here: no other verb pays for loading what unpacks.
    const { runRepack } = await import("../../repacking.js");
    return await runRepack({ config, log, place, temporary: host.tmpdir }, request, { signal, progress });
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    view.finish();
    interrupt.stop();
  }
}
