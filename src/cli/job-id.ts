/**
 * How a job is named on the command line: by the UUID that `install --detach` and `ps` print.
 */
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";

export const isJobId = (text: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

/** The daemon's spelling of the UUID. Throws USAGE for anything else. */
export function parseJobId(text: string): string {
  if (isJobId(text)) return text.toLowerCase();
  throw new StrataError("USAGE", `Cannot find the job '${printable(text, 128)}': it is not a UUID`, {
    hint: "`stratad ps` lists the jobs.",
  });
}
