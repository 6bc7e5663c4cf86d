/** What is measured, as a table: who races on what and where; and the few scenarios that are no race. */
import { idleSessions, repeats, statusUnderLoad, subscribedSessions } from "./answers.js";
import { containerd } from "./containerd.js";
import { growth } from "./growth.js";
import type { Codec, InputName } from "./inputs.js";
import { type Ours, ours } from "./ours.js";
import { overlapped } from "./overlapped.js";
import { hardlinkCopy, peer } from "./peers.js";
import type { PlaceName } from "./places.js";
import { type Bench, type Contestant, type Race, type Row, race } from "./race.js";
import { starts } from "./starts.js";

export interface Scenario {
  readonly name: string;
  readonly title: string;
  /** What `--profile` looks at. */
  readonly profiled?: InputName;
  run(bench: Bench, out: string): Promise<readonly Row[]>;
}

interface RaceScenario extends Omit<Race, "places" | "runs"> {
  readonly title: string;
  /** By default tmpfs alone. */
  readonly places?: readonly PlaceName[];
  /** At most: a disk takes its time, and a median of three is one. */
  readonly rounds?: number;
  readonly profiled?: boolean;
}

const unpackers: readonly Contestant[] = [peer("GNU tar"), peer("bsdtar"), peer("igzip | tar"), peer("umoci unpack")];
const slow = [peer("node-tar"), peer("tar-fs")];
const both = [containerd("native"), containerd("overlayfs")];
/** A daemon that is at work for a while. No target is about it: the first install of a daemon is the slowest. */
const practised = (on: InputName) => ours({ name: "stratad, not its first image", practised: on });
const everybody = (on: InputName) => [ours(), practised(on), ...unpackers, ...both, ...slow];
const inParallel = [peer("GNU tar, two at a time"), peer("igzip | tar, two at a time")];

const inCodec = (codec: Codec) => [ours({ tag: codec }), peer("GNU tar", codec), peer("bsdtar", codec)];
const stored = (options: Ours = {}) => ours({ stored: true, ...options });
const named = (prefix: string, options: Ours) => ours({ name: `stratad, ${prefix}`, ...options });

export const SESSION = "stratad, over an open session";
export const SPARES = "stratad, spares made";
export const LINKS = ["hardlink", "reflink", "copy", "symlink"] as const;
export const IDLE_SESSIONS = 1000;
export const SUBSCRIBED = 5000;

// biome-ignore format: a table is read one row a line
const races: readonly RaceScenario[] = [
  { name: "many", title: "One layer of many small files, cold", input: "many", contestants: everybody("tiny"), profiled: true },
  { name: "tiny", title: "50,000 tiny files, cold", input: "tiny", contestants: everybody("six"), profiled: true },
  { name: "few", title: "Few large files, cold", input: "few", contestants: everybody("tiny"), profiled: true },
  { name: "six", title: "Six layers, cold", input: "six", contestants: [ours(), practised("tiny"), peer("GNU tar"), ...inParallel, peer("umoci unpack"), ...both, ...slow], profiled: true },
  { name: "zstd", title: "Many small files as zstd, cold", input: "many", contestants: inCodec("zstd") },
  { name: "none", title: "Many small files not compressed, cold", input: "many", contestants: inCodec("none") },
  { name: "registry", title: "Six layers from a registry on loopback, cold", input: "six", contestants: [ours({ name: "stratad, from the layout" }), named("from the registry", { registry: Number.POSITIVE_INFINITY })] },
  { name: "warm", title: "Another image of many small files that are stored", input: "many", contestants: [stored(), stored({ name: SESSION, session: true }), stored({ name: SPARES, spares: true }), hardlinkCopy] },
  { name: "update", title: "Six layers of which the last, a small one, is another version", input: "six", contestants: [ours({ name: "stratad, cold" }), named("the update", { after: "gzip", tag: "update" }), named("the update, spares made", { after: "gzip", tag: "update", spares: true })] },
  { name: "links", title: "Each link mode, layers stored, over an open session", input: "many", places: ["tmpfs", "btrfs"], contestants: LINKS.map((link) => stored({ name: link, link, session: true })) },
  { name: "policies", title: "Each overlap policy, layers stored, over an open session", input: "six", contestants: (["c", "b", "a"] as const).map((overlap) => stored({ name: `policy ${overlap}`, overlap, session: true })) },
  { name: "policies-cold", title: "Each overlap policy, cold", input: "six", contestants: (["c", "b", "a"] as const).map((overlap) => ours({ name: `policy ${overlap}`, overlap })) },
  { name: "workers", title: "One, two and four workers, six layers, cold", input: "six", contestants: [1, 2, 4].map((workers) => ours({ name: `${workers} workers`, workers })) },
  { name: "disks", title: "Six layers on each file system, cold and stored", input: "six", places: ["disk", "ext4", "xfs", "btrfs"], rounds: 3, contestants: [ours(), peer("GNU tar"), peer("igzip | tar"), stored({ name: "stratad, stored" }), stored({ name: SPARES, spares: true }), hardlinkCopy] },
];

const otherScenarios: readonly Scenario[] = [
  {
    name: "overlapped",
    title: "Download and unpack at once, over a slow link",
    run: (bench) => overlapped(bench, "overlapped"),
  },
  { name: "repeat", title: "Installs of what is installed", run: repeats },
  { name: "status", title: "Answers to a second process", run: statusUnderLoad },
  {
    name: "sessions",
    title: "Sessions that only sit there",
    run: (bench) => idleSessions(bench, bench.quick ? 50 : IDLE_SESSIONS),
  },
  {
    name: "subscribed",
    title: "A cold install while many are told of it",
    run: (bench) => subscribedSessions(bench, bench.quick ? 50 : SUBSCRIBED),
  },
  { name: "start", title: "Start of the daemon", run: starts },
  { name: "growth", title: "Once, ten and a hundred times as much", run: growth },
];

export const scenarios: readonly Scenario[] = [
  ...races.map(({ title, profiled, places = ["tmpfs"], rounds = Number.POSITIVE_INFINITY, ...of }) => ({
    name: of.name,
    title,
    ...(profiled === true ? { profiled: of.input } : {}),
    run: (bench: Bench) => race(bench, { ...of, places, runs: Math.min(rounds, bench.runs) }),
  })),
  ...otherScenarios,
];
