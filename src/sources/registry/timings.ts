/**
 * How long a registry may take, and how often it is asked: limits.ts, injectable so that tests need not wait.
 */
import { setTimeout as sleep } from "node:timers/promises";
import {
  REGISTRY_BACKOFF_MAX_MS,
  REGISTRY_BACKOFF_MS,
  REGISTRY_COMMIT_TIMEOUT_MS,
  REGISTRY_DOCUMENT_TIMEOUT_MS,
  REGISTRY_HEADERS_TIMEOUT_MS,
  REGISTRY_RETRY_AFTER_MAX_MS,
  REGISTRY_STALL_TIMEOUT_MS,
  REGISTRY_TRIES,
} from "../../limits.js";

export interface RegistryTimings {
  readonly headersTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly commitTimeoutMs: number;
  readonly documentTimeoutMs: number;
  readonly tries: number;
  readonly backoffMs: number;
  readonly backoffMaxMs: number;
  readonly retryAfterMaxMs: number;
  /** Rejects when the signal aborts. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

export const defaultTimings: RegistryTimings = {
  headersTimeoutMs: REGISTRY_HEADERS_TIMEOUT_MS,
  stallTimeoutMs: REGISTRY_STALL_TIMEOUT_MS,
  commitTimeoutMs: REGISTRY_COMMIT_TIMEOUT_MS,
  documentTimeoutMs: REGISTRY_DOCUMENT_TIMEOUT_MS,
  tries: REGISTRY_TRIES,
  backoffMs: REGISTRY_BACKOFF_MS,
  backoffMaxMs: REGISTRY_BACKOFF_MAX_MS,
  retryAfterMaxMs: REGISTRY_RETRY_AFTER_MAX_MS,
  wait: (ms, signal) => sleep(ms, undefined, { signal }),
};
