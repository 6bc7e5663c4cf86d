/** What inSlices gives, for a test that waits for nothing. */
import type { Steps } from "../../src/slices.js";

export function inOneGo<Value>(steps: Steps<Value>): Value {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
