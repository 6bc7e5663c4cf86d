/**
 * What can go wrong with a registry, as our codes, and which of it may pass when tried again.
 *
 * Total: whatever a request throws, and every status that is not an answer, becomes a StrataError here. Hosts are named, secrets never.
 */
import { type ErrorCode, type ErrorOptions, StrataError, systemErrorCode } from "../../errors.js";
import { printable } from "../../printable.js";

/** REGISTRY_BAD_RESPONSE and the others, to be thrown: `Cannot ask HOST: FACT`. */
export function registryError(code: ErrorCode, host: string, fact: string, options: ErrorOptions = {}): StrataError {
  return new StrataError(code, `Cannot ask ${printable(host)}: ${fact}`, {
    ...options,
    details: { registry: printable(host), ...options.details },
  });
}

/** A failure that may be gone in a moment. */
export class TransientError extends StrataError {}

export function transient(code: ErrorCode, host: string, fact: string, options: ErrorOptions = {}): TransientError {
  const { message, options: full } = registryError(code, host, fact, options);
  return new TransientError(code, message, full);
}

export function cancelled(): StrataError {
  return new StrataError("CANCELLED", "Cannot finish the transfer: it was cancelled");
}

/** What a request, or reading a body, threw. REGISTRY_UNREACHABLE, TLS_UNTRUSTED; a StrataError stays what it is. */
export function networkError(thrown: unknown, host: string): StrataError {
  if (thrown instanceof StrataError) return thrown;
  const code = causeCode(thrown);
  if (TLS.test(code))
    return registryError("TLS_UNTRUSTED", host, `its certificate is refused (${code})`, { cause: thrown });
  if (code === "ENOTFOUND")
    return registryError("REGISTRY_UNREACHABLE", host, "there is no such host", { cause: thrown });
  if (NO_TLS.test(`${code} ${thrown instanceof Error ? thrown.message : ""}`)) {
    return registryError("REGISTRY_UNREACHABLE", host, "it does not speak TLS", {
      cause: thrown,
      hint: "Name it in the daemon's setting insecure_registries if it shall be asked over plain HTTP.",
    });
  }
  const fact = code === "ECONNREFUSED" ? "nothing listens there (ECONNREFUSED)" : code || "the connection broke";
  return transient("REGISTRY_UNREACHABLE", host, fact, { cause: thrown });
}

/** 408, 429 and 5xx: worth another try. Undefined for every other status. */
export function transientStatus(
  status: number,
  host: string,
  retryAfter: string | undefined,
): TransientError | undefined {
  const retryAfterMs = parseRetryAfter(retryAfter);
  if (status === 429) return transient("REGISTRY_RATE_LIMITED", host, "it answered 429", { retryAfterMs });
  if (status === 408) return transient("REGISTRY_TIMEOUT", host, "it answered 408", { retryAfterMs });
  if (status < 500) return undefined;
  return transient("REGISTRY_UNREACHABLE", host, `it answered ${status}`, { retryAfterMs, details: { status } });
}

/** Seconds or a date (RFC 9110, Retry-After), as milliseconds from now. */
export function parseRetryAfter(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

const TLS =
  /^(?:ERR_TLS_|CERT_|UNABLE_TO_(?:GET|VERIFY|DECRYPT|DECODE)|DEPTH_ZERO_|SELF_SIGNED_|CRL_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH)/;

/** OpenSSL's words: the code that Node gives differs with where the handshake was. */
const NO_TLS = /^(?:EPROTO|ERR_SSL_).*(?:wrong.version.number|packet.length.too.long)/is;

/** Several addresses are wrapped in an AggregateError. */
function causeCode(thrown: unknown): string {
  let error = thrown;
  for (let depth = 0; depth < 4 && error instanceof Error; depth += 1) {
    const code = systemErrorCode(error) ?? ("code" in error ? error.code : undefined);
    if (typeof code === "string" && code !== "") return code;
    error = error instanceof AggregateError ? error.errors[0] : error.cause;
  }
  return "";
}
