/**
 * A path for the fs functions from names whose bytes stand one in each character (latin1): the bytes reach the disk exactly.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII as a whole
const NOT_ASCII = /[^\x00-\x7f]/;

/** `prefix` is an ordinary string of ours, `latin1` the archive's bytes. ASCII, nearly always, needs no Buffer. */
export function diskPath(prefix: string, latin1: string): string | Buffer {
  if (!NOT_ASCII.test(latin1)) return prefix + latin1;
  return Buffer.concat([Buffer.from(prefix, "utf8"), Buffer.from(latin1, "latin1")]);
}

/**
 * `path` as seen from the working directory, where it lies below that. The kernel looks up every component of every path that it
 * is given: with the daemon in its state directory, a root is linked in four fifths of the time.
 */
export function fromHere(path: string): string {
  const here = `${process.cwd()}/`;
  return path.startsWith(here) ? path.slice(here.length) : path;
}
