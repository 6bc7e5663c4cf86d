/**
 * The same images give the same digests, whatever machine and Node version repack them: written down here, and run on each version that is
 * supported.
 */
import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import { cliJson } from "../support/daemon.js";
import { type TarFile, tarOf, writeLayout } from "../support/images.js";
import { buildImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import type { Json } from "../support/wire.js";

/** Text that a compressor has something to do with, the same in each run. */
const text = (seed: number, words: number): string => {
  let state = seed;
  const next = (): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state;
  };
  return Array.from({ length: words }, () => ["root", "layer", "blob", "digest", "entry"][next() % 5]).join(" ");
};
const tool = (version: string): TarFile[] => [
  { name: "usr/", type: "directory" },
  { name: "usr/bin/", type: "directory", mode: 0o750 },
  { name: "usr/bin/tool", content: `#!/bin/sh\necho ${version}\n`, mode: 0o755 },
  { name: "usr/lib/libtool.so.1", content: text(7, 400_000) },
  { name: "usr/lib/libtool.so", type: "symlink", linkname: "libtool.so.1" },
  { name: "usr/lib/again", type: "link", linkname: "usr/lib/libtool.so.1" },
  { name: "usr/share/doc", content: text(Number(version), 30_000), mtime: new Date("2026-02-03T04:05:06.789Z") },
  { name: "etc/tool", content: "shared" },
];

const rows: readonly (readonly [flags: readonly string[], digests: readonly string[]])[] = [
  [
    ["--policy", "c"],
    [
      "sha256:c18a9dd6c7f85868e20b61b61f40295a670487bd1a72676a20319857fdeb3b60",
      "sha256:6d29dbb63ab76265ae0722d808c5c5ba12596dbbd292cc837f65a2b493e8b848",
    ],
  ],
  [
    ["--policy", "c", "--hoist"],
    [
      "sha256:1bfc209e83b3dca141cb0f1659d4901615a5a0a0f797f9bdb73694025da6e1cb",
      "sha256:da267de9d0128ef3dbdd27369b141670d8059665f37710f069e271c19016cbf5",
    ],
  ],
  [
    ["--policy", "b", "--codec", "zstd"],
    [
      "sha256:51de13f32d9cd7ecf87958b936f870afe84aa18189ebd10f1a9d81f4c5d517e2",
      "sha256:e70256ce4a181279928914135741d3a212b1098530bd332e578142d4e0f66b43",
    ],
  ],
];

suite("digests of a repack", () => {
  const scope = fileScope();
  let sandbox: Sandbox;

  before(async () => {
    sandbox = await Sandbox.create(scope);
    const [one, two] = await Promise.all(["1", "2"].map((version) => tarOf(tool(version))));
    await writeLayout(sandbox.file("in"), { one: buildImage([one as Buffer]), two: buildImage([two as Buffer]) });
  });

  for (const [flags, digests] of rows)
    test(`are written down for ${flags.join(" ")}`, async () => {
      const args = ["repack", "oci:in:one=one", "oci:in:two=two", "--out", `oci:out${flags.join("")}`, ...flags];
      const report = (await cliJson(sandbox, args)) as Json;
      assert.deepEqual(
        report.images.map(({ digest }: Json) => digest),
        digests,
      );
    });
});
