/** An error as a client gets it; errors.ts makes it. */
import { z } from "zod";
import { errorCodes } from "../errors.js";
import { count } from "./fields.js";

export const WireErrorSchema = z.object({
  code: z.enum(errorCodes),
  message: z.string(),
  retryable: z.boolean(),
  retryAfterMs: count.optional(),
  phase: z.string().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
  hint: z.string().optional(),
  exitCode: z.number().int(),
});
