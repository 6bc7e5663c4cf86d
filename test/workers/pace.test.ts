/** When a second thread helps to write a layer. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { Pace } from "../../workers/pace.js";

const MB = 1024 * 1024;

suite("pace", () => {
  const behind = (processors: number, { bytes, entries }: { bytes: number; entries: number }): Pace => {
    const pace = new Pace(processors);
    for (let piece = 0; piece < 16; piece += 1) pace.wrote({ bytes, entries, isBehind: true });
    return pace;
  };
  const tiny = { bytes: MB / 4, entries: 250 };
  const small = { bytes: MB / 4, entries: 16 };

  test("of two processors one helps a layer of tiny files, and none a layer that keeps the other one busy", () => {
    assert.equal(behind(2, tiny).needsHelp(1), true);
    assert.equal(behind(2, small).needsHelp(1), false);
  });

  test("two layers have two processors for themselves, and one processor is never shared", () => {
    assert.equal(behind(2, tiny).needsHelp(2), false);
    assert.equal(behind(1, tiny).needsHelp(1), false);
  });

  test("where there are more processors than layers keep busy any layer is helped", () => {
    assert.equal(behind(4, small).needsHelp(1), true);
    assert.equal(behind(4, small).needsHelp(2), false);
    assert.equal(behind(8, small).needsHelp(2), true);
  });

  test("help is needed when the writer has been behind for long, and until it is not", () => {
    const pace = new Pace(2);
    for (let piece = 0; piece < 15; piece += 1) pace.wrote({ ...tiny, isBehind: true });
    assert.equal(pace.needsHelp(1), false);
    pace.wrote({ ...tiny, isBehind: true });
    assert.equal(pace.needsHelp(1), true);
    pace.wrote({ ...tiny, isBehind: false });
    assert.equal(pace.needsHelp(1), false);
  });
});
