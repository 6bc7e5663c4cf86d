/**
 * Every bound of stratad, with the attack or the resource that it bounds. Nothing is unbounded: memory, queues, frames,
 * entries, time. Limits on images are configurable (`[limits]` in config.toml) and travel with each task; the others
 * are constants of the protocol or the program.
 */

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** Bounds on what an image may ask of the machine; `[limits]` in config.toml may change each. */
export const imageLimits = {
  /** LIMIT_LAYERS. Docker stops at 127; a manifest of 4 MiB could name 20,000. */
  maxLayers: 512,
  /** LIMIT_ENTRIES, a layer: each entry is an inode, and some 600 bytes of the worker's memory, measured. */
  maxEntriesPerLayer: 500_000,
  /** LIMIT_BYTES, a layer: paths and link targets, as the changeset has them, are held in the worker's memory, several times over. */
  maxNameBytesPerLayer: 64 * MiB,
  /** LIMIT_ENTRIES, an image: inodes of one root. */
  maxEntriesPerImage: 2_000_000,
  /** LIMIT_BYTES, a layer unpacked: a bomb fills the disk. */
  maxLayerBytes: 16 * GiB,
  /** LIMIT_BYTES, an image unpacked. */
  maxImageBytes: 64 * GiB,
  /** LIMIT_RATIO, unpacked to compressed: deflate's best is 1032:1, so only a bomb comes near. */
  maxRatio: 1000,
  /** Below this many unpacked bytes the ratio is not judged: small layers of zeros are honest. */
  ratioFloorBytes: 64 * MiB,
  /** DEPTH: recursive tools (rm, find) of others must survive our trees. */
  maxDepth: 128,
  /** NAME_TOO_LONG: NAME_MAX of Linux, in bytes. */
  maxComponentBytes: 255,
  /** PATH_TOO_LONG: half of PATH_MAX, so that it still fits below a state directory. */
  maxPathBytes: 2048,
  /** BAD_LINK: what symlink(2) takes. */
  maxLinkBytes: 4095,
  /** TAR_HEADER_TOO_BIG: a PAX or GNU long header is held in memory. */
  maxHeaderBytes: 1 * MiB,
  /** CODEC_HEADER: name and comment of a gzip member have no length of their own. */
  maxGzipHeaderBytes: 64 * KiB,
  /** LIMIT_WINDOW: a zstd window or an xz dictionary is held in memory. */
  maxWindowBytes: 128 * MiB,
} as const;

export type LimitName = keyof typeof imageLimits;
export type ImageLimits = Readonly<Record<LimitName, number>>;

/** PLACEMENT_INVALID: an annotation's prefix; 32 directories of 32 bytes are more than any package's place. */
export const MAX_PREFIX_COMPONENTS = 32;
export const MAX_PREFIX_BYTES = 1024;
/** PLACEMENT_INVALID: what one byte counts; an archive's depth ends at half of it. */
export const MAX_STRIP_COMPONENTS = 255;
/** A value that is refused is somebody's text: so much of it is shown. */
export const MAX_PLACEMENT_SHOWN = 32;
/** Symlinks on one way through a root, as many as umoci follows; a loop ends here. */
export const MAX_SYMLINK_HOPS = 255;
/**
 * BAD_LINK: names in the targets of all symlinks that one plan follows. Half a million entries, each through a long chain, would take
 * hours; and each name may become a directory, of which there are no more than an image may have entries.
 */
export const MAX_SYMLINK_STEPS = 2_000_000;

/**
 * Entries of all spares (spares/), by default: of each its directories, symlinks and empty files are inodes of their own, some 30,000 and
 * 150 MB on ext4.
 */
export const SPARE_ENTRIES = 200_000;
/** A layer's, at the least: fewer are linked as soon as a spare is taken. */
export const MIN_SPARE_ENTRIES = 500;
/** At a layer's top: each is a rename, which an install waits for. */
export const MAX_SPARE_NAMES = 256;
/** Nothing was installed for so long: then spares are made. */
export const SPARE_AFTER_MS = 1 * SECOND;
/** Of the free space beyond the reserve, what a spare may take at the most. */
export const SPARE_SPACE_PART = 1 / 10;

/** MANIFEST_TOO_BIG: manifests, indexes and configs are parsed in memory on the main thread (distribution-spec asks for 4 MiB). */
export const MAX_DOCUMENT_BYTES = 4 * MiB;
/** Files of one layout that are open to be looked at: an image may have hundreds of layers, and a process a thousand descriptors. */
export const MAX_FILES_LOOKED_AT = 16;
/** INDEX_DEPTH: an index may name an index; loops and towers end here. */
export const MAX_INDEX_DEPTH = 4;
/** MANIFEST_INVALID: nesting of a JSON document; image-spec's deepest is 5. */
export const MAX_JSON_DEPTH = 64;
/** MANIFEST_INVALID: keys of one object, objects and lists of one document; beyond them 4 MiB would hold the main thread for a second. */
export const MAX_JSON_KEYS = 10_000;
export const MAX_JSON_CONTAINERS = 250_000;
/** Manifests of local images that are remembered, with all that is kept of each, as JSON: 40 layers are half of that. */
export const MAX_KNOWN_MANIFESTS = 256;
export const MAX_KNOWN_MANIFEST_BYTES = 16 * KiB;
/** ARCHIVE_LAYOUT: members of an outer archive; 512 layers and their documents are far below. */
export const MAX_ARCHIVE_MEMBERS = 10_000;

/** protocol.md, Frames: a request is small; everything large travels as a path. */
export const MAX_FRAME_BYTES = 256 * KiB;
/** An answer is one frame too: beyond this it is no honest daemon's, and no daemon writes it. */
export const MAX_ANSWER_BYTES = 64 * MiB;
/** The roots of a snapshot, about: 10,000 of ten layers. The rest are asked for with `root/list`. */
export const MAX_SNAPSHOT_BYTES = 16 * MiB;
/** A fragment costs the receiver memory of its own. */
export const MAX_FRAGMENTS = 32;
/** Requests of one session that are not answered yet (BUSY). */
export const MAX_REQUESTS_IN_FLIGHT = 64;
/** Subscriptions of one session (BUSY). */
export const MAX_SUBSCRIPTIONS = 16;
/** Sessions by scope: an editor for each window of each user reads; few write. */
export const MAX_FULL_SESSIONS = 64;
export const MAX_READ_SESSIONS = 8192;
/** Of the descriptors that the process may have: the others are for what connections ask for. */
export const CONNECTIONS_PART = 1 / 2;
/** A session that never says anything is dropped. */
export const FIRST_MESSAGE_TIMEOUT_MS = 10 * SECOND;
/** Finds peers that vanished without a close. */
export const PING_INTERVAL_MS = 30 * SECOND;
/** Installs a second that create work, and how many at once, a session (RATE_LIMITED). */
export const WORK_RATE_PER_SECOND = 20;
export const WORK_BURST = 40;
/** Jobs of one session running, and queued behind them (BUSY). */
export const MAX_RUNNING_JOBS_PER_SESSION = 4;
export const MAX_QUEUED_JOBS_PER_SESSION = 32;
/** Below this much unsent data progress flows, above it only the latest is kept. */
export const PROGRESS_WATERMARK_BYTES = 256 * KiB;
/** A consumer this far behind is closed with 4008 and may resume. */
export const SLOW_CONSUMER_BYTES = 4 * MiB;
/** A stalled peer never reads the close frame: terminate after this long. */
export const CLOSE_GRACE_MS = 5 * SECOND;
/** Progress reports of one token: five a second is what an eye can use. */
export const PROGRESS_INTERVAL_MS = 200;
/** The ring of events a subscription may replay: whichever is reached first. */
export const MAX_RING_EVENTS = 10_000;
export const MAX_RING_BYTES = 8 * MiB;
/** Events that are sent to subscriptions in one turn of the loop: some 2 ms. The others follow in the next turns. */
export const DELIVERIES_A_TURN = 256;
/** After more than one such turn events gather this long: thousands are woken once for several. */
export const DELIVERY_REST_MS = 100;
/** An idle subscription learns that it is alive, and where it stands. */
export const BOOKMARK_INTERVAL_MS = 15 * SECOND;
/** Items in one page of a list. */
export const MAX_PAGE = 1000;
export const DEFAULT_PAGE = 100;
/** The longest wait one install/wait may ask for; the client asks again. */
export const MAX_WAIT_MS = 60 * MINUTE;

/** Jobs that are over stay readable this long, and at most this many. */
export const TERMINAL_JOB_TTL_MS = 7 * 24 * 60 * MINUTE;
export const MAX_TERMINAL_JOBS = 10_000;
/** Lists of layers that jobs which are over may share in memory: of so many images, each as `job.layers` has it. */
export const MAX_RECENT_LAYER_LISTS = 256;
/** A segment of the journal: small, since the disk is given back by whole ones. */
export const JOURNAL_SEGMENT_BYTES = 1 * MiB;
/** The whole journal: 10,000 jobs of 25 KiB. Beyond it the oldest jobs are forgotten before their week is over. */
export const MAX_JOURNAL_BYTES = 256 * MiB;
/** One line, held in memory: a job of 512 layers, with its conflicts, stays below. */
export const MAX_JOURNAL_LINE_BYTES = 1 * MiB;
/** Lines that wait in memory while the disk does not take them; beyond it they are dropped. */
export const MAX_JOURNAL_BACKLOG_BYTES = 4 * MiB;
/** What nobody waits for is on the disk this much later at the latest, and what it did not take is tried again. */
export const JOURNAL_SYNC_MS = 1 * SECOND;
/** Lines of one job that `job/log` answers with, the last ones: an image has 512 layers. */
export const MAX_JOB_LOG_LINES = 1000;
/** Readings of the journal for `job/log` at once: each goes through segments on the disk. */
export const MAX_JOB_LOG_READS = 2;
/** A job that takes the daemon down each time it runs would do so for ever. */
export const MAX_JOB_STARTS = 100;
/** Jobs that are not over, all sessions together (BUSY). */
export const MAX_ACTIVE_JOBS = 1024;
/** Images being installed at once; the rest queue. Their layers share the pool, so more would only hold more staging. */
export const MAX_RUNNING_INSTALLS = 8;
/** Plans worked out at once, all sessions together and one: each may hold a resolve, and a worker with all changesets of an image. */
export const MAX_RUNNING_PLANS = 4;
export const MAX_RUNNING_PLANS_PER_SESSION = 2;
/** Exports at once: each holds all its layers packed in staging, beside the archive. */
export const MAX_RUNNING_EXPORTS = 2;
/** INVALID_PARAMS, LAYOUT_INVALID: images of one export and one import; each becomes a job (MAX_ACTIVE_JOBS). */
export const MAX_IMAGES_AT_ONCE = 256;
/** LIMIT_ENTRIES: entries of all images of one repack, held in one worker's memory at once, some 600 bytes each and as much to part them. */
export const MAX_REPACKED_ENTRIES = 1_500_000;
/** A repack waits so long for another that publishes to its layout: renames, and the disk's own time for gigabytes of blobs. */
export const LAYOUT_LOCK_WAIT_MS = 5 * MINUTE;
/** Inodes of a file beyond its own, each with all the links that the file system gives it: ext4's would be 650 million names. */
export const MAX_FURTHER_INODES = 10_000;
/** Conflicts listed in one LAYER_OVERLAP, and names of each kind in what an update changed. */
export const MAX_CONFLICTS_LISTED = 20;
/** Generations of a name that are remembered. */
export const MAX_GENERATIONS = 100;
/** Generations of a name whose roots stand: what broke is looked for among the last few, and each has directories of its own. */
export const KEEP_GENERATIONS = 10;
/** What layers that no root needs may take before the oldest go: some versions of a large tool. */
export const CACHE_BYTES = 10 * GiB;
/** As many inodes as mke2fs makes for that many bytes, one for each 16 KiB: the cache takes of both alike. */
export const CACHE_INODES = CACHE_BYTES / (16 * KiB);
/** Roots pinned, and leases that clients hold (BUSY): one document on the disk and in memory, a root of a large store each. */
export const MAX_PINS = 10_000;
export const MAX_HOLDS = 10_000;
/** What a client says of who holds a root. */
export const MAX_HOLD_OWNER_BYTES = 256;
/** Things that a collection names, of those that went and of those that stay: their document fits a frame of a megabyte. */
export const MAX_COLLECTED_LISTED = 1000;
/** The main thread reckons so long at a time, then lets everything else have its turn: a frame of a progress view is 16 ms. */
export const SLICE_MS = 5;
/** What one worker removes in one go: unpacks wait no longer for a thread than that takes, a second or less. */
export const MAX_REMOVED_AT_ONCE = { things: 256, inodes: 50_000 };
/** After a collection nobody asked for the next one waits so many times as long as it took: it has a tenth of the thread at most. */
export const COLLECTION_REST = 9;
/** … but not longer. */
export const COLLECTION_REST_MAX_MS = 60 * SECOND;

/** The whole of one request to a registry, without the body. */
export const REGISTRY_HEADERS_TIMEOUT_MS = 30 * SECOND;
/** A body that brings no byte for this long is cut and counts as one failed try. */
export const REGISTRY_STALL_TIMEOUT_MS = 30 * SECOND;
/** The answer to an upload's last byte: registries hash a blob again and copy it to its place. Node's own timer would cut it at 300 s. */
export const REGISTRY_COMMIT_TIMEOUT_MS = 240 * SECOND;
/** Tries of one request, and the backoff between them (full jitter, doubled each time). */
export const REGISTRY_TRIES = 5;
export const REGISTRY_BACKOFF_MS = 250;
export const REGISTRY_BACKOFF_MAX_MS = 10 * SECOND;
/** A Retry-After beyond this is an answer for the user, not a wait. */
export const REGISTRY_RETRY_AFTER_MAX_MS = 60 * SECOND;
/** Blobs fetched at once: of one registry, for more would share the same line, and of all, so that one which is slow holds up no other. */
export const MAX_FETCHES_OF_ONE = 6;
export const MAX_FETCHES = 24;
/** What a whole document of a registry may take, however steadily it comes: somebody waits for each. */
export const REGISTRY_DOCUMENT_TIMEOUT_MS = 60 * SECOND;
/** Blobs pushed at once: each holds one open file and a chunk of it. */
export const MAX_PUSHES = 4;
/** Repositories that a push asks for blobs to mount: each costs a token, and a request for each blob that is missing. */
export const MAX_MOUNT_SOURCES = 16;
/** What one PATCH of an upload in chunks sends, where the registry wants no more at least: proxies before registries refuse bodies over 100 MB. */
export const PUSH_CHUNK_BYTES = 64 * MiB;
/** Redirects of one request. */
export const MAX_REDIRECTS = 5;

/** Things of the store that one task scans, about, and the size of their documents where it stops before: a start takes them so. */
export const MAX_SCANNED = 1000;
export const READ_RESULT_BYTES = 4 * MiB;
/** Documents of one thing that a memo has a place for: few are a tenth of it, and the main thread gets some hundred at once. */
export const MAX_KEPT_TEXT = 8 * KiB;
/** A memo that is larger is none of ours: a thousand things, each with two documents of MAX_KEPT_TEXT, are half of it. */
export const MAX_MEMO_BYTES = 32 * MiB;
/** A start writes a memo anew where one thing in so many was read: fewer are read in less time than all are written. */
export const MEMO_SLACK = 16;
/** What a file system's clock may stand still for; ext3's and NFS's tick once a second. What changed later may change again unseen. */
export const SETTLED_MS = 2 * SECOND;
/** A daemon looks so often whether memos are to be renewed: the next start may come after a kill. */
export const MEMO_INTERVAL_MS = 10 * MINUTE;
/** A blob up to this is unpacked in a fraction of a second: an image that is refused already still gets it, for the whole story. */
export const QUICK_LAYER_BYTES = 8 * MiB;
/** LIMIT_BYTES, a layer: names at the image root stand in layer.json, and so in the daemon's own memory. */
export const MAX_TOP_LEVEL_BYTES = 8 * MiB;
/** Names at the image root that a running unpack tells, each a message to the main thread; the plan sees all of them. */
export const MAX_TOP_LEVEL_TOLD = 4096;
/** A zstd window or an xz dictionary beyond this is kept by one task at a time: each worker's memory is bounded, this comes on top once. */
export const WIDE_WINDOW_BYTES = 8 * MiB;
/** LIMIT_WINDOW: so many blocks behind wide windows may hold less than this each; node:zlib takes 2.4 ms for each frame of 128 MiB. */
export const MAX_THIN_BLOCKS = 256;
export const THIN_BLOCK_BYTES = 4 * KiB;
/** Findings of one tree that are told: whoever edited a store by hand may have damaged all of it. The rest are counted. */
export const MAX_FINDINGS_OF_TREE = 256;
/** Findings that one pass over a tree mends: their paths are held in the worker's memory. */
export const MAX_FINDINGS_MENDED = 65_536;
/** Passes over one tree: what stands below what is missing is seen when that is there again, and trees are this deep at the most. */
export const MAX_MENDING_PASSES = 160;
/** Findings of one verification that are told, each some 300 bytes; the rest are counted. */
export const MAX_FINDINGS_TOLD = 1000;
/** Findings of one verification that are journalled: the journal is for jobs first. */
export const MAX_FINDINGS_JOURNALLED = 256;
/** Contents that one task of a verification reads, about: others get its thread in between, within a second on an ordinary disk. */
export const VERIFY_SLICE_BYTES = 128 * MiB;
/** A layer that was verified is not scrubbed again for a week: disks lose bits in months. */
export const SCRUB_INTERVAL_MS = 7 * 24 * 60 * MINUTE;
/** What the scrub of a system's daemon reads: 100 GB in seven hours, a fiftieth of what a slow disk gives. */
export const SCRUB_BYTES_PER_SECOND = 4 * MiB;
/** A worker that makes no progress for this long is ended (WORKER_STALLED). */
export const STALL_TIMEOUT_MS = 60 * SECOND;
/** A worker that is asked to stop and does not for this long is ended too: it hangs in a call. */
export const CANCEL_GRACE_MS = 2 * SECOND;
/** A daemon that a CLI started ends after this long without sessions and jobs. */
export const IDLE_EXIT_MS = 10 * MINUTE;
/** SIGTERM waits this long for running jobs (systemd kills after 90 s). */
export const DRAIN_TIMEOUT_MS = 60 * SECOND;
/** A daemon that stops lets the disk have what it installed last, but not for longer: a slow disk may take minutes. */
export const STOP_SYNC_TIMEOUT_MS = 10 * SECOND;
/** The log of a daemon that a CLI started is cut at this size when it starts. */
export const MAX_DAEMON_LOG_BYTES = 8 * MiB;
/**
 * What installs leave free where no setting says how much: a twentieth of the file system, as ext4 does for root, so that other programs and
 * the store's own documents go on; but not more than this, since a twentieth of a large disk is nobody's need.
 */
export const RESERVE_PART = 20;
export const MAX_DEFAULT_RESERVE_BYTES = 1 * GiB;
export const MAX_DEFAULT_RESERVE_INODES = 10_000;
/** A socket path beyond this is cut silently by the kernel's interface (sun_path, with its NUL). */
export const MAX_SOCKET_PATH_BYTES = 107;
/** Bytes of the state directory's own path: it stands before every path of a root. */
export const MAX_STATE_DIR_BYTES = 1024;
/** A hoisted link costs a header, an inode and a detour for whoever opens what it leads to: a directory no larger than a block is not worth it. */
export const MIN_HOISTED_BYTES = 4 * KiB;
/** Nor a file by itself that is no larger than this: a link for each of many would make of a tree a farm of links. */
export const MIN_HOISTED_FILE_BYTES = 16 * KiB;
/** Shared layers among which a repack with caps searches for the one to give up: each search goes over all of them. */
export const MAX_SHARED_LAYERS = 4096;
/** Layers that are tried to hold what a given-up one held, the widest first. */
export const MAX_COVERING_LAYERS = 256;
/** Steps of a search for the least copies, each a way to part what some images share: a second or two. */
export const MAX_PARTING_STEPS = 500_000;
/** Images that differ, where a repack searches for the least copies: six can be parted in 203 ways, twelve in four million. */
export const MAX_PARTED_IMAGES = 6;
/** Paths that a report of a repack names with what they cost, for a person to read; the rest are in the sum. */
export const MAX_LOSSES_TOLD = 20;
