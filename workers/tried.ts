/** A system call of which some failures are no surprise. */
import { systemErrorCode } from "../src/errors.js";

/** The errno, where it is one of those expected; undefined where it went well. */
export function tried(action: () => void, expected: readonly string[]): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno !== undefined && expected.includes(errno)) return errno;
    throw error;
  }
}
