/**
 * The tokens of the TCP endpoint: how they are made, kept in a file, and compared.
 *
 * A token is 256 bits from the system's generator, written as base64url; it never stands in a URL, in argv or in a log.
 * Does not know how a token travels.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import type { Scope } from "../messages/protocol.js";

export interface Tokens {
  readonly full: string;
  readonly read: string;
}

export function createToken(): string {
  return randomBytes(32).toString("base64url");
}

/** Puts the token into a file that only its owner reads (0600 from the first byte); replaces what was there. */
export async function writeTokenFile(path: string, token: string): Promise<void> {
  const beside = `${path}.${randomBytes(6).toString("hex")}`;
  const file = await open(beside, "wx", 0o600);
  try {
    await file.writeFile(`${token}\n`);
    await file.close();
    await rename(beside, path);
  } catch (thrown) {
    await file.close().catch(() => undefined);
    await rm(beside, { force: true });
    throw thrown;
  }
}

/** What a presented token allows; the time taken says nothing about how much of it was right, or which it was near to. */
export function scopeOfToken(presented: string, tokens: Tokens): Scope | undefined {
  const given = fingerprint(presented);
  const full = timingSafeEqual(given, fingerprint(tokens.full));
  const read = timingSafeEqual(given, fingerprint(tokens.read));
  if (full) return "full";
  return read ? "read" : undefined;
}

/** Equal lengths for timingSafeEqual, whatever was presented. */
function fingerprint(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
