/**
 * The floors of architecture.md, read from the imports of every file of src/ and workers/.
 *
 * A new file in src/ needs a floor here. Types may be told upwards within a room; values never go in a circle.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { suite, test } from "node:test";

/** By room: a folder of src/, or a file that stands in src/ itself. */
const floors: Readonly<Record<string, number>> = {
  "main.ts": 10,
  cli: 9,
  "daemon.ts": 8,
  "composition.ts": 8,
  "parts.ts": 8,
  "works.ts": 8,
  "services.ts": 8,
  "store-on-pool.ts": 5,
  "workshop.ts": 8,
  "repacking.ts": 8,
  "endpoints.ts": 8,
  "watches.ts": 8,
  "config.ts": 7,
  "settings.ts": 7,
  protocol: 6,
  client: 6,
  install: 5,
  repack: 5,
  export: 5,
  sources: 4,
  store: 4,
  host: 4,
  "pool.ts": 4,
  messages: 3,
  "tasks.ts": 3,
  "root-tasks.ts": 3,
  "repack-tasks.ts": 3,
  "scan-tasks.ts": 3,
  "listed-names.ts": 3,
  "task-progress.ts": 1,
  "stored-documents.ts": 3,
  "findings.ts": 3,
  layering: 2,
  overlap: 1,
  oci: 1,
  "errors.ts": 0,
  "limits.ts": 0,
  "log.ts": 0,
  "finding-codes.ts": 0,
  "memo-rows.ts": 0,
  "choices.ts": 0,
  "once.ts": 0,
  "growth.ts": 0,
  "freed-chunk.ts": 0,
  "ensure-directory.ts": 1,
  "byte-size.ts": 0,
  "life.ts": 1,
  "slots.ts": 1,
  "together.ts": 1,
  "slices.ts": 1,
  "turn.ts": 0,
  "busy-threads.ts": 0,
  "shared-look.ts": 0,
  "succeeds.ts": 0,
  "weights.ts": 0,
  "printable.ts": 0,
  "version.ts": 0,
};
const WORKERS_SEE_UP_TO = 3;

/** Who alone may use a package or a part of Node, and why it stands in one place. */
const owners: readonly { readonly of: RegExp; readonly only: RegExp; readonly rule: string }[] = [
  { of: /^ws$/, only: /^src\/(protocol|client)\//, rule: "only protocol/ and client/ know WebSocket" },
  { of: /^piscina$/, only: /^src\/pool\.ts$/, rule: "only pool.ts knows Piscina" },
  {
    of: /^(undici|node:https|node:http2)$/,
    only: /^src\/sources\/registry\//,
    rule: "only sources/registry knows HTTP clients",
  },
  {
    of: /^node:http$/,
    only: /^src\/(protocol|sources\/registry)\//,
    rule: "only protocol/ serves HTTP, and sources/registry asks",
  },
  {
    of: /^(tar-stream)$/,
    only: /^(workers\/tar-entries|src\/sources\/archive-members|src\/repack\/.*)\.ts$/,
    rule: "tar-stream stands behind the guard",
  },
  {
    of: /^(fflate|xxhash-wasm|@hpcc-js\/wasm-zstd)$/,
    only: /^(workers\/(deflate-fflate|coders|zstd-library|unzstd)|src\/repack\/.*)\.ts$/,
    rule: "codecs stand behind the inflater",
  },
];

/** What a text outside its one place must not hold. Comments are not looked at. */
const marks: readonly { readonly text: RegExp; readonly only: RegExp; readonly rule: string }[] = [
  { text: /\bprocess\.(exit|abort)\b/, only: /^src\/main\.ts$/, rule: "only main.ts ends the process" },
  { text: /\bfetch\(/, only: /^$/, rule: "nobody uses fetch, whose streams cost a download as much again" },
  { text: /["'`./]workers\//, only: /^src\/pool\.ts$/, rule: "only pool.ts names workers/" },
  { text: /\b[a-z]\w*Sync\b/, only: /^workers\//, rule: "no synchronous call on the main thread" },
  {
    text: /["'`}/](layers|roots|names|staging|spill|journal|meta)\/|blobs\/partial|\/\.meta\b/,
    only: /^src\/store\/layout\.ts$/,
    rule: "only store/layout.ts builds store paths",
  },
  {
    text: /\b(mkdirSync|symlinkSync|linkSync|renameSync|copyFileSync|writeFileSync|createWriteStream|cpSync|O_CREAT)\b/,
    // The plan's names are those that tree-writer.ts allowed; the others create names of our own in staging, and memos.
    only: /^(src\/.*|workers\/(memo|tree-writer|small-file|file-objects|link|layer-site|plan|remove|copy-inode|file-modes|settle|symlinks|empty-file|mender)\.ts)$/,
    rule: "only tree-writer.ts (and what writes for it) creates under a name that an archive chose",
  },
];

interface Import {
  readonly from: string;
  /** A path from the top, or a package's name. */
  readonly to: string;
  readonly typeOnly: boolean;
}

/** `npm test` runs at the top of the repository, where the sources are. */
const top = process.cwd();
const files = ["src", "workers"].flatMap((folder) =>
  readdirSync(join(top, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
    .map((name) => `${folder}/${name}`),
);
const texts = new Map(files.map((path) => [path, withoutComments(readFileSync(join(top, path), "utf8"))]));
const imports = [...texts].flatMap(([path, text]) => importsOf(path, text));
const local = imports.filter(({ to }) => texts.has(to));

suite("floors", () => {
  test("every file of src/ has a floor", () => {
    const without = files.filter((path) => path.startsWith("src/") && floors[roomOf(path)] === undefined);
    assert.deepEqual(without, [], "name the floor of the file or folder in this test and in architecture.md");
  });

  test("imports go down only, and siblings on one floor do not import each other", () => {
    const broken = local
      .filter(({ from, to }) => from.startsWith("src/") && to.startsWith("src/") && !isBelow(from, to))
      .map(({ from, to }) => `${from} (floor ${floorOf(from)}) imports ${to} (floor ${floorOf(to)})`);
    assert.deepEqual(broken, [], "imports go down only");
  });

  test("workers import the floors 0 to 3 only, and nothing imports workers", () => {
    const up = local.filter(
      ({ from, to }) => from.startsWith("workers/") && to.startsWith("src/") && floorOf(to) > WORKERS_SEE_UP_TO,
    );
    const into = local.filter(({ from, to }) => from.startsWith("src/") && to.startsWith("workers/"));
    assert.deepEqual(
      shown([...up, ...into]),
      [],
      "workers import floors 0-3 only; src/ names them in pool.ts and imports none",
    );
  });

  test("every import of a file is of a file that is there", () => {
    const relatives = imports.filter(({ to }) => /^(src|workers|\.)/.test(to) && !texts.has(to));
    assert.deepEqual(shown(relatives), []);
  });

  test("values are never imported in a circle", () => {
    const below = new Map<string, string[]>();
    for (const { from, to, typeOnly } of local) if (!typeOnly) below.set(from, [...(below.get(from) ?? []), to]);
    const done = new Set<string>();
    const visit = (path: string, way: readonly string[]): void => {
      assert.ok(!way.includes(path), `a circle: ${[...way.slice(way.indexOf(path)), path].join(" -> ")}`);
      if (done.has(path)) return;
      for (const next of below.get(path) ?? []) visit(next, [...way, path]);
      done.add(path);
    };
    for (const path of files) visit(path, []);
  });

  test("no drawers for everything, and no barrels", () => {
    const drawers = files.filter((path) =>
      /(^|\/)(utils?|helpers?|common|types?|misc|shared|index)(\/|\.ts$)/.test(path),
    );
    assert.deepEqual(drawers, [], "a file owns one idea and is named after it");
    const barrels = [...texts].filter(([, text]) => /\bexport \*/.test(text)).map(([path]) => path);
    assert.deepEqual(barrels, [], "no barrel files");
  });

  for (const { of, only, rule } of owners) {
    test(`${rule} (${of.source})`, () => {
      assert.deepEqual(shown(imports.filter(({ from, to }) => of.test(to) && !only.test(from))), [], rule);
    });
  }

  for (const { text, only, rule } of marks) {
    test(rule, () => {
      const broken = [...texts].flatMap(([path, code]) => {
        const found = only.test(path) ? null : text.exec(code);
        return found === null ? [] : [`${path} has ${found[0]}`];
      });
      assert.deepEqual(broken, [], rule);
    });
  }

  test("client/ imports the wire's floors only: a program that uses it gets no daemon", () => {
    const broken = local.filter(
      ({ from, to }) =>
        from.startsWith("src/client/") && !/^src\/(client\/|messages|choices|errors|limits|printable|version)/.test(to),
    );
    assert.deepEqual(shown(broken), []);
  });
});

function roomOf(path: string): string {
  const [, room] = path.split("/");
  return room as string;
}

const floorOf = (path: string): number => floors[roomOf(path)] ?? Number.NaN;

/** Lower, or in the same room; files that stand in src/ itself are one room on each floor. */
function isBelow(from: string, to: string): boolean {
  if (floorOf(to) < floorOf(from)) return true;
  const isFile = (path: string): boolean => roomOf(path).endsWith(".ts");
  return floorOf(to) === floorOf(from) && (roomOf(from) === roomOf(to) || (isFile(from) && isFile(to)));
}

const shown = (some: readonly Import[]): string[] => some.map(({ from, to }) => `${from} imports ${to}`);

function importsOf(from: string, text: string): Import[] {
  const found: Import[] = [];
  const statement =
    /\b(?:import|export)\s+(type\s+)?([^;"']*?)\s*from\s*["']([^"']+)["']|\bimport\s*\(?\s*["']([^"']+)["']/g;
  for (const [, type, names = "", named, bare] of text.matchAll(statement)) {
    const specifier = named ?? bare ?? "";
    const inner = /^\{(.*)\}$/s.exec(names.trim())?.[1];
    const allTypes = inner?.split(",").every((name) => /^\s*(type\s|$)/.test(name)) ?? false;
    found.push({ from, to: resolved(from, specifier), typeOnly: type !== undefined || allTypes });
  }
  for (const [, to = ""] of text.matchAll(/\bcreateRequire\(import\.meta\.url\)\("([^"]+)"\)/g))
    found.push({ from, to, typeOnly: false });
  return found;
}

function resolved(from: string, specifier: string): string {
  return specifier.startsWith(".") ? join(dirname(from), specifier).replace(/\.js$/, ".ts") : specifier;
}

function withoutComments(text: string): string {
  return text.replace(/\/\*.*?\*\//gs, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}
