/**
 * What `install` and `plan` ask the daemon for alike: an image, and the options that decide which root it becomes.
 */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
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

/** The path of a layout alone would be asked of Docker Hub, or be no reference. */
async function refuseBareLayout(text: string, cwd: string): Promise<void> {
  const found = await stat(resolve(cwd, text, "oci-layout")).catch(() => undefined);
  if (found === undefined) return;
  throw new StrataError(
    "INVALID_REFERENCE",
    `Cannot read the reference '${printable(text, 1024)}': it is a layout's path`,
    {
      hint: `The layout is oci:${printable(text, 1024)}, a registry's image of that name docker://${printable(text, 1024)}.`,
    },
  );
}

/** INVALID_REFERENCE, INVALID_NAME before anything is asked. Commander has checked the choices. */
export async function imageRequest(text: string, options: Options, cwd: string): Promise<Params<"install/plan">> {
  await refuseBareLayout(text, cwd);
  const choices = ["overlap", "link"].filter((key) => options[key] !== undefined);
  return {
    reference: formatReference(withAbsolutePath(parseReference(text), cwd)),
    ...(typeof options.name === "string" ? { name: parseName(options.name) } : {}),
    ...given(options, "platform"),
    ...Object.fromEntries(choices.map((key) => [key, options[key]])),
  };
}
