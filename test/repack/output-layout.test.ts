/** What a layout has when a publication failed, and when several came at once. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { claimHolder, dropHolder } from "../../src/host/holder-directory.js";
import { ownIdentity } from "../../src/host/identity.js";
import type { Digest } from "../../src/oci/digest.js";
import { type OutputBlob, OutputLayout, type OutputName } from "../../src/repack/output-layout.js";
import { sha256 } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { everythingBelow } from "../support/trees.js";
import type { Json } from "../support/wire.js";

const textBlob = (text: string): OutputBlob => ({ digest: sha256(Buffer.from(text)) as Digest, text });
const named = (name: string): OutputName => ({
  name,
  descriptor: {
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    digest: sha256(Buffer.from(name)) as Digest,
    size: name.length,
  },
});

suite("a layout that a repack publishes to", async () => {
  const scope = fileScope();
  const sandbox = await Sandbox.create(scope);
  let made = 0;
  const work = (): string => {
    const directory = sandbox.file(`work-${made++}`);
    mkdirSync(directory);
    return directory;
  };
  const never = new AbortController().signal;
  const namesOf = (directory: string): string[] =>
    JSON.parse(readFileSync(join(directory, "index.json"), "utf8"))
      .manifests.map(({ annotations }: Json) => annotations["org.opencontainers.image.ref.name"])
      .sort();

  test("a failure before the names lead to them takes the new blobs away, and leaves the others", async () => {
    const directory = sandbox.file("kept");
    const before = await OutputLayout.prepare(directory);
    await before.publish([textBlob("one"), textBlob("both")], [named("one")], { work: work(), signal: never });
    const stood = everythingBelow(directory);
    const index = readFileSync(join(directory, "index.json"), "utf8");
    const full = work();
    writeFileSync(join(full, "index.json.new"), "in the way");
    const layout = await OutputLayout.prepare(directory);
    const blobs = [textBlob("both"), textBlob("two")];
    await assert.rejects(layout.publish(blobs, [named("two")], { work: full, signal: never }), { code: "EEXIST" });
    await layout.abandon();
    assert.deepEqual(everythingBelow(directory), stood);
    assert.equal(readFileSync(join(directory, "index.json"), "utf8"), index);
  });

  test("a failure in a directory that was made for it leaves no directory", async () => {
    const directory = sandbox.file("made");
    const layout = await OutputLayout.prepare(directory);
    const full = work();
    writeFileSync(join(full, "index.json.new"), "in the way");
    await assert.rejects(layout.publish([textBlob("one")], [named("one")], { work: full, signal: never }));
    await layout.abandon();
    assert.ok(!readdirSync(sandbox.file("")).includes("made"));
  });

  test("of several publications at once none loses another's name", async () => {
    const directory = sandbox.file("crowd");
    const names = Array.from({ length: 8 }, (_, at) => `tag-${at}`);
    await Promise.all(
      names.map(async (name) => {
        const layout = await OutputLayout.prepare(directory);
        await layout.publish([textBlob("shared"), textBlob(name)], [named(name)], { work: work(), signal: never });
      }),
    );
    assert.deepEqual(namesOf(directory), names);
    assert.equal(readdirSync(join(directory, "blobs/sha256")).length, names.length + 1);
    assert.deepEqual(readdirSync(directory).sort(), ["blobs", "index.json", "oci-layout"]);
  });

  test("a publication waits for another that runs until it is interrupted, and takes over what a killed one left", async () => {
    const directory = sandbox.file("held");
    const lock = join(directory, ".stratad-lock");
    const layout = await OutputLayout.prepare(directory);
    const running = { ...(await ownIdentity()), how: "file", nonce: "1" } as const;
    await claimHolder(lock, running);
    let asked = 0;
    const throwIfAborted = (): void => {
      asked += 1;
      if (asked === 3) throw new Error("interrupted");
    };
    const signal = { throwIfAborted } as AbortSignal;
    const waiting = layout.publish([textBlob("one")], [named("one")], { work: work(), signal });
    await assert.rejects(waiting, { message: "interrupted" });
    assert.deepEqual(readdirSync(directory), [".stratad-lock"]);
    await dropHolder(lock, running);

    await claimHolder(lock, { ...running, startTime: "1" });
    await layout.publish([textBlob("one")], [named("one")], { work: work(), signal: never });
    assert.deepEqual(namesOf(directory), ["one"]);
    assert.deepEqual(readdirSync(directory).sort(), ["blobs", "index.json", "oci-layout"]);

    mkdirSync(lock);
    writeFileSync(join(lock, "something"), "");
    await assert.rejects(layout.publish([], [], { work: work(), signal: never }), { code: "STORE_LOCKED" });
  });
});
