import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { withTables } from "./support/readme-tables.js";

const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");

test("the README's tables are those of the code", () => {
  assert.equal(readme, withTables(readme), "run `npm run readme`");
});

test("the README has the two lines to start with, verbatim", () => {
  assert.match(readme, /^npm ci && npx stratad install oci:test\/fixtures\/images:gcc-amd64$/m);
  assert.match(readme, /^npm ci && npm test$/m);
});

test("every dependency has its line in the README, and no line is left over", async () => {
  const { dependencies } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
  const section = readme.split("## Dependencies")[1]?.split("## ")[0] ?? "";
  const named = [...section.matchAll(/^\| ([a-z@/-]+) \|/gm)]
    .map((match) => match[1])
    .filter((name) => name !== "package" && name !== "---");
  assert.deepEqual(named.sort(), Object.keys(dependencies).sort());
});
