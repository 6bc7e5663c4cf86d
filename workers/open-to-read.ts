/**
 * A file opened by a path in whose place anything may stand by now: never through a symlink, and a FIFO, which would block open(2) for
 * ever, blocks nobody. Whether it is a file is the caller's to ask.
 */
import { constants, openSync } from "node:fs";

const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** The caller closes it. ELOOP where it is a symlink. */
export const openToRead = (path: string | Buffer): number => openSync(path, READ);
