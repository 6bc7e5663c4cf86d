/**
 * Frames of JSON-RPC as text: what comes in is read into a request or refused, answers are written.
 *
 * Both directions pass the schemas of messages/. Knows no method and no session.
 */
import type { z } from "zod";
import { codeTable, StrataError, type WireError } from "../errors.js";
import { RequestFrame, type RequestId, ResponseFrame } from "../messages/frames.js";
import { WireErrorSchema } from "../messages/wire-error.js";
import { printable } from "../printable.js";

/** JSON-RPC 2.0: the one number that is not its code's own, for text that is no JSON. */
const PARSE_ERROR = -32700;
const MAX_ISSUES = 5;

export type Read =
  | { readonly ok: true; readonly frame: RequestFrame }
  | { readonly ok: false; readonly id: RequestId | null; readonly error: StrataError; readonly rpc?: number };

export function readFrame(text: string): Read {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { ok: false, id: null, error: badFrame("it is not JSON"), rpc: PARSE_ERROR };
  }
  if (Array.isArray(json)) return { ok: false, id: null, error: badFrame("batches are not supported") };
  const parsed = RequestFrame.safeParse(json);
  if (parsed.success) return { ok: true, frame: parsed.data };
  return { ok: false, id: idOf(json), error: badFrame(firstIssues(parsed.error).join("; ")) };
}

/** Throws where the error itself does not fit its schema: a bug that the caller answers with INTERNAL. */
export function writeError(
  id: RequestId | null,
  error: StrataError,
  rpc = codeTable[error.code].rpc as number,
): string {
  const data = WireErrorSchema.parse(error.toWire()) as WireError;
  return JSON.stringify({ jsonrpc: "2.0", id, error: { code: rpc, message: data.message, data } });
}

/** `path: what is wrong`, each safe to show; the first few. */
export function firstIssues(error: z.ZodError): string[] {
  return error.issues.slice(0, MAX_ISSUES).map(({ path, message }) => {
    const where = path.map(String).join(".");
    return printable(where === "" ? message : `${where}: ${message}`);
  });
}

export function badFrame(fact: string): StrataError {
  return new StrataError("BAD_FRAME", `Cannot read the frame: ${fact}`);
}

/** The id of a frame that is otherwise wrong, so that its sender learns which of its requests it was. */
function idOf(json: unknown): RequestId | null {
  const id = ResponseFrame.shape.id.safeParse((json as { id?: unknown } | null)?.id);
  return id.success ? id.data : null;
}
