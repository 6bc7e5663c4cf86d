/** Documents of the store as workers read them. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { suite, test } from "node:test";
import { readMarked } from "../../workers/read-text.js";
import { fileScope, Sandbox } from "../support/sandbox.js";

suite("the text of a document", () => {
  const scope = fileScope();

  test("is what was written, wherever characters of several bytes stand", async () => {
    const sandbox = await Sandbox.create(scope);
    for (const before of [0, 1, 2, 3]) {
      const path = sandbox.file(`${before}.json`);
      const text = "x".repeat(before) + "\u{1f4e6}".repeat(40_000);
      writeFileSync(path, text);
      assert.equal(readMarked(path).text === text, true, `${before} bytes before`);
    }
  });
});
