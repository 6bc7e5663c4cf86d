/** Lines over a logarithmic number of times, a panel for each kind, as SVG; and the exponent of the power law that fits one best. */

export type Points = readonly (readonly [times: number, value: number])[];

export interface Line {
  readonly panel: string;
  readonly name: string;
  readonly points: Points;
}

const [WIDTH, HEIGHT, MARGIN, LEGEND] = [300, 260, 46, 40];
const COLOURS = ["#1b6ca8", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#444444"];

/** Of least squares over the logarithms: 1 where twice as much costs twice as much, 0 where it costs the same. */
export function exponent(points: Points): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const);
  const mean = (index: 0 | 1) => logs.reduce((sum, point) => sum + point[index], 0) / logs.length;
  const [meanX, meanY] = [mean(0), mean(1)];
  const covariance = logs.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  return covariance / logs.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
}

export function plot(lines: readonly Line[]): string {
  const panels = [...new Set(lines.map(({ panel }) => panel))];
  const names = [...new Set(lines.map(({ name }) => name))];
  const [width, height] = [WIDTH * panels.length, HEIGHT + LEGEND];
  const drawn = panels.map((panel, index) =>
    panelOf(panel, { lines: lines.filter((line) => line.panel === panel), names, left: index * WIDTH }),
  );
  const legend = names.map((name, index) => {
    const x = MARGIN + index * 150;
    const colour = COLOURS[index % COLOURS.length];
    return `<rect x="${x}" y="${HEIGHT + 8}" width="12" height="12" fill="${colour}"/>${text(x + 18, HEIGHT + 18, name)}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...drawn,
    ...legend,
    "</svg>\n",
  ].join("\n");
}

function panelOf(
  title: string,
  { lines, names, left }: { lines: readonly Line[]; names: readonly string[]; left: number },
): string {
  const points = lines.flatMap((line) => line.points).filter(([, y]) => y > 0);
  const [xs, ys] = [points.map(([x]) => Math.log10(x)), points.map(([, y]) => Math.log10(y))];
  const [lowX, highX] = [Math.min(...xs), Math.max(...xs)];
  const [lowY, highY] = [Math.floor(Math.min(...ys)), Math.ceil(Math.max(...ys))];
  const across = (x: number) => left + MARGIN + ((Math.log10(x) - lowX) / (highX - lowX || 1)) * (WIDTH - MARGIN - 16);
  const down = (y: number) => HEIGHT - 30 - ((Math.log10(y) - lowY) / (highY - lowY || 1)) * (HEIGHT - 60);
  const marks = [...new Set(points.map(([x]) => x))].map((x) => text(across(x) - 8, HEIGHT - 12, `×${x}`));
  const grid = Array.from({ length: highY - lowY + 1 }, (_, i) => {
    const value = 10 ** (lowY + i);
    const y = down(value).toFixed(1);
    const rule = `<line x1="${left + MARGIN}" x2="${left + WIDTH - 16}" y1="${y}" y2="${y}" stroke="#dddddd"/>`;
    return rule + text(left + 4, Number(y) + 4, String(Number(value.toPrecision(1))));
  });
  const drawn = lines.map(({ name, points: own }) => {
    const colour = COLOURS[names.indexOf(name) % COLOURS.length];
    const at = own.filter(([, y]) => y > 0).map(([x, y]) => `${across(x).toFixed(1)},${down(y).toFixed(1)}`);
    return `<polyline points="${at.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  });
  return [text(left + MARGIN, 16, title), ...grid, ...marks, ...drawn].join("\n");
}

const text = (x: number, y: number, words: string): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" fill="#222222">${words.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</text>`;
