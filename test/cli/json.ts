/**
 * Reads what stdout holds as exactly one JSON document.
 */

// biome-ignore lint/suspicious/noExplicitAny: a test says what it expects in it
export function parse(stdout: string): any {
  return JSON.parse(stdout);
}
