/** What both sides name before a frame is sent: the protocol's version, its path, and what a session may do. */
export const PROTOCOL_VERSION = 1;
export const SUBPROTOCOL = "stratad.v1";
export const PROTOCOL_PATH = "/v1";

export const scopes = ["read", "full"] as const;
export type Scope = (typeof scopes)[number];
