/**
 * What readers of tar say an archive holds: ours, GNU tar, bsdtar and Python's tarfile. One line for each entry: type, size, name, link
 * target; names are bytes (latin1), without a slash at the end. Undefined where the reader refuses.
 */
import { spawnSync } from "node:child_process";
import { imageLimits } from "../../src/limits.js";
import { SecondReader } from "../../workers/tar-entries.js";
import { type TarEntry, TarGuard } from "../../workers/tar-guard.js";

export type Listing = readonly string[] | undefined;

const line = (type: string, size: number, name: string, link: string): string =>
  `${type} ${size} ${JSON.stringify(name.replace(/\/+$/, ""))} ${JSON.stringify(link)}`;

export async function listedByUs(archive: Buffer): Promise<Listing> {
  const lines: string[] = [];
  const second = new SecondReader({
    entry: ({ type, size, name, linkName }: TarEntry) => {
      const isLink = type === "symlink" || type === "hardlink";
      if (isLink && linkName === "") throw new Error("the tree writer refuses it");
      lines.push(line(type, size, name, isLink ? linkName : ""));
    },
    data: () => undefined,
    end: () => undefined,
  });
  const guard = new TarGuard(second, imageLimits);
  try {
    guard.push(archive);
    guard.finish();
    await second.finish();
    return lines;
  } catch {
    second.abandon();
    return undefined;
  }
}

const gnuTypes: Readonly<Record<string, string>> = { "-": "file", d: "dir", l: "symlink", h: "hardlink", C: "file" };
const UNESCAPED: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" };

/** Of GNU tar's `-tv` with names as strings of C. */
export function listedByGnu(path: string): Listing {
  const options = ["-tvf", path, "--quoting-style=c", "--numeric-owner", "--full-time", "-P"];
  const { status, stdout } = spawnSync("tar", options, { env: { ...process.env, LC_ALL: "C" } });
  if (status !== 0) return undefined;
  return stdout
    .toString("latin1")
    .split("\n")
    .filter((text) => text !== "")
    .map((text) => {
      const found = /^(.)\S+ \S+\s+(\d+) \S+\s+\S+\s+("(?:[^"\\]|\\.)*")(?: (?:->|link to) ("(?:[^"\\]|\\.)*"))?/s.exec(
        text,
      );
      const [, type = "", size = "", name = '""', link = '""'] = found ?? [];
      return line(gnuTypes[type] ?? type, Number(size), fromC(name), fromC(link));
    });
}

const fromC = (quoted: string): string =>
  quoted
    .slice(1, -1)
    .replace(/\\([0-7]{3}|.)/gs, (_all, code: string) =>
      code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (UNESCAPED[code] ?? code),
    );

const PYTHON = `
import json, sys, tarfile
for path in sys.stdin.read().splitlines():
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            out = []
            for m in tar.getmembers():
                kind = "file" if m.isreg() else "dir" if m.isdir() else "symlink" if m.issym() else "hardlink" if m.islnk() else "other"
                raw = lambda s: s.encode("utf-8", "surrogateescape").decode("latin-1")
                out.append([kind, m.size, raw(m.name), raw(m.linkname) if kind in ("symlink", "hardlink") else ""])
    except Exception:
        out = None
    print(json.dumps(out))
`;

type PythonEntry = readonly [type: string, size: number, name: string, link: string];

/** Many at once: Python takes longer to start than to read. */
export function listedByPython(paths: readonly string[]): Listing[] {
  const { stdout } = spawnSync("python3", ["-c", PYTHON], { input: paths.join("\n"), maxBuffer: 2 ** 28 });
  return stdout
    .toString()
    .trim()
    .split("\n")
    .map((text) => {
      const entries = JSON.parse(text) as readonly PythonEntry[] | null;
      return entries?.map((entry) => line(...entry));
    });
}
