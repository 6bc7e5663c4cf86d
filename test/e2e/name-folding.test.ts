/**
 * A store on a file system that makes no difference of case: names that it would take for one are refused with both of them, under
 * every policy, and everything else works as anywhere.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { serve } from "../support/daemon.js";
import { type Place, placeOn } from "../support/file-systems.js";
import { layerDigests, type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { lastFirst, Sandbox, type Scope } from "../support/sandbox.js";
import { everythingBelow } from "../support/trees.js";
import { Wire } from "../support/wire.js";

const file = (name: string): TarFile => ({ name, content: name });

/** What the kernel has, or what it has by a process. */
async function foldingPlace(scope: Scope): Promise<Place> {
  const byKernel = await placeOn(scope, "ext4 that folds");
  if (!byKernel.skip) return byKernel;
  const byProcess = await placeOn(scope, "ntfs that folds");
  return byProcess.skip ? { skip: `${byKernel.skip}; ${byProcess.skip}` } : byProcess;
}

async function folding(t: TestContext, images: Parameters<typeof writeLayout>[1]) {
  const scope = lastFirst(t);
  const place = await foldingPlace(scope);
  if (place.directory === undefined) return t.skip(place.skip);
  const sandbox = await Sandbox.create(scope, { stateBelow: place.directory });
  await writeLayout(sandbox.file("layout"), images);
  const wire = await Wire.connect(scope, (await serve(sandbox)).socket);
  return { sandbox, wire, reference: (tag: string) => `oci:${sandbox.file("layout")}:${tag}` };
}

test("names of two layers that differ by case are NAME_FOLDING with both names, under every policy", async (t) => {
  const layers = [await tarOf([file("Makefile"), file("src/a")]), await tarOf([file("makefile")])];
  const image = buildImage(layers);
  const deep = buildImage([await tarOf([file("src/Deep/a")]), await tarOf([file("src/deep/b"), file("README")])]);
  const fine = buildImage([layers[0] as Buffer, await tarOf([file("other")])]);
  const staged = await folding(t, { image, deep, fine });
  if (staged === undefined) return;
  const { sandbox, wire, reference } = staged;
  const [lower = "", upper = ""] = layerDigests(image);
  for (const overlap of ["c", "b", "a"]) {
    const { error } = await wire.install(reference("image"), { overlap });
    assert.deepEqual([error.code, error.exitCode], ["NAME_FOLDING", 65], error.message);
    assert.equal(error.details.total, 1);
    assert.deepEqual(error.details.conflicts, [
      {
        path: "Makefile",
        sides: [
          { layer: 0, digest: lower, type: "file", path: "Makefile" },
          { layer: 1, digest: upper, type: "file", path: "makefile" },
        ],
      },
    ]);
    assert.deepEqual(error.details.hints, []);
    assert.match(error.message, /Makefile/);
  }
  for (const overlap of ["b", "a"]) {
    const { error } = await wire.install(reference("deep"), { overlap });
    assert.deepEqual([error.code, error.details.conflicts[0].path], ["NAME_FOLDING", "src/Deep"]);
  }
  const { root } = await wire.ready(reference("fine"));
  assert.equal(readFileSync(join(root.path, "Makefile"), "utf8"), "Makefile");
  assert.deepEqual(
    everythingBelow(join(sandbox.stateDir, "staging")).filter((path) => path.includes("/")),
    [],
  );
});

test("names of one layer that differ by case are NAME_FOLDING too, and nothing is overwritten", async (t) => {
  const staged = await folding(t, { app: buildImage([await tarOf([file("Makefile"), file("b"), file("makefile")])]) });
  if (staged === undefined) return;
  const { wire, reference } = staged;
  const { error } = await wire.install(reference("app"), { overlap: "a" });
  assert.deepEqual([error.code, error.exitCode], ["NAME_FOLDING", 65], error.message);
  assert.match(error.message, /\bmakefile: .* Makefile$/);
  assert.deepEqual([error.details.entryIndex, error.details.entryName], [2, "makefile"]);
});

test("a name of a root that differs by case from another is INVALID_NAME, and the other leads where it led", async (t) => {
  const staged = await folding(t, {
    one: buildImage([await tarOf([file("one")])]),
    two: buildImage([await tarOf([file("two")])]),
  });
  if (staged === undefined) return;
  const { wire, reference } = staged;
  const { name } = await wire.ready(reference("one"), { name: "app" });
  const before = await wire.counters();
  const { error } = await wire.install(reference("two"), { name: "App" });
  assert.deepEqual([error.code, error.exitCode], ["INVALID_NAME", 64]);
  assert.match(error.message, /\bApp: .* app$/);
  assert.deepEqual(await wire.counters(), before);
  assert.deepEqual(readdirSync(name.path), ["one"]);
  await wire.ready(reference("two"), { name: "app" });
  assert.deepEqual(readdirSync(name.path), ["two"]);
});
