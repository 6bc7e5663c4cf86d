/**
 * Sockets that systemd opened for this process (sd_listen_fds(3)): which descriptors, under which names.
 *
 * The variables are taken out of the environment, so that no child believes they are its own. Serves nothing itself.
 */
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";

export interface ActivatedSocket {
  readonly fd: number;
  /** FileDescriptorName= of the socket unit, `unknown` where there is none. */
  readonly name: string;
}

const FIRST_DESCRIPTOR = 3;
/** A typing error must not make us touch descriptors that are ours. */
const MAX_SOCKETS = 64;

/**
 * Takes the handed-over sockets, once. Empty where there are none, or where they are meant for another pid (a shell between
 * systemd and us). The caller closes those it does not serve. CONFIG_INVALID when the variables are malformed.
 */
export function takeActivatedSockets(env: NodeJS.ProcessEnv, pid: number = process.pid): readonly ActivatedSocket[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = env;
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"]) delete env[name];
  if (LISTEN_PID !== String(pid) || LISTEN_FDS === undefined) return [];

  const count = /^\d{1,3}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : Number.NaN;
  if (!(count <= MAX_SOCKETS)) throw malformed(`LISTEN_FDS is '${printable(LISTEN_FDS)}'`);
  const names = LISTEN_FDNAMES === undefined ? [] : LISTEN_FDNAMES.split(":");
  if (LISTEN_FDNAMES !== undefined && names.length !== count) {
    throw malformed(`LISTEN_FDNAMES names ${names.length} sockets, LISTEN_FDS says ${count}`);
  }
  return Array.from({ length: count }, (_, index) => ({
    fd: FIRST_DESCRIPTOR + index,
    name: names[index] ?? "unknown",
  }));
}

function malformed(fact: string): StrataError {
  return new StrataError("CONFIG_INVALID", `Cannot take the sockets that systemd opened: ${fact}`);
}
