/** The judge of all fault runs is judged: whatever a hand, a crash or a bug may have done to a store, it says so. */
import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { checkStore } from "../support/check-store.js";
import { serve } from "../support/daemon.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";
import { layoutOf, smallImage } from "./images.js";

interface Edit {
  readonly what: string;
  /** `at` finds the only entry of a directory of the store, or joins a path. */
  readonly edit: (state: string) => void;
  /** One of the problems. */
  readonly told: RegExp;
}

const only = (...parts: readonly string[]): string => {
  const [name, ...others] = readdirSync(join(...parts)).filter((entry) => !entry.startsWith(".") && entry !== "roots");
  assert.deepEqual(others, [], `one entry in ${parts.at(-1)}`);
  return join(...parts, name ?? "");
};
/** The layer that has the top-level name `top`. */
const layerWith = (state: string, top: string): string => {
  const directory = join(state, "layers/sha256");
  const found = readdirSync(directory).find((hex) => readdirSync(join(directory, hex, "tree")).includes(top));
  return join(directory, found ?? "");
};
const tool = (state: string): string => join(layerWith(state, "tool"), "tree/tool");
const root = (state: string): string => only(state, "roots");
const replace = (file: string, from: string, to: string): void =>
  writeFileSync(file, readFileSync(file, "latin1").replace(from, to), "latin1");

const edits: readonly Edit[] = [
  {
    what: "a byte of a file that a root shares",
    edit: (state) => replace(join(tool(state), "bin/run"), "run", "ran"),
    told: /^roots.*again: another content/,
  },
  {
    what: "a file that grew",
    edit: (state) => appendFileSync(join(tool(state), "bin/run"), "!"),
    told: /^layers.*bytes, not/,
  },
  { what: "a mode", edit: (state) => chmodSync(join(tool(state), "bin/run"), 0o600), told: /mode 600, not 555/ },
  { what: "a directory's mode", edit: (state) => chmodSync(tool(state), 0o777), told: /mode 777, not 750/ },
  { what: "a time", edit: (state) => utimesSync(join(tool(state), "empty"), 0, 0), told: /its time is 0/ },
  { what: "a missing file", edit: (state) => rmSync(join(tool(state), "empty")), told: /tool\/empty is missing/ },
  {
    what: "a file too many",
    edit: (state) => writeFileSync(join(tool(state), "more"), ""),
    told: /tool\/more is in no changeset/,
  },
  {
    what: "a symlink that leads elsewhere",
    edit: (state) => {
      rmSync(join(tool(state), "bin/alias"));
      symlinkSync("/etc/passwd", join(tool(state), "bin/alias"));
    },
    told: /leads to \/etc\/passwd/,
  },
  {
    what: "a copy in a root",
    edit: (state) => {
      const file = join(root(state), "tree/tool/bin/run");
      copyFileSync(file, `${file}-`);
      chmodSync(`${file}-`, 0o555);
      renameSync(`${file}-`, file);
    },
    told: /tool\/bin\/run is a copy/,
  },
  {
    what: "a changeset",
    edit: (state) => replace(join(layerWith(state, "tool"), "changeset"), "tool/empty", "tool/emptY"),
    told: /another changeset/,
  },
  {
    what: "a layer without its document",
    edit: (state) => rmSync(join(layerWith(state, "tool"), "layer.json")),
    told: /^layers.*holds changeset tree/,
  },
  {
    what: "a root without its document",
    edit: (state) => rmSync(join(root(state), "root.json")),
    told: /^roots.*ENOENT/,
  },
  {
    what: "a root without a layer",
    edit: (state) => rmSync(layerWith(state, "tool"), { recursive: true }),
    told: /^roots.*is not there/,
  },
  {
    what: "a blob",
    edit: (state) =>
      appendFileSync(join(state, "blobs/sha256", readdirSync(join(state, "blobs/sha256"))[0] ?? ""), " "),
    told: /^blobs.*another content/,
  },
  {
    what: "a name that leads nowhere",
    edit: (state) => rmSync(root(state), { recursive: true }),
    told: /^names.*is not there/,
  },
  {
    what: "a name that was not flipped",
    edit: (state) => {
      rmSync(join(state, "names/app"));
      symlinkSync("../roots/other/tree", join(state, "names/app"));
    },
    told: /^names\/app: leads to/,
  },
  {
    what: "a name without a document",
    edit: (state) => symlinkSync("x", join(state, "names/stray")),
    told: /^names\/stray: has no document/,
  },
  {
    what: "what stands about no layer",
    edit: (state) => writeFileSync(join(state, "meta", `${"0".repeat(64)}.json`), '{"schema":1,"durable":true}'),
    told: /^meta.*of nothing that stands/,
  },
  {
    what: "something in staging",
    edit: (state) => mkdirSync(join(state, "staging/old")),
    told: /^staging\/old: left over/,
  },
  {
    what: "half a document",
    edit: (state) => writeFileSync(join(state, "meta/x.json.1-1.new"), ""),
    told: /^meta.*a temporary left over/,
  },
  {
    what: "a stranger",
    edit: (state) => writeFileSync(join(state, "notes.txt"), ""),
    told: /^notes.txt: nobody knows/,
  },
];

suite("the judge of a store", () => {
  const scope = fileScope();
  let sandbox: Sandbox;

  before(async () => {
    sandbox = await Sandbox.create(scope);
    const daemon = await serve(sandbox);
    const wire = await Wire.connect(scope, daemon.socket);
    await wire.ready(await layoutOf(sandbox.file("layout"), await smallImage("word")), { name: "app" });
    daemon.kill("SIGTERM");
    await daemon.ended;
  });

  test("finds nothing in a store that nobody touched", () => {
    assert.deepEqual(checkStore(sandbox.stateDir, { swept: true }), []);
  });

  for (const [i, { what, edit, told }] of edits.entries())
    test(`finds ${what}`, async () => {
      const state = sandbox.file("files", String(i), "state");
      mkdirSync(sandbox.file("files", String(i)));
      await sandbox.must(["cp", "-a", sandbox.stateDir, state]);
      edit(state);
      const problems = checkStore(state, { swept: true });
      assert.ok(
        problems.some((problem) => told.test(problem)),
        problems.join("\n") || "it found nothing",
      );
    });
});
