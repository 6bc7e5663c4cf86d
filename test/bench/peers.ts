/**
 * Other ways to the same tree, as data: what each needs, and the shell line that unpacks the layers `$@` into `$INTO`.
 *
 * Each is run as people run it; none checks a digest but umoci and containerd.
 */
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { cached, run } from "../support/cached.js";
import { toolOrSkip } from "../support/tools.js";
import type { Codec } from "./inputs.js";
import { CommandFailed, measured, plainEnvironment } from "./measuring.js";
import { type Contestant, Missing, type Setting } from "./race.js";

interface Peer {
  readonly name: string;
  /** Programs, and packages of npm, which are installed into the cache. */
  readonly needs: readonly string[];
  readonly npm?: readonly string[];
  readonly line: string;
  readonly once?: boolean;
}

/** In Node, for every layer one after another; `$1` is the package. */
const inNode = (body: string): string =>
  `node -e 'const { createReadStream } = require("node:fs"); const { createGunzip } = require("node:zlib");
  const { pipeline } = require("node:stream/promises");
  (async () => { for (const layer of process.argv.slice(1)) ${body} })();' -- "$@"`;

// biome-ignore format: a table is read one row a line
const peers = {
  "GNU tar": { needs: ["tar", "gzip"], line: 'for layer; do tar -xf "$layer" -C "$INTO"; done' },
  "GNU tar, two at a time": { needs: ["tar", "gzip", "xargs"], line: 'printf "%s\\0" "$@" | xargs -0 -n1 -P2 tar -C "$INTO" -xf' },
  bsdtar: { needs: ["bsdtar"], line: 'for layer; do bsdtar -xf "$layer" -C "$INTO"; done' },
  "igzip | tar": { needs: ["igzip", "tar"], line: 'for layer; do igzip -dc "$layer" | tar -x -C "$INTO"; done' },
  "igzip | tar, two at a time": { needs: ["igzip", "tar", "xargs"], line: `printf "%s\\0" "$@" | xargs -0 -n1 -P2 sh -c 'igzip -dc "$1" | tar -x -C "$INTO"' sh` },
  "umoci unpack": { needs: ["umoci"], line: `umoci unpack ${process.getuid?.() === 0 ? "" : "--rootless "}--image "$IMAGE" "$INTO/bundle"` },
  "node-tar": { needs: ["node"], npm: ["tar"], once: true, line: inNode('await require("tar").x({ file: layer, cwd: process.env.INTO });') },
  "tar-fs": { needs: ["node"], npm: ["tar-fs"], once: true, line: inNode('await pipeline(createReadStream(layer), createGunzip(), require("tar-fs").extract(process.env.INTO));') },
} as const satisfies Record<string, Omit<Peer, "name">>;
export type PeerName = keyof typeof peers;

/** Unpacks the layers of this codec; peers that read gzip alone belong in no other race. */
export function peer(name: PeerName, codec: Codec = "gzip"): Contestant {
  const { needs, line, ...options }: Omit<Peer, "name"> = peers[name];
  return {
    name,
    once: options.once ?? false,
    open: async (setting) => {
      requireTools(needs);
      const modules = options.npm === undefined ? undefined : await installed(options.npm, setting);
      const env = { ...plainEnvironment, NODE_PATH: modules, IMAGE: `${setting.input.layout}:${codec}` };
      const layers = setting.input.layers(codec);
      return async ({ directory }) => {
        const into = join(directory, "tree");
        await mkdir(into);
        const command = ["sh", "-ec", line, "sh", ...layers];
        try {
          return (await measured(command, { cwd: directory, env: { ...env, INTO: into } })).taken;
        } catch (error) {
          if (!(error instanceof CommandFailed) || error.message.includes("No space left")) throw error;
          throw new Missing(`it cannot unpack this: ${lastWords(error.message)}`);
        }
      };
    },
  };
}

/** Of a tree that GNU tar made of the layers. */
export const hardlinkCopy: Contestant = {
  name: "cp -al",
  open: async ({ input, directory }) => {
    requireTools(["cp", "tar"]);
    const tree = join(directory, "original");
    await mkdir(tree);
    for (const layer of input.layers("gzip")) await run(["tar", "-xf", layer, "-C", tree], directory);
    return async (into) => {
      const command = ["cp", "-al", tree, join(into.directory, "copy")];
      return (await measured(command, { cwd: into.directory })).taken;
    };
  },
};

export function requireTools(names: readonly string[]): void {
  for (const name of names) {
    const tool = toolOrSkip(name, plainEnvironment);
    if (tool.skip !== false) throw new Missing(tool.skip);
  }
}

/** The line of a failed command's output that says why. */
function lastWords(said: string): string {
  const lines = said.split("\n").filter((line) => line.trim() !== "");
  return (lines.find((line) => /^\w*Error: /.test(line)) ?? lines.at(-1) ?? "").slice(0, 200);
}

/** Where `require` finds them. */
async function installed(names: readonly string[], { bench }: Setting): Promise<string> {
  const install = async (into: string) => {
    await run(["npm", "install", "--prefix", into, "--no-save", "--no-audit", "--no-fund", ...names], into);
  };
  try {
    const modules = join(await cached(`peers-${names.join("-")}`, install, bench.cache), "node_modules");
    for (const name of names) createRequire(join(modules, "x.js")).resolve(name);
    return modules;
  } catch (error) {
    throw new Missing(`${names.join()} cannot be installed: ${(error as Error).message.split("\n")[0]}`);
  }
}
