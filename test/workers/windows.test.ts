/** Wide windows take turns, and what waits for its turn can be cancelled. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { imageLimits, WIDE_WINDOW_BYTES } from "../../src/limits.js";
import { TaskProgress } from "../../src/task-progress.js";
import { Turn } from "../../src/turn.js";
import { Windows } from "../../workers/windows.js";
import { stayAwake } from "./work-directory.js";

after(stayAwake());

test("a window up to the limit is allowed, one byte more is LIMIT_WINDOW", async () => {
  const windows = new Windows({ ...imageLimits, maxWindowBytes: 1000 });
  await windows.allow(1000, "a window");
  await assert.rejects(windows.allow(1001, "a window"), { code: "LIMIT_WINDOW" });
});

test("who waits for a wide window is cancelled, and whom an ordinary one suffices need not wait", async () => {
  const turn = new Turn();
  const [first, progress] = [new Windows(imageLimits, turn.ticket()), new TaskProgress()];
  await first.allow(WIDE_WINDOW_BYTES + 1, "a window");
  const second = new Windows(imageLimits, turn.ticket(), progress);
  await second.allow(WIDE_WINDOW_BYTES, "a window");
  const waiting = second.allow(WIDE_WINDOW_BYTES + 1, "a window");
  progress.cancel();
  await assert.rejects(waiting, { code: "CANCELLED" });
  first.close();
  const third = new Windows(imageLimits, turn.ticket());
  await third.allow(WIDE_WINDOW_BYTES + 1, "a window");
  third.close();
});
