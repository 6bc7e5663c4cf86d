/**
 * The closed table of error codes, and the one error class that carries them.
 *
 * A code is the stable interface: it is never renamed or reused. The table gives each code its kind (who can act), its exit
 * code, whether running the same again may help, and a hint. The same wire form crosses the thread boundary and the
 * socket; causes and stacks stay in the process and its log. Knows nothing of sockets, threads or images.
 */

export type ErrorKind = "request" | "registry" | "content" | "store" | "internal";

interface CodeRow {
  readonly kind: ErrorKind;
  readonly exitCode: number;
  readonly retryable: boolean;
  /** The JSON-RPC 2.0 number that accompanies the code on the wire. */
  readonly rpc: number;
  /** What the person who sees it can do next; absent where the message says it all. */
  readonly hint?: string;
}

const SERVER_ERROR = -32000;
const row = (
  kind: ErrorKind,
  exitCode: number,
  hint?: string,
  rpc = SERVER_ERROR,
  retryable = exitCode === 75,
): CodeRow => (hint === undefined ? { kind, exitCode, retryable, rpc } : { kind, exitCode, retryable, rpc, hint });

const request = (exitCode = 64, hint?: string, rpc?: number) => row("request", exitCode, hint, rpc);
const registry = (exitCode = 69, hint?: string) => row("registry", exitCode, hint);
const content = (hint?: string) => row("content", 65, hint);
const store = (exitCode = 74, hint?: string) => row("store", exitCode, hint);

const rebuilt = "The archive is malformed or hostile; rebuild the layer with an ordinary tar writer.";
const codec = "The compressed stream is damaged; fetch or build the layer again.";

export const codeTable = {
  BAD_FRAME: request(64, "Send one JSON-RPC 2.0 object in each text frame.", -32600),
  INVALID_PARAMS: request(64, "Compare the parameters with the method's schema.", -32602),
  UNKNOWN_METHOD: request(64, "See `For programs` in the README for the methods.", -32601),
  INVALID_REFERENCE: request(
    64,
    "References look like oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE or HOST/NAME:TAG.",
  ),
  INVALID_NAME: request(
    64,
    "A name is 1-128 of A-Z a-z 0-9 . _ - and starts with a letter or digit; choose one with --name.",
  ),
  UNKNOWN_JOB: request(79, "`stratad ps` lists the jobs; finished ones are forgotten after a week."),
  UNKNOWN_ROOT: request(79, "`stratad roots` lists what is installed."),
  UNKNOWN_NAME: request(79, "`stratad roots` lists the names."),
  UNKNOWN_LAYER: request(79, "`stratad layers` lists the layers."),
  UNSUPPORTED_VERSION: request(76, "Use the client and the daemon of one release."),
  CANCELLED: request(130),
  REQUEST_CANCELLED: request(130, undefined, -32800),
  NOT_ALLOWED: request(77, "The read-only endpoint answers queries only; use the full endpoint."),
  BUSY: request(75, "Send the same again in a moment, or after retryAfterMs where that is given."),
  RATE_LIMITED: request(75, "Wait for the time given and send the same again."),
  SHUTTING_DOWN: request(75, "The daemon is stopping; send the same again in a moment."),
  IMPORT_DENIED: request(77, "Put the image below one of the configured import directories (import_dirs)."),
  NO_REFLINK: request(64, "Use --link hardlink or --link copy, or a state directory on btrfs or xfs."),
  CONFIG_INVALID: request(78),
  DAEMON_UNREACHABLE: request(69, "`stratad serve` starts a daemon in the foreground and shows what is wrong."),
  TIMED_OUT: request(75, "The job goes on; `stratad wait JOB` waits for it."),
  USAGE: request(64, "`stratad --help` lists the verbs and their options."),

  REGISTRY_UNREACHABLE: registry(75),
  REGISTRY_TIMEOUT: registry(75),
  REGISTRY_RATE_LIMITED: registry(75, "Log in for a higher limit, or wait."),
  REGISTRY_BAD_RESPONSE: registry(69),
  AUTH_REQUIRED: registry(
    80,
    "Put credentials for the registry into docker's config.json (docker login, podman login).",
  ),
  AUTH_DENIED: registry(80, "The registry refuses these credentials: check them, and the account's rights."),
  AUTH_REALM: registry(80, "The registry names a token service that credentials are not sent to."),
  MANIFEST_UNKNOWN: registry(79, "Check the repository, the tag and the digest."),
  BLOB_UNKNOWN: registry(79, "The image is incomplete where it comes from; push or copy it again."),
  PUSH_REFUSED: registry(
    69,
    "Check the repository's name, that it exists and takes this kind of image, and that neither it nor the tag is read-only.",
  ),
  TLS_UNTRUSTED: registry(
    69,
    "Give the daemon the registry's authority in NODE_EXTRA_CA_CERTS, which it reads when it starts.",
  ),
  OFFLINE: registry(81),

  DIGEST_MISMATCH: content("The bytes are not those that were named; fetch or build the image again."),
  SIZE_MISMATCH: content("The bytes are not those that were named; fetch or build the image again."),
  DIFF_ID_MISMATCH: content("The config names other layer contents; build the image again."),
  DIGEST_FORMAT: content(),
  DESCRIPTOR_INVALID: content(),
  MANIFEST_INVALID: content(),
  MANIFEST_TOO_BIG: content(),
  MANIFEST_AMBIGUOUS: content(),
  MEDIA_TYPE_UNSUPPORTED: content(),
  MEDIA_TYPE_MISMATCH: content("The layer's media type does not say what its bytes are; rebuild or re-push the image."),
  NOT_AN_IMAGE: content(),
  LAYER_COUNT: content(),
  LIMIT_LAYERS: content(),
  NO_LAYERS: content(),
  NO_PLATFORM: content("Name one of those that there are with --platform."),
  INDEX_DEPTH: content(),
  ROOTFS_TYPE: content(),
  FOREIGN_LAYER: content(),
  LAYOUT_INVALID: content(),
  ARCHIVE_LAYOUT: content(),

  PATH_TRAVERSAL: content(rebuilt),
  ROOT_TYPE: content(rebuilt),
  BAD_NAME: content(rebuilt),
  NAME_ENCODING: content(rebuilt),
  NAME_TOO_LONG: content(rebuilt),
  PATH_TOO_LONG: content(rebuilt),
  DEPTH: content(rebuilt),
  PARENT_NOT_DIR: content(rebuilt),
  DUPLICATE_PATH: content(rebuilt),
  BAD_LINK: content(rebuilt),
  HARDLINK_TARGET: content(rebuilt),
  ENTRY_TYPE: content("Devices, FIFOs and sockets are not installed; leave them out of the layer."),
  TAR_PAX: content(rebuilt),
  TAR_SPARSE: content("Write the archive without sparse files (GNU tar without -S, bsdtar with --no-read-sparse)."),
  TAR_MIXED_EXT: content(rebuilt),
  TAR_SIZE: content(rebuilt),
  TAR_HEADER_TOO_BIG: content(rebuilt),
  TAR_CHECKSUM: content(rebuilt),
  TAR_FORMAT: content(rebuilt),
  TAR_TRUNCATED: content(rebuilt),
  TAR_TRAILING_DATA: content(rebuilt),
  TAR_AMBIGUOUS: content(rebuilt),
  LIMIT_ENTRIES: content(),
  LIMIT_BYTES: content(),
  LIMIT_RATIO: content(),
  LIMIT_WINDOW: content(),
  CODEC_TRAILING: content(codec),
  CODEC_CORRUPT: content(codec),
  CODEC_TRUNCATED: content(codec),
  CODEC_HEADER: content(codec),

  LAYER_OVERLAP: content(
    "Layers of one image may not share a top-level name under policy c; the README says what to do with ordinary multi-layer images.",
  ),
  WHITEOUT: content(
    "Policy c has no lower layer to hide anything in; the README says what to do with ordinary multi-layer images.",
  ),
  NAME_FOLDING: content(),
  PLACEMENT_INVALID: content(),

  STORE_LOCKED: store(
    75,
    "Another daemon serves this state directory; stop it, or choose others with STRATAD_STATE_DIR and STRATAD_RUNTIME_DIR.",
  ),
  STORE_CORRUPT: store(),
  STORE_IO: store(),
  STORE_NOT_WRITABLE: store(
    77,
    "Give the daemon's user the state directory, or choose another with STRATAD_STATE_DIR.",
  ),
  STORE_SPLIT_MOUNT: store(74, "Keep the whole state directory on one mount; hardlinks do not cross mounts."),
  STORE_FS_FOLDING: store(),
  STORE_VERSION: store(74, "Use the release that wrote the state directory, or choose another with STRATAD_STATE_DIR."),
  NO_SPACE: store(
    74,
    "`stratad gc` gives back what nothing needs. Else free space or inodes there; then run the same again.",
  ),

  INTERNAL: row("internal", 70, "This is a bug in stratad; the daemon's log has the details."),
  WORKER_CRASHED: row("internal", 70, "The worker was replaced; run the same again.", SERVER_ERROR, true),
  WORKER_STALLED: row("internal", 70, "The worker was replaced; see the daemon's log."),
} as const satisfies Record<string, CodeRow>;

export type ErrorCode = keyof typeof codeTable;
export const errorCodes = Object.keys(codeTable) as [ErrorCode, ...ErrorCode[]];
export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(codeTable, text);

/** What a client sees of an error; the schema in messages/wire-error.ts is the same shape. */
export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryAfterMs?: number | undefined;
  readonly phase?: string | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
  readonly hint?: string | undefined;
  readonly exitCode: number;
}

export interface ErrorOptions {
  readonly details?: Readonly<Record<string, unknown>> | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly phase?: string | undefined;
  /** Overrides the table's hint. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/** Every failure that has a code. `message` reads `Cannot <action> <object>: <observed fact>`, untrusted parts escaped. */
export class StrataError extends Error {
  readonly code: ErrorCode;
  readonly options: ErrorOptions;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "StrataError";
    this.code = code;
    this.options = options;
  }

  get exitCode(): number {
    return codeTable[this.code].exitCode;
  }

  get retryable(): boolean {
    return codeTable[this.code].retryable;
  }

  /** The same failure with more details, e.g. the layer it happened in. */
  with(details: Readonly<Record<string, unknown>>): StrataError {
    return new StrataError(this.code, this.message, {
      ...this.options,
      details: { ...this.options.details, ...details },
    });
  }

  toWire(): WireError {
    const { details, retryAfterMs, phase } = this.options;
    const { exitCode, retryable, hint: tableHint } = codeTable[this.code] as CodeRow;
    const hint = this.options.hint ?? tableHint;
    return {
      code: this.code,
      message: this.message,
      retryable,
      exitCode,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(phase === undefined ? {} : { phase }),
      ...(details === undefined ? {} : { details }),
      ...(hint === undefined ? {} : { hint }),
    };
  }

  static fromWire(wire: WireError): StrataError {
    const { details, retryAfterMs, phase, hint } = wire;
    return new StrataError(wire.code, wire.message, { details, retryAfterMs, phase, hint });
  }
}

const systemCodes: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: "NO_SPACE",
  EDQUOT: "NO_SPACE",
  EACCES: "STORE_NOT_WRITABLE",
  EPERM: "STORE_NOT_WRITABLE",
  EROFS: "STORE_NOT_WRITABLE",
};

/** What a person may not know by its errno. */
const systemWords: Readonly<Record<string, string>> = {
  ENOSPC: "no space or no inodes are left (ENOSPC)",
  EDQUOT: "the quota is used up (EDQUOT)",
};

/**
 * Total conversion: whatever was thrown becomes a StrataError. System errors (with an errno code) become store errors whose
 * message says what failed; everything else is INTERNAL and keeps its cause for the log.
 */
export function toStrataError(thrown: unknown, action = "Cannot finish the work"): StrataError {
  if (thrown instanceof StrataError) return thrown;
  const errno = systemErrorCode(thrown);
  if (errno !== undefined) {
    return new StrataError(systemCodes[errno] ?? "STORE_IO", `${action}: ${systemWords[errno] ?? errno}`, {
      details: { errno, ...pathOf(thrown) },
      cause: thrown,
    });
  }
  return new StrataError("INTERNAL", `${action}: an unexpected error`, { cause: thrown });
}

/** Where it happened; a path by a descriptor tells nobody anything. */
function pathOf(thrown: unknown): { readonly path?: string } {
  const { path } = thrown as NodeJS.ErrnoException;
  return typeof path === "string" && !path.startsWith("/proc/self/fd/") ? { path } : {};
}

/** Nothing stands at the path that was asked for. */
export const isNotThere = (thrown: unknown): boolean => ["ENOENT", "ENOTDIR"].includes(systemErrorCode(thrown) ?? "");

/** `ENOENT` and the like; undefined for anything that is not an error of the operating system. */
export function systemErrorCode(thrown: unknown): string | undefined {
  if (!(thrown instanceof Error) || !("code" in thrown) || !("errno" in thrown)) return undefined;
  return typeof thrown.code === "string" ? thrown.code : undefined;
}
