/**
 * Packages of Debian as the layers of one image: under policy b the root is what GNU tar makes of extracting one after another, and
 * under c they are refused, with all that they share and what would take them.
 */
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { before, suite, test } from "node:test";
import { obtained, run } from "../support/cached.js";
import { serve } from "../support/daemon.js";
import { debianPackages } from "../support/debian.js";
import { layerDigests, writeLayout } from "../support/images.js";
import { buildImage, type TestImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { differences, readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

/** No two have a file in common, all have directories in common; gzip has a hard link. */
const NAMES = ["hostname", "sed", "gzip", "less", "patch", "bzip2", "grep", "diffutils"];

const packages = await obtained(debianPackages(NAMES));
const skip = packages.skip || toolOrSkip("dpkg-deb").skip || toolOrSkip("tar").skip;

suite("packages of Debian as layers", { skip }, () => {
  const scope = fileScope();
  let sandbox: Sandbox;
  let wire: Wire;
  let image: TestImage;
  const reference = (): string => `oci:${sandbox.file("layout")}:app`;

  before(async () => {
    sandbox = await Sandbox.create(scope);
    await mkdir(sandbox.file("by-tar"));
    const layers: Buffer[] = [];
    // From the highest down, since tar gives a directory that is there already what the later archive says of it.
    for (const file of (packages.value ?? []).toReversed()) {
      const tar = sandbox.file("files", "layer.tar");
      await run(["sh", "-c", `dpkg-deb --fsys-tarfile "$1" >"$2"`, "sh", file, tar], "/");
      await sandbox.must([
        "tar",
        "-xpf",
        tar,
        "--no-same-owner",
        "--delay-directory-restore",
        "-C",
        sandbox.file("by-tar"),
      ]);
      layers.unshift(await readFile(tar));
    }
    image = buildImage(layers, { codec: "none" });
    await writeLayout(sandbox.file("layout"), { app: image });
    wire = await Wire.connect(scope, (await serve(sandbox, { env: { STRATAD_WORKERS: "2" } })).socket);
  });

  test("under policy c they are refused, the list names `usr`, and the hint is that b accepts them", async () => {
    const { state, error } = await wire.install(reference());
    assert.deepEqual([state, error.code, error.exitCode], ["failed", "LAYER_OVERLAP", 65]);
    const { complete, total, conflicts, hints } = error.details;
    assert.deepEqual([complete, total], [true, conflicts.length]);
    const sides = layerDigests(image).map((digest, layer) => ({ layer, digest, type: "dir" }));
    assert.deepEqual(
      conflicts.find(({ path }: Json) => path === "usr"),
      { path: "usr", sides },
    );
    assert.deepEqual(hints, ["--overlap b accepts this image", "--overlap a accepts this image"]);
    assert.match(error.hint, /--overlap b/);
  });

  test("under policy b the root is the tree of GNU tar, path for path, and nothing is unpacked that c has unpacked", async (t) => {
    const before = await wire.counters();
    const job = await wire.ready(reference(), { overlap: "b" });
    const [actual, expected] = [readTree(job.root.path), readTree(sandbox.file("by-tar"))];
    assert.deepEqual(differences(actual, expected), []);
    assert.deepEqual(actual.writable, []);
    assert.ok([...expected.entries.values()].some(({ names }) => names !== undefined));
    assert.deepEqual(await wire.counters(), { ...before, rootsLinked: before.rootsLinked + 1 });
    t.diagnostic(`${expected.entries.size} paths of ${NAMES.length} packages`);
  });
});
