/**
 * The daemon's log: one JSON object a line, which is also what escapes whatever an image or a client said.
 *
 * Owns the format only; where lines go is the caller's choice. Values must be plain data.
 */

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

const severity: Readonly<Record<LogLevel, number>> = { debug: 10, info: 20, warn: 30, error: 40 };

/** A log that writes lines at `level` and above to `write`; each line ends in a newline. */
export function createLog(level: LogLevel, write: (line: string) => void): Log {
  const at = (own: LogLevel) => (event: string, fields?: LogFields) => {
    if (severity[own] < severity[level]) return;
    write(`${JSON.stringify({ time: new Date().toISOString(), level: own, event, ...fields }, plain)}\n`);
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** Errors have no enumerable fields: give the log their stack and causes, which never reach a client. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Error) return { ...value, message: value.message, stack: value.stack, cause: value.cause };
  if (typeof value === "bigint") return value.toString();
  return value;
}
