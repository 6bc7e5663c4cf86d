/** What both sides name before a frame is sent: the protocol's version, its path, and what a session may do. */
import { z } from "zod";

export const PROTOCOL_VERSION = 1;
export const SUBPROTOCOL = "stratad.v1";
export const PROTOCOL_PATH = "/v1";

export const Scope = z.enum(["read", "full"]);
export type Scope = z.infer<typeof Scope>;
