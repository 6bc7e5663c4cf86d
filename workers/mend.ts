/**
 * Worker entry: makes a tree what it was made as. It looks, mends what it found, and looks again, until nothing is left or nothing
 * more can be done: what stands below a missing directory is seen when that is there.
 *
 * A path is replaced by one rename, so that whoever links or reads it meanwhile gets the damaged or the whole one. What is only
 * otherwise attributed is mended where it stands, for all roots that share it.
 */
import type { MendResult, MendTask, TreeFinding } from "../src/findings.js";
import { MAX_FINDINGS_MENDED, MAX_FINDINGS_OF_TREE, MAX_MENDING_PASSES } from "../src/limits.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { Mender } from "./mender.js";
import { verified } from "./verify.js";

export default (task: MendTask): Promise<Outcome<MendResult>> => outcomeOf("Cannot mend a tree", () => mend(task));

function mend(task: MendTask): MendResult {
  const { checked, progress } = task;
  const look = () => verified({ checked, extent: "contents", findsApart: true, progress }, MAX_FINDINGS_MENDED);
  const mender = new Mender(task);
  let left = look();
  const atFirst = left;
  for (let pass = 0; left.total > 0 && pass < MAX_MENDING_PASSES; pass += 1) {
    mender.apply(left.findings);
    const before = left;
    left = look();
    if (left.total === before.total && keysOf(left.findings) === keysOf(before.findings)) break;
  }
  const still = new Set(left.findings.map(keyOf));
  const mended = atFirst.findings.filter((finding) => !still.has(keyOf(finding)));
  const uncounted = left.total > left.findings.length ? 0 : atFirst.total - atFirst.findings.length;
  return {
    mended: mended.slice(0, MAX_FINDINGS_OF_TREE),
    mendedTotal: mended.length + uncounted,
    left: { ...left, findings: left.findings.slice(0, MAX_FINDINGS_OF_TREE) },
    ...(left.total === 0 || mender.because === undefined ? {} : { because: mender.because }),
  };
}

const keyOf = ({ code, path, spill }: TreeFinding): string => `${code} ${path}\0${spill ?? ""}`;
const keysOf = (findings: readonly TreeFinding[]): string => findings.map(keyOf).join("\n");
