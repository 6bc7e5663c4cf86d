/**
 * What `install` and `plan` ask the daemon for alike: an image, and the options that decide which root it becomes.
 */
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { linkModes, overlaps } from "../choices.js";
import { StrataError } from "../errors.js";
import type { Params } from "../messages/methods.js";
import { formatReference, parseName, parseReference, withAbsolutePath } from "../oci/reference.js";
import { printable } from "../printable.js";
import { given, type Options } from "./verb.js";

/** What a reference looks like, for the help of an argument. */
export const REFERENCE_FORMS = "oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE or HOST/NAME:TAG";

export function addRootOptions(command: Command): void {
  command
    .option("--name <name>", "the name to install under (default: the tag, or the last part of the repository)")
    .option("--platform <os/arch>", "which platform of an index (default: the host's)")
    .addOption(
      new Option(
        "--overlap <policy>",
        "c: layers share no top-level name; b: no file; a: any, as ordinary images (default: the daemon's, c)",
      ).choices(overlaps),
    )
    .addOption(new Option("--link <mode>", "how a root gets its files (default: hardlink)").choices(linkModes));
}

const HAS_TRANSPORT = /^(?:docker|oci|oci-archive|docker-archive):/;

/** The path of a layout or an archive, with a tag or without, would be asked of Docker Hub, or be no reference. */
async function refuseBarePath(text: string, cwd: string): Promise<void> {
  if (HAS_TRANSPORT.test(text)) return;
  for (const path of new Set([text, text.replace(/[:@][^/]*$/, "")])) {
    const found = await standsAt(resolve(cwd, path));
    if (found === undefined) continue;
    const shown = printable(text, 1024);
    throw new StrataError("INVALID_REFERENCE", `Cannot read the reference '${shown}': it is ${found.what}'s path`, {
      hint: `As a path it is ${found.transports.map((transport) => `${transport}:${shown}`).join(" or ")}, as a registry's image docker://${shown}.`,
    });
  }
}

/** A registry's image may have the name of a file that is no archive. */
async function standsAt(path: string): Promise<{ what: string; transports: readonly string[] } | undefined> {
  const isThere = (at: string) =>
    stat(at).then(
      (stats) => stats.isFile(),
      () => false,
    );
  if (await isThere(join(path, "oci-layout"))) return { what: "a layout", transports: ["oci"] };
  if (!/\.tar(?:\.\w+)?$/.test(path) || !(await isThere(path))) return undefined;
  return { what: "an archive", transports: ["oci-archive", "docker-archive"] };
}

/** INVALID_REFERENCE, INVALID_NAME before anything is asked. Commander has checked the choices. */
export async function imageRequest(text: string, options: Options, cwd: string): Promise<Params<"install/plan">> {
  await refuseBarePath(text, cwd);
  const choices = ["overlap", "link"].filter((key) => options[key] !== undefined);
  return {
    reference: formatReference(withAbsolutePath(parseReference(text), cwd)),
    ...(typeof options.name === "string" ? { name: parseName(options.name) } : {}),
    ...given(options, "platform"),
    ...Object.fromEntries(choices.map((key) => [key, options[key]])),
  };
}
