/**
 * The reference tables of the README, made from the tables of the code: settings, limits, error codes, methods.
 *
 * Run as a program it writes them between their markers; a test compares them with what is committed.
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { codeTable, type ErrorKind } from "../../src/errors.js";
import { imageLimits } from "../../src/limits.js";
import { methods } from "../../src/messages/methods.js";
import { settings } from "../../src/settings.js";

type Row = readonly string[];

/** The README with every table as the code has it. Throws where a marker is missing. */
export function withTables(readme: string): string {
  return Object.entries(tables()).reduce((text, [name, table]) => {
    const [begin, end] = [`<!-- ${name}: made by test/support/readme-tables.ts -->\n`, `<!-- ${name}: end -->`];
    const from = text.indexOf(begin);
    const to = text.indexOf(end);
    if (from === -1 || to < from) throw new Error(`the README has no place for the table '${name}'`);
    return `${text.slice(0, from + begin.length)}\n${table}\n${text.slice(to)}`;
  }, readme);
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
});

const shapeOf = (schema: object): object => ("shape" in schema ? (schema.shape as object) : {});
const code = (text: string): string => `\`${text}\``;
const variable = (name: string): string => `STRATAD_${name.replace(".", "_").toUpperCase()}`;

function table(head: Row, rows: readonly Row[]): string {
  const line = (row: Row): string => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile("README.md", withTables(await readFile("README.md", "utf8")));
}
