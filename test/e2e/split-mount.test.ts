/** A part of the state directory that is another mount, as `mount --bind` makes one: said at the start, and nothing is touched. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { layoutOf, smallImage } from "../faults/images.js";
import { cli, serve } from "../support/daemon.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { everythingBelow } from "../support/trees.js";
import { Wire } from "../support/wire.js";

/** Runs what follows the directory, in a mount namespace of its own, in which the directory is a mount of its own. */
const bound: readonly [string, ...string[]] = [
  "unshare",
  process.getuid?.() === 0 ? "-m" : "-rm",
  "sh",
  "-c",
  'mount --bind "$0" "$0" && exec "$@"',
];

/** A container may forbid it even root. */
function whyNot(): string | false {
  const [program, ...args] = bound;
  try {
    execFileSync(program, [...args, "/tmp", "true"], { stdio: ["ignore", "ignore", "pipe"] });
    return false;
  } catch (error) {
    return `nothing can be bind-mounted here: ${(error as Error).message.replaceAll("\n", " ")}`;
  }
}

suite("a state directory on two mounts", { skip: whyNot() }, () => {
  const scope = fileScope();
  let sandbox: Sandbox;

  before(async () => {
    sandbox = await Sandbox.create(scope);
    const daemon = await serve(sandbox);
    const reference = await layoutOf(sandbox.file("layout"), await smallImage("app"));
    await (await Wire.connect(scope, daemon.socket)).ready(reference, { name: "app" });
    daemon.kill("SIGTERM");
    await daemon.ended;
  });

  for (const directory of ["layers", "layers/sha256", "roots", "staging", "spill"])
    test(`${directory}: STORE_SPLIT_MOUNT at the start, with the directory and what to do`, async () => {
      const { stratad, stateDir } = sandbox;
      const stored = everythingBelow(join(stateDir, "layers")).concat(everythingBelow(join(stateDir, "roots")));
      sandbox.stratad = [...bound, join(stateDir, directory), ...stratad];
      const { exitCode, stderr } = await cli(sandbox, ["serve"]);
      sandbox.stratad = stratad;
      assert.equal(exitCode, 74, stderr);
      const named = directory === "staging" ? "layers" : directory;
      assert.match(stderr, new RegExp(`Cannot open .*: ${join(stateDir, named)}.* is on another mount than staging`));
      assert.match(stderr, /STORE_SPLIT_MOUNT/);
      assert.match(stderr, /Keep the whole state directory on one mount/);
      const left = everythingBelow(join(stateDir, "layers")).concat(everythingBelow(join(stateDir, "roots")));
      assert.deepEqual(left, stored);
    });

  test("on one mount again, the same store is served", async (t) => {
    const wire = await Wire.connect(t, (await serve(sandbox)).socket);
    const { findings, checked } = await wire.request("store/verify", { deep: true });
    assert.deepEqual([findings, checked.roots], [[], 1]);
  });
});
