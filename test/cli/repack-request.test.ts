/**
 * What `repack` makes of its command line, and which of them it refuses before anything is read.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Command } from "commander";
import { addRepackOptions, repackPlace, repackRequest } from "../../src/cli/repack-request.js";
import { StrataError } from "../../src/errors.js";

const host = { cwd: "/here", env: {} };

function parsed(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const command = new Command("repack").argument("<images...>").exitOverride();
  addRepackOptions(command);
  command.parse(argv, { from: "user" });
  const { args } = command;
  const options = command.opts();
  return { request: repackRequest(args, options, { ...host, env }), place: repackPlace(options, host.cwd) };
}

describe("the command line of repack", () => {
  it("has images with their names behind the last =, and a place", () => {
    const { request, place } = parsed(["oci:a=b:x=one", "docker-archive:/f.tar=two", "--out", "oci:out"]);
    assert.deepEqual(request.inputs, [
      { reference: { transport: "oci", path: "/here/a=b", tag: "x" }, out: "one" },
      { reference: { transport: "docker-archive", path: "/f.tar" }, out: "two" },
    ]);
    assert.deepEqual(place, { kind: "layout", directory: "/here/out" });
    const { policy, codec, planOnly, verify, hoist } = request;
    assert.deepEqual([policy, codec, planOnly, verify, hoist], ["c", "gzip", false, true, undefined]);
  });

  it("takes every option, --no-hoist as often as it is given and on either side of --hoist", () => {
    const flags = ["--no-hoist", "a", "--hoist", "--no-hoist", "b/**", "--no-verify", "--codec", "zstd"];
    const more = ["--max-layers", "7", "--min-layer-bytes", "2kB", "--platform", "linux/arm64", "--overlap", "b"];
    const epoch = { SOURCE_DATE_EPOCH: "1700000000" };
    const { request } = parsed(["host/x=a", "--out", "docker://h:1/team/x", ...flags, ...more], epoch);
    const { inputs: _inputs, ...rest } = request;
    assert.deepEqual(rest, {
      policy: "c",
      codec: "zstd",
      maxLayers: 7,
      minLayerBytes: 2000,
      hoist: { keep: ["a", "b/**"] },
      platform: { os: "linux", architecture: "arm64" },
      overlap: "b",
      latestMtime: 1_700_000_000,
      planOnly: false,
      verify: false,
    });
  });

  it("needs no place for a plan", () => {
    assert.equal(parsed(["x=a", "--plan"]).place, undefined);
  });

  const refused: readonly (readonly string[])[] = [
    ["oci:in:one", "--out", "oci:x"],
    ["=a", "--out", "oci:x"],
    ["x=", "--out", "oci:x"],
    ["oci:in:one=a b", "--out", "oci:x"],
    ["oci:in:one=.a", "--out", "oci:x"],
    ["oci:in:one=a", "oci:in:two=a", "--out", "oci:x"],
    ["oci:in:one=a"],
    ["oci:in:one=a", "--out", "oci:x:tag"],
    ["oci:in:one=a", "--out", "oci-archive:x"],
    ["oci:in:one=a", "--out", "x"],
    ["oci:in:one=a", "--out", "docker://localhost:1/x:tag"],
    ["oci:in:one=a", "--out", "docker://localhost:1"],
    ["oci:in:one=a", "--out", "oci:x", "--policy", "b", "--hoist"],
    ["oci:in:one=a", "--out", "oci:x", "--no-hoist", "usr"],
    ["oci:in:one=a", "--out", "oci:x", "--max-layers", "0"],
    ["oci:in:one=a", "--out", "oci:x", "--min-layer-bytes", "-1"],
  ];
  for (const argv of refused)
    it(`refuses ${argv.join(" ")}`, () => {
      assert.throws(
        () => parsed(argv),
        (error) => error instanceof StrataError && error.code === "USAGE",
      );
    });

  it("refuses a SOURCE_DATE_EPOCH that is none", () => {
    assert.throws(() => parsed(["x=a", "--plan"], { SOURCE_DATE_EPOCH: "yesterday" }), /is no number of seconds/);
  });
});
