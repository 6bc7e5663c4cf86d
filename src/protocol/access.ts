/**
 * The gate that every upgrade passes before it becomes a session.
 *
 * Its questions stand in the order of protocol.md, Access: room, Host, Origin, path, token, subprotocol. Host and token
 * are asked on TCP only: who may open a Unix socket is the file system's answer. Knows headers, and no WebSocket.
 */
import type { IncomingMessage } from "node:http";
import { PROTOCOL_PATH, type Scope, SUBPROTOCOL } from "../messages/protocol.js";
import { scopeOfToken, type Tokens } from "./tokens.js";

export const TOKEN_SUBPROTOCOL_PREFIX = "stratad.token.";

/** What the listener that took a connection says about it. */
export type Entrance =
  | { readonly kind: "local"; readonly scope: Scope }
  /** `host` and `port` as bound: the only Host a browser's page cannot be rebound to. */
  | { readonly kind: "tcp"; readonly host: string; readonly port: number; readonly tokens: Tokens };

export interface AccessOptions {
  /** Origins of browser extensions and the like, compared exactly; `null` is never allowed. */
  readonly allowedOrigins: readonly string[];
}

export interface Refusal {
  readonly admitted: false;
  /** Of HTTP. */
  readonly status: number;
  readonly reason: string;
}
export type Admission = { readonly admitted: true; readonly scope: Scope } | Refusal;

export interface Gate extends AccessOptions {
  readonly entrance: Entrance;
  /** Whether one more session of this scope fits. */
  hasRoom(scope: Scope): boolean;
}

export function admit(request: IncomingMessage, gate: Gate): Admission {
  const { entrance } = gate;
  const possible: readonly Scope[] = entrance.kind === "local" ? [entrance.scope] : ["full", "read"];
  if (!possible.some((scope) => gate.hasRoom(scope))) return refused(503, "too many sessions");
  const stranger = refuseStranger(request, gate);
  if (stranger !== undefined) return stranger;
  if (request.url !== PROTOCOL_PATH) return refused(404, `the protocol is served at ${PROTOCOL_PATH}`);
  const offered = offeredSubprotocols(request);
  const scope =
    entrance.kind === "local" ? entrance.scope : scopeOfToken(presentedToken(request, offered), entrance.tokens);
  if (scope === undefined) return refused(401, "the token is missing or wrong");
  if (!gate.hasRoom(scope)) return refused(503, "too many sessions");
  if (!offered.includes(SUBPROTOCOL)) return refused(400, `the subprotocol ${SUBPROTOCOL} is not offered`);
  return { admitted: true, scope };
}

/** The questions that plain HTTP requests are asked too: a page in a browser may reach a loopback port. */
export function refuseStranger(
  request: IncomingMessage,
  { entrance, allowedOrigins }: Pick<Gate, "entrance" | "allowedOrigins">,
): Refusal | undefined {
  if (entrance.kind === "tcp" && !isOwnHost(request.headers.host, entrance)) {
    return refused(421, "the Host is not the literal loopback address and port");
  }
  for (const origin of [request.headers.origin, request.headers["sec-websocket-origin"]]) {
    if (origin === undefined) continue;
    if (origin === "null" || !allowedOrigins.some((allowed) => allowed === origin)) {
      return refused(403, "the Origin is not allowed");
    }
  }
  return undefined;
}

function isOwnHost(host: string | undefined, { host: bound, port }: { host: string; port: number }): boolean {
  const literal = bound.includes(":") ? `[${bound}]` : bound;
  return host === `${literal}:${port}` || (port === 80 && host === literal);
}

function offeredSubprotocols(request: IncomingMessage): string[] {
  return (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
}

/** A header decides where there is one; the subprotocol is for clients that cannot set headers. */
function presentedToken(request: IncomingMessage, offered: readonly string[]): string {
  const header = request.headers.authorization;
  if (header !== undefined) return /^Bearer +(\S+)$/i.exec(header)?.[1] ?? "";
  const carrier = offered.find((name) => name.startsWith(TOKEN_SUBPROTOCOL_PREFIX));
  return carrier?.slice(TOKEN_SUBPROTOCOL_PREFIX.length) ?? "";
}

function refused(status: number, reason: string): Refusal {
  return { admitted: false, status, reason };
}
