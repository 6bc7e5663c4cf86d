/**
 * How a job is named on the command line: by the UUID that `install --detach` and `ps` print, or by what it begins with.
 */
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";

export const isJobId = (text: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

export const mayBeginJobId = (text: string) => /^[0-9a-f]{6}[0-9a-f-]{0,30}$/i.test(text);

/** A UUID in the daemon's spelling, or the beginning of one (short-ids.ts). Throws USAGE for anything else. */
export function parseJobId(text: string): string {
  if (isJobId(text) || mayBeginJobId(text)) return text.toLowerCase();
  throw new StrataError(
    "USAGE",
    `Cannot find the job '${printable(text, 128)}': it is not a UUID, nor six digits of one`,
    {
      hint: "`stratad ps` lists the jobs.",
    },
  );
}
