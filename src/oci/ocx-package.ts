/**
 * The config of an OCX package, as far as it decides what an image root holds: how many leading components come off the paths of
 * each layer that says nothing itself (`strip_components`). Environment, entry points and dependencies are the package manager's.
 */
import { StrataError } from "../errors.js";
import { MAX_PLACEMENT_SHOWN, MAX_STRIP_COMPONENTS } from "../limits.js";
import { printable } from "../printable.js";
import type { Descriptor } from "./documents.js";
import { parseJson } from "./json.js";

export const OCX_CONFIG = "application/vnd.sh.ocx.package.v1+json";

/** As a layer's annotation has it. */
const STRIP = "sh.ocx.layer.strip-components";

/** 0 where it says nothing. MANIFEST_INVALID, MANIFEST_TOO_BIG, PLACEMENT_INVALID. */
export function parseDefaultStrip(bytes: Uint8Array): number {
  const what = "the package's config";
  const document = parseJson(bytes, what);
  if (typeof document !== "object" || document === null || Array.isArray(document))
    throw new StrataError("MANIFEST_INVALID", `Cannot read ${what}: it is not a JSON object`);
  const { strip_components: strip } = document as { readonly strip_components?: unknown };
  if (strip == null) return 0;
  if (typeof strip === "number" && Number.isInteger(strip) && strip >= 0 && strip <= MAX_STRIP_COMPONENTS) return strip;
  const shown = printable(JSON.stringify(strip), MAX_PLACEMENT_SHOWN);
  const fact = `strip_components \`${shown}\` of its config is no number from 0 to ${MAX_STRIP_COMPONENTS}`;
  throw new StrataError("PLACEMENT_INVALID", `Cannot place the layers of the package: ${fact}`);
}

/** The layer's descriptor as if it had said itself what holds for it. */
export function withDefaultStrip(descriptor: Descriptor, strip: number): Descriptor {
  if (strip === 0 || descriptor.annotations?.[STRIP] !== undefined) return descriptor;
  return { ...descriptor, annotations: { ...descriptor.annotations, [STRIP]: String(strip) } };
}
