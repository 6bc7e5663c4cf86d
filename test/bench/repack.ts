/**
 * `npm run bench:repack`: real families of images, repacked under each policy, against what goes in, one layer each, and the least that any
 * layering could store.
 *
 * gcc for three architectures, an image each of Debian's packages, a layer for each package; Python 3.11 as three releases and architectures of
 * Debian; three versions of typescript and of next from npm, a layer each. As Markdown: content in MB that is stored, blobs in MB (gzip), and
 * the seconds of one run, verification and all. What is fetched stays beside the dependencies.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { RepackReport } from "../../src/repack/repack-report.js";
import { cached, run } from "../support/cached.js";
import { cliJson } from "../support/daemon.js";
import { layerImage, writeLayout } from "../support/images.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { inPlace } from "./measuring.js";

interface Family {
  readonly name: string;
  /** By tag. */
  readonly images: () => Promise<Readonly<Record<string, TestImage>>>;
}

const DEADLINE_MS = 900_000;
const GCC = [
  ["aarch64-linux-gnu", "arm64"],
  ["arm-linux-gnueabihf", "armhf"],
  ["riscv64-linux-gnu", "riscv64"],
] as const;
/** What every gcc brings along. */
const COMMON = ["binutils-common", "libgmp10", "libmpfr6", "libmpc3", "libisl23", "libcc1-0"];
const POOL = "http://deb.debian.org";
const PYTHONS = [
  ["u8-amd64", "debian/pool/main", "3.11.2-6+deb12u8", "amd64"],
  ["u9-amd64", "debian-security/pool/updates/main", "3.11.2-6+deb12u9", "amd64"],
  ["u8-arm64", "debian/pool/main", "3.11.2-6+deb12u8", "arm64"],
] as const;

const families: readonly Family[] = [
  {
    name: "gcc 12 for three architectures (Debian)",
    images: async () =>
      Object.fromEntries(
        await Promise.all(
          GCC.map(async ([target, arch]) => {
            const own = ["gcc-12", "cpp-12"].map((name) => `${name}-${target}`);
            const names = [...own, `gcc-12-${target}-base`, `binutils-${target}`, `libgcc-12-dev-${arch}-cross`];
            const files = await downloaded(`gcc-${target}`, ["apt-get", "download", "--quiet", ...names, ...COMMON]);
            return [target, await imageOf(files)] as const;
          }),
        ),
      ),
  },
  {
    name: "Python 3.11, two releases, two architectures (Debian)",
    images: async () => Object.fromEntries(await Promise.all(PYTHONS.map(python))),
  },
  ...(["typescript", "next"] as const).map((name): Family => {
    const versions = { typescript: ["5.8.3", "5.9.2", "5.9.3"], next: ["15.5.2", "15.5.3", "15.5.4"] }[name];
    return {
      name: `${name} ${versions.join(", ")} (npm)`,
      images: async () =>
        Object.fromEntries(
          await Promise.all(
            versions.map(async (version) => {
              const [file = ""] = await downloaded(`${name}-${version}`, [
                "npm",
                "pack",
                "--silent",
                `${name}@${version}`,
              ]);
              return [version, layerImage(await readFile(file), "gzip")] as const;
            }),
          ),
        ),
    };
  }),
];

const ways: readonly (readonly [name: string, flags: readonly string[], env: Readonly<Record<string, string>>])[] = [
  ["c", [], {}],
  ["c, hoisted", ["--hoist"], {}],
  ["c, hoisted, one time", ["--hoist"], { SOURCE_DATE_EPOCH: "1" }],
  ["b", ["--policy", "b"], {}],
];

console.log(`${cpus().length} processors, Node ${process.version}, load ${loadavg()[0]?.toFixed(1)}\n`);
console.log("| family | images | stored as | layers | content, MB | of the least | blobs, MB | s |");
console.log("| --- | --- | --- | --- | --- | --- | --- | --- |");
const wanted = process.argv.slice(2);
for (const { name, images } of families)
  if (wanted.length === 0 || wanted.some((word) => name.includes(word)))
    await inPlace(process.env.BENCH_PLACE ?? tmpdir(), async (place, scope) => {
      const sandbox = await Sandbox.create(scope);
      const family = await images();
      const tags = Object.keys(family);
      await writeLayout(join(place, "in"), family);
      for (const row of await repacked(sandbox, place, tags))
        console.log(`| ${[name, tags.length, ...row].join(" | ")} |`);
    });

type Row = readonly (string | number)[];

async function repacked(sandbox: Sandbox, place: string, tags: readonly string[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [way, flags, env] of ways) {
    const start = performance.now();
    const args = [...tags.map((tag) => `oci:${place}/in:${tag}=${tag}`), "--out", `oci:${place}/out-${rows.length}`];
    const options = { deadlineMs: DEADLINE_MS, env };
    const report = (await cliJson(sandbox, ["repack", ...args, ...flags], options)) as RepackReport;
    const seconds = (performance.now() - start) / 1000;
    const least = report.perFileBytes;
    const row = (what: string, layers: number | string, bytes: number, blobs = 0, s = 0): Row => [
      what,
      layers,
      (bytes / 1e6).toFixed(1),
      `+${((100 * (bytes - least)) / least).toFixed(1)}%`,
      blobs === 0 ? "" : (blobs / 1e6).toFixed(1),
      s === 0 ? "" : s.toFixed(1),
    ];
    if (rows.length === 0) {
      rows.push(row("the inputs' layers", "", report.bytesBefore, report.blobBytesBefore));
      rows.push(row("one layer each", tags.length, report.oneLayerEachBytes));
      rows.push(row("each content once", "", least));
    }
    rows.push(row(`**${way}**`, report.layers.length, report.bytesAfter, report.blobBytesAfter, seconds));
  }
  return rows;
}

async function downloaded(key: string, command: readonly [string, ...string[]]): Promise<string[]> {
  const directory = await cached(`repack-${key}`, async (into) => void (await run(command, into)));
  return (await readdir(directory)).sort().map((name) => join(directory, name));
}

async function python([tag, pool, version, arch]: (typeof PYTHONS)[number]): Promise<readonly [string, TestImage]> {
  const names = ["libpython3.11-minimal", "python3.11-minimal", "libpython3.11-stdlib", "python3.11"];
  const urls = names.map((name) => `${POOL}/${pool}/p/python3.11/${name}_${version}_${arch}.deb`);
  const files = await downloaded(`python-${tag}`, ["curl", "--fail", "--silent", "--remote-name-all", ...urls]);
  return [tag, await imageOf(files)];
}

/** A layer for each package. */
async function imageOf(packages: readonly string[]): Promise<TestImage> {
  const layers = await Promise.all(
    packages.map(async (file) => {
      const tar = `${await mkdtemp(join(tmpdir(), "bench-"))}/tar`;
      await run(["sh", "-c", `dpkg-deb --fsys-tarfile "$1" > "$2"`, "sh", file, tar], tmpdir());
      try {
        return await readFile(tar);
      } finally {
        await rm(dirname(tar), { recursive: true });
      }
    }),
  );
  return buildImage(layers);
}
