/** When a third thread helps to write a layer. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Pace } from "../../workers/pace.js";

const MB = 1024 * 1024;

suite("pace", () => {
  const behind = (processors: number): Pace => {
    const pace = new Pace(processors);
    for (let piece = 0; piece < 16; piece += 1) pace.wrote(MB / 4, true);
    return pace;
  };

  test("a layer has two processors for its two threads, and no helper takes one of them", () => {
    assert.equal(behind(1).needsHelper(1), false);
    assert.equal(behind(2).needsHelper(1), false);
    assert.equal(behind(4).needsHelper(2), false);
  });

  test("where there are more processors than that any layer is helped", () => {
    assert.equal(behind(3).needsHelper(1), true);
    assert.equal(behind(5).needsHelper(2), true);
  });

  test("a helper is needed when the writer has been behind for long, and until it is not", () => {
    const pace = new Pace(3);
    for (let piece = 0; piece < 15; piece += 1) pace.wrote(MB / 4, true);
    assert.equal(pace.needsHelper(1), false);
    pace.wrote(MB / 4, true);
    assert.equal(pace.needsHelper(1), true);
    pace.wrote(MB / 4, false);
    assert.equal(pace.needsHelper(1), false);
  });
});
