/**
 * Ids and digests by the digits that they begin with, as tables show them: looked up among those that the daemon has. Several that
 * begin so are an error, never a choice.
 */
import type { StratadClient } from "../client/client.js";
import { type ErrorCode, StrataError } from "../errors.js";
import { printable } from "../printable.js";
import { isJobId } from "./job-id.js";
import { allJobs, allLayers, allRoots } from "./pages.js";

/** Fewer are a slip more often than an id; tables show twelve. */
const MIN_DIGITS = 6;
/** Candidates that an error names. */
const MAX_NAMED = 5;

const hex = new RegExp(`^[0-9a-f]{${MIN_DIGITS},64}$`);
const digest = new RegExp(`^sha256:([0-9a-f]{${MIN_DIGITS},64})$`);
const WHOLE_LENGTH = 64;

const isShortId = (text: string): boolean => hex.test(text);

/** Whether a text without a colon is to be taken for a name: what may also be the beginning of an id only where there is that name. */
export async function isName(client: StratadClient, text: string): Promise<boolean> {
  if (!isShortId(text)) return true;
  if (text.length === WHOLE_LENGTH) return false;
  return (await unless("UNKNOWN_NAME", client.request("root/get", { name: text }))) !== undefined;
}

/** What is asked for; undefined where the answer is this code. */
export async function unless<Value>(code: ErrorCode, asked: Promise<Value>): Promise<Value | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof StrataError && error.code === code) return undefined;
    throw error;
  }
}

/** The whole of a job's id. UNKNOWN_JOB, USAGE where several begin so. */
export async function wholeJobId(client: StratadClient, id: string): Promise<string> {
  if (isJobId(id)) return id;
  const jobs = await allJobs(client);
  return theOne(
    jobs.map(({ jobId }) => jobId),
    { what: "job", code: "UNKNOWN_JOB", begins: id },
  );
}

/** The whole of a root's id. UNKNOWN_ROOT, USAGE where several begin so. */
export async function wholeRootId(client: StratadClient, id: string): Promise<string> {
  if (id.length === WHOLE_LENGTH) return id;
  const roots = await allRoots(client);
  return theOne(
    roots.map(({ rootId }) => rootId),
    { what: "root", code: "UNKNOWN_ROOT", begins: id },
  );
}

/** The whole digest of a layer or a manifest, with or without `sha256:`. UNKNOWN_LAYER, USAGE where several begin so. */
export async function wholeDigest(client: StratadClient, text: string): Promise<string> {
  const digits = digest.exec(text)?.[1] ?? text;
  if (!isShortId(digits)) return text;
  const begins = `sha256:${digits}`;
  if (digits.length === WHOLE_LENGTH) return begins;
  const [layers, roots] = [await allLayers(client), await allRoots(client)];
  const known = [
    ...layers.flatMap(({ diffId, digests }) => [diffId, ...digests]),
    ...roots.map(({ manifestDigest }) => manifestDigest),
  ];
  return theOne(known, { what: "layer or manifest", code: "UNKNOWN_LAYER", begins });
}

function theOne(
  known: readonly string[],
  { what, code, begins }: { readonly what: string; readonly code: ErrorCode; readonly begins: string },
): string {
  const found = [...new Set(known.filter((id) => id.startsWith(begins)))];
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  const cannot = `Cannot find the ${what} ${printable(begins, 128)}`;
  if (first === undefined) throw new StrataError(code, `${cannot}: none begins so`);
  const named = found.slice(0, MAX_NAMED).map((id) => printable(id, 128));
  throw new StrataError("USAGE", `${cannot}: ${found.length} begin so`, {
    hint: `Give more of its digits; ${found.length > named.length ? "some" : "they"} are ${named.join(", ")}.`,
  });
}
