/**
 * A verification for people: a line for each finding, with the roots that show it, and what was looked at.
 *
 * Pure; escaped.
 */
import { formatSize } from "../byte-size.js";
import type { Finding, Verification } from "../messages/verification.js";
import { printable } from "../printable.js";
import { plural, shortDigest, shown } from "./text.js";

export function findingLines({ findings, findingsTotal, repaired = [], repairedTotal = 0 }: Verification): string[] {
  return [
    ...repaired.flatMap((finding) => linesOf(finding, "repaired")),
    ...more(repairedTotal - repaired.length, "repaired"),
    ...findings.flatMap((finding) => linesOf(finding)),
    ...more(findingsTotal - findings.length),
  ];
}

export function checkedLine({ checked, findingsTotal, repairedTotal }: Verification): string {
  const { layers, roots, documents, entries, bytes } = checked;
  const read = entries === 0 ? "" : `, ${entries} entries, ${formatSize(bytes)} read`;
  const kept = documents === 0 ? "" : `, ${plural(documents, "document")}`;
  const mended = repairedTotal === undefined ? "" : `${plural(repairedTotal, "finding")} repaired, `;
  const left = repairedTotal === undefined ? plural(findingsTotal, "finding") : `${findingsTotal} left`;
  return `checked ${plural(layers, "layer")}, ${plural(roots, "root")}${kept}${read}: ${mended}${left}`;
}

function linesOf({ code, layer, root, path, detail, roots = [], unrepaired }: Finding, how = ""): string[] {
  const where =
    layer !== undefined ? `layer ${shortDigest(layer)}` : root !== undefined ? `root ${shortDigest(root)}` : "store";
  const place = path === "" ? where : `${where}  ${shown(path, 4096)}`;
  const who = roots.map(({ rootId, names }) =>
    names.length === 0 ? `root ${shortDigest(rootId)}` : names.map((name) => printable(name, 512)).join(", "),
  );
  return [
    `${how === "" ? "" : `${how}  `}${code}  ${place}: ${withShortDigests(shown(detail, 2048))}`,
    ...(who.length === 0 ? [] : [`  shown by ${who.join(", ")}`]),
    ...(unrepaired === undefined ? [] : [`  not repaired: ${shown(unrepaired, 2048)}`]),
  ];
}

/** The whole ones stand in the JSON document. */
const withShortDigests = (text: string): string => text.replaceAll(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, "$1");

const more = (count: number, how = ""): string[] =>
  count > 0 ? [`… and ${plural(count, "finding")} more${how === "" ? "" : ` ${how}`}`] : [];
