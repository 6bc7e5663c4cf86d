/**
 * The reference tables of the README, made from the tables of the code: settings, limits, error codes, methods, events.
 *
 * Run as a program it writes them between their markers; a test compares them with what is committed.
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { codeTable, type ErrorKind } from "../../src/errors.js";
import { imageLimits } from "../../src/limits.js";
import { events } from "../../src/messages/events.js";
import { methods } from "../../src/messages/methods.js";
import { settings } from "../../src/settings.js";

type Row = readonly string[];

/** The README with every table as the code has it. Throws where a marker is missing. */
export function withTables(readme: string): string {
  const place = (text: string, [name, table]: [string, string]) =>
    withPart(text, { name, by: "test/support/readme-tables.ts" }, table);
  return Object.entries(tables()).reduce(place, readme);
}

/** The README with `part` between its markers. Throws where these are missing. */
export function withPart(
  readme: string,
  { name, by }: { readonly name: string; readonly by: string },
  part: string,
): string {
  const [begin, end] = [`<!-- ${name}: made by ${by} -->\n`, `<!-- ${name}: end -->`];
  const from = readme.indexOf(begin);
  const to = readme.indexOf(end);
  if (from === -1 || to < from) throw new Error(`the README has no place for the part '${name}'`);
  return `${readme.slice(0, from + begin.length)}\n${part}\n${readme.slice(to)}`;
}

const tables = (): Record<string, string> => ({
  settings: table(
    ["setting", "environment", "flag of `serve`", "what it is"],
    settings
      .filter(({ name }) => !name.startsWith("limits."))
      .map(({ name, flag, doc }) => [code(name), code(variable(name)), flag === undefined ? "" : code(flag), doc]),
  ),
  limits: table(
    ["setting", "default", "bounds"],
    settings
      .filter(({ name }) => name.startsWith("limits."))
      .map(({ name, doc }, index) => [code(name), String(Object.values(imageLimits)[index]), doc]),
  ),
  errors: table(
    ["code", "exit", "run again", "hint"],
    (["request", "registry", "content", "store", "internal"] satisfies ErrorKind[]).flatMap((kind): Row[] => [
      [`**${kind}**`, "", "", ""],
      ...Object.entries(codeTable)
        .filter(([, row]) => row.kind === kind)
        .map(([name, row]): Row => {
          const hint = "hint" in row && row.hint !== undefined ? row.hint : "";
          return [code(name), String(row.exitCode), row.retryable ? "yes" : "", hint];
        }),
    ]),
  ),
  methods: table(
    ["method", "scope", "params"],
    Object.entries(methods).map(([name, { scope, params }]) => [
      code(name),
      scope,
      Object.keys(shapeOf(params))
        .map((param) => code(param))
        .join(" "),
    ]),
  ),
  events: table(
    ["event", "data"],
    Object.entries(events).map(([type, data]) => [code(type), data]),
  ),
});

const shapeOf = (schema: object): object => ("shape" in schema ? (schema.shape as object) : {});
const code = (text: string): string => `\`${text}\``;
const variable = (name: string): string => `STRATAD_${name.replace(".", "_").toUpperCase()}`;

export function table(head: Row, rows: readonly Row[]): string {
  const line = (row: Row): string =>
    `| ${head.map((_, index) => (row[index] ?? "").replaceAll("|", "\\|")).join(" | ")} |\n`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile("README.md", withTables(await readFile("README.md", "utf8")));
}
