/**
 * What readers of tar say an archive holds: ours, GNU tar, bsdtar and Python's tarfile. Names are bytes (latin1).
 */
import { spawnSync } from "node:child_process";
import { imageLimits } from "../../src/limits.js";
import { SecondReader } from "../../workers/tar-entries.js";
import type { TarEntry } from "../../workers/tar-entry.js";
import { TarGuard } from "../../workers/tar-guard.js";

export interface Listed {
  readonly type: string;
  readonly size: number;
  readonly name: string;
  readonly link: string;
}

export interface Listing {
  readonly entries: readonly Listed[];
  /** The reader has no complaint: it takes this for all that there is. */
  readonly isWhole: boolean;
}

/** Undefined where we refuse. */
export async function listedByUs(archive: Buffer): Promise<readonly Listed[] | undefined> {
  const entries: Listed[] = [];
  const second = new SecondReader({
    entry: ({ type, size, name, linkName }: TarEntry) => {
      const isLink = type === "symlink" || type === "hardlink";
      if (name === "" || (isLink && linkName === "")) throw new Error("the tree writer refuses it");
      entries.push({ type, size, name, link: isLink ? linkName : "" });
    },
    data: () => undefined,
    end: () => undefined,
  });
  const guard = new TarGuard(second, imageLimits);
  try {
    guard.push(archive);
    guard.finish();
    await second.finish();
    return entries;
  } catch {
    second.abandon();
    return undefined;
  }
}

const UNESCAPED: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" };
const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3}|.)/gs, (_all, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (UNESCAPED[code] ?? code),
  );

const types: Readonly<Record<string, string>> = { "-": "file", d: "dir", l: "symlink", h: "hardlink", C: "file" };

/** Of the lines that `program` prints, each read by `pattern`: type, size, name, link target. */
function listedBy(program: string, options: readonly string[], pattern: RegExp): Listing {
  // bsdtar cannot say a name in UTF-8 where the locale has none.
  const env = { ...process.env, LC_ALL: "C.UTF-8", TZ: "UTC" };
  const { status, stdout } = spawnSync(program, options, { env, maxBuffer: 2 ** 26 });
  const texts = stdout.toString("latin1").split("\n").slice(0, -1);
  const entries = texts.map((text): Listed => {
    const [, type = "", size, name = text, link = ""] = pattern.exec(text) ?? [];
    return { type: types[type] ?? type, size: Number(size), name: unescaped(name), link: unescaped(link) };
  });
  return { entries, isWhole: status === 0 };
}

/** Names as strings of C. The label of a volume, from a global header, is no entry: GNU tar lists it and extracts nothing. */
export function listedByGnu(path: string): Listing {
  const options = ["-tvf", path, "--quoting-style=c", "--numeric-owner", "--full-time", "-P"];
  const pattern =
    /^(.)\S+ \S+\s+(\d+) \S+\s+\S+\s+"((?:[^"\\]|\\.)*)"(?: (?:->|link to) "((?:[^"\\]|\\.)*)")?(?:--Volume Header--)?$/s;
  const { entries, isWhole } = listedBy("tar", options, pattern);
  return { entries: entries.filter(({ type }) => type !== "V"), isWhole };
}

/** Names with what is not printable escaped; nothing that is fuzzed has an arrow or a 'link to' in its name. */
export function listedByBsdtar(path: string): Listing {
  const pattern = /^(.)\S+ +\S+ +\S+ +\S+ +(\d+) \S+ +\S+ +\S+ (.*?)(?: (?:->|link to) (.*))?$/s;
  return listedBy("bsdtar", ["-tvf", path, "--numeric-owner"], pattern);
}

const PYTHON = `
import json, sys, tarfile
for path in sys.stdin.read().splitlines():
    out = []
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            for m in tar:
                kind = "file" if m.isreg() else "dir" if m.isdir() else "symlink" if m.issym() else "hardlink" if m.islnk() else "other"
                raw = lambda s: s.encode("utf-8", "surrogateescape").decode("latin-1")
                link = raw(m.linkname) if kind in ("symlink", "hardlink") else ""
                out.append({"type": kind, "size": m.size, "name": raw(m.name), "link": link})
    except Exception:
        pass
    print(json.dumps(out))
`;

/** Many at once: Python takes longer to start than to read. It complains in silence, so no list of its is known to be whole. */
export function listedByPython(paths: readonly string[]): Listing[] {
  const { stdout } = spawnSync("python3", ["-c", PYTHON], { input: paths.join("\n"), maxBuffer: 2 ** 28 });
  const lists = stdout.toString().trim().split("\n");
  return lists.map((text) => ({ entries: JSON.parse(text) as readonly Listed[], isWhole: false }));
}
