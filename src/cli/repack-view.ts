/**
 * The report of a repack for people: the images, who shares what, and how far that is from the least that could be. Pure; escaped.
 */
import { formatSize } from "../byte-size.js";
import { printable } from "../printable.js";
import type { RepackReport, ReportedImage } from "../repack/repack-report.js";
import { formatTable } from "./tables.js";
import { plural, shortDigest, shown } from "./text.js";

/** Rows of each table; the document has them all. */
const MAX_ROWS = 20;
const MAX_PATHS = 5;

export interface RepackLineOptions {
  readonly policy: "c" | "b";
  readonly quiet: boolean;
}

export function repackLines(report: RepackReport, { policy, quiet }: RepackLineOptions): string[] {
  const head = (...names: string[]): string[] | undefined => (quiet ? undefined : names);
  return [
    ...formatTable(
      head("IMAGE", "DIGEST", "LAYERS", "SIZE"),
      report.images.map((image, at) => imageRow(report, image, at)),
    ),
    "",
    ...formatTable(
      head("LAYER", "SIZE", "BLOB", "ENTRIES", "IMAGES"),
      cut(
        report.layers.map((layer) => [
          layer.digest === undefined ? "planned" : shortDigest(layer.digest),
          formatSize(layer.bytes),
          layer.size === undefined ? "" : formatSize(layer.size),
          String(layer.entries),
          namesOf(report, layer.images),
        ]),
      ),
    ),
    "",
    ...figureLines(report, policy),
    ...pushedLines(report),
    ...report.notes.map((note) => `note: ${shown(note)}`),
  ];
}

/** What an image is called in a report: its name, and its platform too where the name is an index's. */
function labelOf({ images }: RepackReport, at: number): string {
  const image = images[at];
  if (image === undefined) return "";
  const isOne = images.filter(({ out }) => out === image.out).length === 1;
  return printable(isOne ? image.out : `${image.out} ${image.platform}`, 512);
}

function imageRow(report: RepackReport, { digest, layers }: ReportedImage, at: number): string[] {
  const bytes = layers.reduce((sum, layer) => sum + (report.layers[layer]?.bytes ?? 0), 0);
  return [
    labelOf(report, at),
    digest === undefined ? "planned" : shortDigest(digest),
    String(layers.length),
    formatSize(bytes),
  ];
}

function namesOf(report: RepackReport, images: readonly number[]): string {
  if (images.length === report.images.length && images.length > 1) return `all ${images.length}`;
  const names = images.slice(0, MAX_PATHS).map((image) => labelOf(report, image));
  return [...names, ...(images.length > names.length ? [`and ${images.length - names.length} more`] : [])].join(", ");
}

function cut(rows: readonly string[][]): string[][] {
  if (rows.length <= MAX_ROWS) return [...rows];
  return [...rows.slice(0, MAX_ROWS), [`and ${rows.length - MAX_ROWS} more`, "", "", "", ""]];
}

function figureLines(report: RepackReport, policy: "c" | "b"): string[] {
  const { bytesBefore, bytesAfter, blobBytesBefore, blobBytesAfter, perFileBytes, oneLayerEachBytes, caps, hoist } =
    report;
  const blobs = blobBytesAfter === undefined ? "" : `, and ${change(blobBytesBefore, blobBytesAfter)} as blobs`;
  const lost = report.lostToPolicy;
  return [
    `stored   ${change(bytesBefore, bytesAfter)}${blobs}`,
    `shared   ${formatSize(report.sharedBytes)} of ${formatSize(report.imageBytes)} that all images show`,
    `bound    ${formatSize(perFileBytes)} if each content were stored once: ${over(bytesAfter, perFileBytes)}; ${formatSize(oneLayerEachBytes)} as one layer each`,
    ...(caps.method === "none"
      ? []
      : [
          `caps     ${formatSize(caps.duplicatedBytes)} stored again for them, ${caps.method === "exact" ? "the least" : `at least ${formatSize(caps.atLeastBytes)} by any layering`}`,
        ]),
    ...(policy === "b" || lost.bytes === 0
      ? []
      : [
          `policy c ${formatSize(lost.bytes)} more than b would store`,
          ...lost.paths.slice(0, MAX_PATHS).map(({ path, bytes }) => `         ${formatSize(bytes)} ${shown(path)}`),
          ...(lost.paths.length > MAX_PATHS
            ? [`         and ${plural(lost.paths.length - MAX_PATHS, "path")} more`]
            : []),
        ]),
    ...(hoist === undefined
      ? []
      : [
          `hoisted  ${formatSize(hoist.bytes)} behind ${plural(hoist.links, "link")}`,
          ...hoist.left.map((image) => `         ${labelOf(report, image)} stays as it is`),
        ]),
  ];
}

function pushedLines({ pushed }: RepackReport): string[] {
  if (pushed === undefined) return [];
  const told = (what: string, { blobs, bytes }: { blobs: number; bytes: number }): string =>
    `${plural(blobs, "blob")} ${what}, ${formatSize(bytes)}`;
  const { present, mounted, uploaded } = pushed;
  return [`pushed   ${told("uploaded", uploaded)}; ${told("mounted", mounted)}; ${told("present", present)}`];
}

/** `900.0 MB before, 500.0 MB after (-44%)`. */
function change(before: number, after: number): string {
  const percent = before === 0 ? 0 : Math.round((100 * (after - before)) / before);
  return `${formatSize(before)} before, ${formatSize(after)} after (${percent > 0 ? "+" : ""}${percent}%)`;
}

function over(bytes: number, least: number): string {
  if (least === 0 || bytes <= least) return "none over";
  return `${((100 * (bytes - least)) / least).toFixed(1)}% over`;
}
