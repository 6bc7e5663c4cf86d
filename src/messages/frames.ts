/**
 * The frames of JSON-RPC that everything else travels in. Knows no method: `params` and `result` are checked by their method.
 */
import { z } from "zod";
import { WireErrorSchema } from "./wire-error.js";

/** A number comes back as it was sent: beyond 2^53 another would. */
const exact = (id: number): boolean => Math.abs(id) <= Number.MAX_SAFE_INTEGER;
const requestId = z.union([z.string().max(256), z.number().refine(exact)]);
export type RequestId = z.infer<typeof requestId>;

/** A request or a notification as it comes in; `params` are checked by their method. */
export const RequestFrame = z.strictObject({
  jsonrpc: z.literal("2.0"),
  id: requestId.optional(),
  method: z.string().max(64),
  params: z.record(z.string(), z.unknown()).optional(),
});
export type RequestFrame = z.infer<typeof RequestFrame>;

export const CancelRequestParams = z.strictObject({ id: requestId });

export const ResponseFrame = z.object({
  jsonrpc: z.literal("2.0"),
  id: requestId.nullable(),
  result: z.unknown().optional(),
  error: z.object({ code: z.number().int(), message: z.string(), data: WireErrorSchema }).optional(),
});
export type ResponseFrame = z.infer<typeof ResponseFrame>;
