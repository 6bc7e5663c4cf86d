/**
 * Who shares what, as an SVG: a row for each image, a column for each layer, as wide as its bytes. Pure.
 *
 * A cell is darker the more images have its layer; the width of all columns is what is stored, and the white ones of a row are what that
 * image does without.
 */
import { formatSize } from "../byte-size.js";
import { printable } from "../printable.js";
import type { RepackReport } from "./repack-report.js";

const WIDTH = 1000;
const ROW = 26;
const GAP = 3;
const LEFT = 220;
const RIGHT = 90;
const TOP = 76;
const BOTTOM = 64;
/** A layer of next to nothing is still one. */
const MIN_COLUMN = 4;
/** More of them are narrower than a line. */
const MAX_COLUMNS = 160;
/** What the size of a layer has room in. */
const MIN_LABELLED = 64;
/** From one image's own to all images'. */
const LIGHT = [173, 203, 232] as const;
const DARK = [16, 66, 124] as const;

export function sharingPicture(report: RepackReport): string {
  const { images, layers } = report;
  const shown = [...layers]
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, MAX_COLUMNS)
    .sort((a, b) => b.images.length - a.images.length || firstOf(a) - firstOf(b));
  const columns = columnsOf(shown.map(({ bytes }) => bytes));
  const height = TOP + images.length * ROW + BOTTOM;
  const cells = shown.flatMap((layer, at) => cellsOf(layer, columns[at] as Column, images.length));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${LEFT + WIDTH + RIGHT} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="20" y="30" font-size="17">${counted(images.length, "image")} in ${counted(layers.length, "layer")}${undrawn(layers.length)}</text>`,
    `<text x="20" y="52" fill="#555">${escaped(summary(report))}</text>`,
    ...images.map((image, at) => {
      const y = TOP + at * ROW;
      const name = nameOf(report, image);
      return [
        `<rect x="${LEFT}" y="${y}" width="${WIDTH}" height="${ROW - GAP}" fill="#f2f2f2"/>`,
        `<text x="${LEFT - 10}" y="${y + 16}" text-anchor="end">${escaped(clipped(name))}<title>${escaped(name)}</title></text>`,
        `<text x="${LEFT + WIDTH + 10}" y="${y + 16}" fill="#555">${formatSize(bytesOf(report, image))}</text>`,
      ].join("");
    }),
    ...cells,
    ...legend(images.length, height - BOTTOM + 24),
    "</svg>",
    "",
  ].join("\n");
}

type Layer = RepackReport["layers"][number];

/** Columns of equally many images go down the rows like stairs. */
const firstOf = ({ images }: Layer): number => Math.min(...images);

function cellsOf(layer: Layer, { x, width }: Column, count: number): string[] {
  const size = formatSize(layer.bytes);
  const title = `${size}, ${counted(layer.entries, "entry", "entries")}, ${layer.images.length} of ${counted(count, "image")}`;
  const fill = shade(layer.images.length, count);
  return layer.images.map((image) => {
    const y = TOP + image * ROW;
    const label = `<text x="${rounded(x + width / 2)}" y="${y + 16}" text-anchor="middle" font-size="12" fill="${ink(layer.images.length, count)}" pointer-events="none">${size}</text>`;
    const cell = `<rect x="${x}" y="${y}" width="${width}" height="${ROW - GAP}" fill="${fill}"><title>${title}</title></rect>`;
    return width < MIN_LABELLED ? cell : cell + label;
  });
}

interface Column {
  readonly x: number;
  readonly width: number;
}

/** In proportion, but for the narrowest, at whose cost the others are a little narrower. */
function columnsOf(bytes: readonly number[]): Column[] {
  const total = Math.max(
    1,
    bytes.reduce((sum, each) => sum + each, 0),
  );
  const room = WIDTH - bytes.length * MIN_COLUMN;
  let x = LEFT;
  return bytes.map((each) => {
    const width = MIN_COLUMN + (room * each) / total;
    const column = { x: rounded(x), width: rounded(Math.max(1, width - 1)) };
    x += width;
    return column;
  });
}

function summary({ bytesBefore, bytesAfter, perFileBytes }: RepackReport): string {
  const least = `${formatSize(perFileBytes)} if each content were stored once`;
  return `${formatSize(bytesBefore)} stored before, ${formatSize(bytesAfter)} after; ${least}`;
}

function legend(count: number, y: number): string[] {
  const steps = [...new Set([1, Math.ceil(count / 2), count])];
  return steps.map((shared, at) => {
    const x = LEFT + at * 190;
    const words = shared === 1 ? "in one image" : shared === count ? `in all ${count}` : `in ${shared}`;
    return `<rect x="${x}" y="${y}" width="16" height="16" fill="${shade(shared, count)}"/><text x="${x + 24}" y="${y + 13}">${words}</text>`;
  });
}

function nameOf({ images }: RepackReport, { out, platform }: RepackReport["images"][number]): string {
  return images.filter((other) => other.out === out).length === 1 ? out : `${out} ${platform}`;
}

const bytesOf = ({ layers }: RepackReport, image: RepackReport["images"][number]): number =>
  image.layers.reduce((sum, layer) => sum + (layers[layer] as Layer).bytes, 0);

const undrawn = (layers: number): string =>
  layers <= MAX_COLUMNS ? "" : `, of which the ${MAX_COLUMNS} largest are drawn`;

const counted = (count: number, one: string, more = `${one}s`): string => `${count} ${count === 1 ? one : more}`;

/** Versions and platforms stand at the end, what images have in common at the beginning. */
const clipped = (text: string): string => (text.length <= 26 ? text : `${text.slice(0, 8)}…${text.slice(-17)}`);

const partOf = (shared: number, count: number): number => (count <= 1 ? 0 : (shared - 1) / (count - 1));

/** What can be read on the shade. */
const ink = (shared: number, count: number): string => (partOf(shared, count) > 0.55 ? "#fff" : "#000");

function shade(shared: number, count: number): string {
  const part = partOf(shared, count);
  const channel = (index: 0 | 1 | 2): number => Math.round(LIGHT[index] + (DARK[index] - LIGHT[index]) * part);
  return `rgb(${channel(0)},${channel(1)},${channel(2)})`;
}

const rounded = (value: number): number => Math.round(value * 100) / 100;

const escaped = (text: string): string =>
  printable(text, 512).replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
