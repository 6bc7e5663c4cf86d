/**
 * `npm run bench:warm [FILES] [DIRECTORY...]`: a root of a layer that is stored, against `cp -al` of the same tree.
 *
 * Side by side in one run, interleaved, each into a place that nothing stood in before; medians of five, as a Markdown table. By
 * default on tmpfs and on the temporary directory's file system.
 */
import { mkdir } from "node:fs/promises";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileSystemName } from "../../src/store/probes.js";
import { serve } from "../support/daemon.js";
import { writeLayout } from "../support/images.js";
import { buildImage, sha256, type TestImage } from "../support/registry.js";
import { Sandbox, type Scope } from "../support/sandbox.js";
import { file, symlink, tar } from "../support/tar-builder.js";
import { Wire } from "../support/wire.js";
import { inPlace, median, timed } from "./measuring.js";

const ROUNDS = 5;
const overlaps = ["c", "b", "a"] as const;

const [files = "50000", ...given] = process.argv.slice(2);
const places = given.length > 0 ? given : ["/dev/shm", tmpdir()];
const layer = tar(...Array.from({ length: Number(files) }, (_, i) => filesLike(i)).flat());

console.log(
  `${files} files, ${cpus().length} processors, Node ${process.version}, load ${loadavg()[0]?.toFixed(1)}; medians of ${ROUNDS}, in ms\n`,
);
console.log(
  "| file system | `cp -al` | warm install, c | b | a | c against `cp -al` |\n| --- | --- | --- | --- | --- | --- |",
);
for (const place of places) await inPlace(place, measure);

async function measure(place: string, scope: Scope): Promise<void> {
  await mkdir(join(place, "store"));
  const sandbox = await Sandbox.create(scope, { stateBelow: join(place, "store") });
  const wire = await Wire.connect(scope, (await serve(sandbox)).socket);
  const images: Record<string, TestImage> = {};
  for (let round = 0; round < ROUNDS; round += 1) {
    const own = tar(file(`own-${round}`, `${round}`));
    images[`stored-${round}`] = buildImage([own]);
    images[`image-${round}`] = buildImage([layer, own]);
  }
  images.stored = buildImage([layer]);
  const layout = sandbox.file("layout");
  await writeLayout(layout, images);
  for (const tag of Object.keys(images).filter((each) => each.startsWith("stored")))
    await wire.ready(`oci:${layout}:${tag}`);
  const stored = join(sandbox.stateDir, "layers", sha256(layer).replace(":", "/"), "tree");
  const took: Record<"cp" | (typeof overlaps)[number], number[]> = { cp: [], c: [], b: [], a: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    took.cp.push(await timed(() => sandbox.must(["cp", "-al", stored, join(place, `copy-${round}`)])));
    for (const overlap of overlaps)
      took[overlap].push(await timed(() => wire.ready(`oci:${layout}:image-${round}`, { overlap })));
  }
  const [cp, c, b, a] = [took.cp, took.c, took.b, took.a].map(median) as [number, number, number, number];
  const figures = [cp, c, b, a].map((milliseconds) => milliseconds.toFixed(0));
  console.log(`| ${[await fileSystemName(place), ...figures, (c / cp).toFixed(2)].join(" | ")} |`);
}

/** As a Debian /usr is: seven files in a directory, paths of 70 bytes, a symlink for every twenty files. */
function filesLike(i: number): Buffer[] {
  const [pkg, part] = [Math.floor(i / 40), Math.floor(i / 8)].map((n) => String(n).padStart(6, "0"));
  const path = `usr/share/package-of-some-name-${pkg}/contents-${part}/file-${String(i).padStart(6, "0")}.txt`;
  return i % 20 === 0
    ? [file(path, `${i}`), symlink(`${path}.link`, path.slice(path.lastIndexOf("/") + 1))]
    : [file(path, `${i}`)];
}
