/** daemon.json: where a daemon listens; what `stratad endpoint` prints. */
import { z } from "zod";
import { count, scope, time } from "./fields.js";

export const EndpointDocument = z.object({
  schema: z.literal(1),
  pid: count,
  pidStartTime: z.string(),
  bootId: z.string(),
  instanceId: z.string(),
  version: z.string(),
  protocol: z.array(z.number().int()),
  endpoints: z.array(
    z.object({
      kind: z.enum(["unix", "tcp"]),
      path: z.string().optional(),
      url: z.string().optional(),
      scope,
      tokenFile: z.string().optional(),
    }),
  ),
  stateDir: z.string(),
  /** Ends itself when idle, as those that commands start, and no service manager starts it again: the next command does. */
  background: z.boolean().optional(),
  startedAt: time,
});
export type EndpointDocument = z.infer<typeof EndpointDocument>;
