/**
 * WWW-Authenticate as data (RFC 9110, 11.6.1): several challenges, quoted values, commas within quotes.
 */

export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly params: ReadonlyMap<string, string>;
}

/** Total: what cannot be read ends the list. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; params: Map<string, string> }[] = [];
  let rest = header.slice(0, MAX_HEADER);
  while (rest !== "") {
    const param = PARAM.exec(rest);
    const scheme = param === null ? SCHEME.exec(rest) : null;
    const current = challenges.at(-1);
    if (param !== null && current !== undefined) {
      const [, name = "", quoted, token = ""] = param;
      const key = name.toLowerCase();
      if (!current.params.has(key)) current.params.set(key, quoted?.replace(/\\(.)/g, "$1") ?? token);
    } else if (scheme !== null) {
      challenges.push({ scheme: (scheme[1] ?? "").toLowerCase(), params: new Map() });
    } else {
      break;
    }
    rest = rest.slice((param ?? scheme)?.[0].length ?? rest.length);
  }
  return challenges;
}

/** Real ones have about 200 characters. */
const MAX_HEADER = 4096;
const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
const PARAM = new RegExp(`^[\\s,]*(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${TOKEN}))[\\s,]*`);
const SCHEME = new RegExp(`^[\\s,]*(${TOKEN})(?:\\s+|\\s*,|$)[\\s,]*`);
