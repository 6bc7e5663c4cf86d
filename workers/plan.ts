/**
 * Worker entry: changesets and a policy into a plan file that link tasks share by ranges.
 *
 * Half a million entries are no work, and no message, for the main thread. A range holds whole runs of the depth-first plan;
 * it makes the directories it needs itself, so that ranges may be linked side by side, and a directory that reaches beyond
 * its range gets its mode and time in the last one.
 */
import { hash } from "node:crypto";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { StrataError } from "../src/errors.js";
import { MAX_CONFLICTS_LISTED } from "../src/limits.js";
import { type Changeset, decodeChangeset } from "../src/overlap/changeset.js";
import { type PlannedEntry, planRoot, type RootPlan } from "../src/overlap/plan-root.js";
import { type Outcome, outcomeOf, type PlanRange, type PlanResultMessage, type PlanTask } from "../src/tasks.js";
import { encodeOperation, type LinkOperation } from "./link-operations.js";
import { storedDirectoryMode, storedFileMode } from "./stored-mode.js";

/** Below this many entries a second worker costs more than it saves. */
const MIN_RANGE_ENTRIES = 4096;
const PIECE_BYTES = 1024 * 1024;

export default (task: PlanTask): Promise<Outcome<PlanResultMessage>> =>
  outcomeOf("Cannot plan the root", () => plan(task));

function plan(task: PlanTask): PlanResultMessage {
  const result = planRoot(task.changesets.map(readChangeset), task.policy);
  if (!result.ok) {
    return { ok: false, conflicts: result.conflicts.slice(0, MAX_CONFLICTS_LISTED), total: result.conflicts.length };
  }
  const { plan } = result;
  if (plan.length > task.limits.maxEntriesPerImage) {
    throw new StrataError(
      "LIMIT_ENTRIES",
      `Cannot plan the root: it has more than ${task.limits.maxEntriesPerImage} entries`,
    );
  }
  const bytes = plan.reduce((sum, { entry }) => sum + (entry.type === "file" ? entry.size : 0), 0);
  if (bytes > task.limits.maxImageBytes) {
    throw new StrataError("LIMIT_BYTES", `Cannot plan the root: it is larger than ${task.limits.maxImageBytes} bytes`);
  }
  return { ok: true, ...writePlan(`${task.staging}/plan`, plan, task.ranges), entries: plan.length, bytes };
}

function readChangeset({ path, sha256 }: PlanTask["changesets"][number]): Changeset {
  const bytes = readFileSync(path);
  if (hash("sha256", bytes, "hex") !== sha256) {
    throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is not the changeset that was committed`);
  }
  return decodeChangeset(bytes.toString("latin1"));
}

interface PlanFile {
  readonly plan: string;
  readonly ranges: readonly PlanRange[];
  readonly last: PlanRange;
}

function writePlan(path: string, plan: RootPlan, wanted: number): PlanFile {
  const perRange = Math.max(MIN_RANGE_ENTRIES, Math.ceil(plan.length / wanted));
  const context = { late: lateDirectories(plan, perRange), empty: emptyFiles(plan) };
  const fd = openSync(path, "wx", 0o600);
  let at = 0;
  const append = (text: string): void => {
    const bytes = Buffer.from(text, "latin1");
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    at += bytes.length;
  };
  const write = (operations: Iterable<LinkOperation>): PlanRange => {
    const start = at;
    let text = "";
    for (const operation of operations) {
      text += encodeOperation(operation);
      if (text.length >= PIECE_BYTES) {
        append(text);
        text = "";
      }
    }
    append(text);
    return { start, end: at };
  };
  try {
    const ranges: PlanRange[] = [];
    for (let from = 0; from < plan.length; from += perRange)
      ranges.push(write(operations(plan, { from, to: from + perRange }, context)));
    const last = write([...context.late.values()].reverse());
    return { plan: path, ranges, last };
  } finally {
    closeSync(fd);
  }
}

/** The directories that stand open at a range's border, outermost first, with the attributes they get in the end. */
function lateDirectories(plan: RootPlan, perRange: number): Map<string, LinkOperation> {
  const needed = new Set<string>();
  for (let border = perRange; border < plan.length; border += perRange) {
    for (const path of ancestors((plan[border] as PlannedEntry).entry.path)) needed.add(path);
  }
  const late = new Map<string, LinkOperation>();
  if (needed.size === 0) return late;
  for (const { entry } of plan) {
    if ((entry.type === "dir" || entry.type === "implied") && needed.has(entry.path)) {
      late.set(entry.path, { kind: "attributes", path: entry.path, ...directoryAttributes(entry) });
    }
  }
  return late;
}

/** Files without content, by layer and path: what a hard link to one of them needs to know. */
function emptyFiles(plan: RootPlan): Map<string, PlannedEntry["entry"] & { type: "file" }> {
  const found = new Map<string, PlannedEntry["entry"] & { type: "file" }>();
  for (const { layer, entry } of plan) {
    if (entry.type === "file" && entry.size === 0) found.set(`${layer}/${entry.path}`, entry);
  }
  return found;
}

interface PlanContext {
  readonly late: ReadonlyMap<string, LinkOperation>;
  readonly empty: ReturnType<typeof emptyFiles>;
}

function* operations(
  plan: RootPlan,
  { from, to }: { readonly from: number; readonly to: number },
  { late, empty }: PlanContext,
): Generator<LinkOperation> {
  const first = plan[from];
  if (first !== undefined) for (const path of ancestors(first.entry.path)) yield { kind: "ensure", path };
  for (let i = from; i < Math.min(to, plan.length); i += 1) {
    const { layer, entry } = plan[i] as PlannedEntry;
    switch (entry.type) {
      case "dir":
      case "implied":
        if (late.has(entry.path)) yield { kind: "ensure", path: entry.path };
        else yield { kind: "directory", path: entry.path, ...directoryAttributes(entry) };
        break;
      case "file":
      case "hardlink": {
        // Empty files are created, never linked: they are the inode that runs out of links.
        const file = empty.get(`${layer}/${entry.type === "file" ? entry.path : entry.target}`);
        if (file === undefined) yield { kind: "link", path: entry.path, layer };
        else yield { kind: "empty", path: entry.path, mode: storedFileMode(file.mode), mtime: file.mtime };
        break;
      }
      case "symlink":
        yield { kind: "symlink", path: entry.path, mtime: entry.mtime, target: entry.target };
        break;
    }
  }
}

function directoryAttributes(entry: PlannedEntry["entry"]): { mode: number; mtime: number } {
  return entry.type === "dir"
    ? { mode: storedDirectoryMode(entry.mode), mtime: entry.mtime }
    : { mode: 0o755, mtime: 0 };
}

function* ancestors(path: string): Generator<string> {
  for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1)) yield path.slice(0, slash);
}
