import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { parse } from "./json.js";
import { isolated, makeScratch, runCli, runHere, type Scratch } from "./support.js";

let scratch: Scratch;
before(() => {
  scratch = makeScratch();
});
after(() => scratch.remove());
const options = () => ({ env: isolated(scratch.path), cwd: scratch.path });
const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  runHere(args, { env: { ...isolated(scratch.path), ...env }, cwd: scratch.path });

describe("the command line", () => {
  it("is a program: its arguments, its two streams and its exit code are the process's", async () => {
    const version = await runCli(["version"], options());
    assert.deepEqual(version, { code: 0, stdout: (await run(["version"])).stdout, stderr: "" });
    const mistake = await runCli(["instal"], options());
    assert.deepEqual(mistake, { code: 64, stdout: "", stderr: (await run(["instal"])).stderr });
  });

  it("prints its help on stdout when nothing or help is asked, with every verb of this release and no other", async () => {
    const verbs =
      "install plan status ps wait cancel logs roots layers du rm rollback verify pin unpin gc export import repack serve endpoint version help".split(
        " ",
      );
    for (const args of [[], ["--help"], ["help"], ["-h"]]) {
      const { code, stdout, stderr } = await run(args);
      assert.equal(code, 0);
      assert.equal(stderr, "");
      const [, listed = ""] = stdout.split("Commands:\n");
      const found = [...listed.matchAll(/^ {2}(\w+)/gm)].map(([, verb]) => verb);
      assert.deepEqual(found, verbs);
    }
  });

  it("prints the help of a verb with its own and the global options", async () => {
    const { code, stdout } = await run(["install", "--help"]);
    assert.equal(code, 0);
    for (const flag of ["--name", "--to", "--detach", "--durable", "--json", "--timeout"]) {
      assert.match(stdout, new RegExp(`^ +(-\\w, )?${flag}\\b`, "m"));
    }
  });

  it("prints its version, for people and as a document", async () => {
    for (const args of [["version"], ["--version"], ["-V"]]) {
      const { code, stdout } = await run(args);
      assert.equal(code, 0);
      assert.match(stdout, /^stratad \d+\.\d+\.\d+ \(protocol 1, node v\d+\.\d+\.\d+\)\n$/);
    }
    const { stdout } = await run(["version", "--json"]);
    assert.deepEqual(Object.keys(parse(stdout)), ["version", "protocol", "node"]);
  });

  const usage: readonly [args: readonly string[], message: string, hint: string][] = [
    [["instal"], "Cannot read the command line: unknown command 'instal'", "Did you mean install?"],
    [["remove", "app"], "Cannot read the command line: unknown command 'remove'", "Did you mean rm?"],
    [["xyzzy"], "Cannot read the command line: unknown command 'xyzzy'", "`stratad --help` lists the verbs."],
    [["-q"], "Cannot read the command line: there is no verb", "`stratad --help` lists the verbs."],
    [
      ["install"],
      "Cannot read the command line: missing required argument 'references'",
      "`stratad install --help` lists its arguments and options.",
    ],
    [["install", "a", "--nam", "x"], "Cannot read the command line: unknown option '--nam'", "Did you mean --name?"],
    [["ps", "--timeot=3"], "Cannot read the command line: unknown option '--timeot=3'", "Did you mean --timeout?"],
    [
      ["install", "a", "--overlap", "d"],
      "Cannot read the command line: option '--overlap <policy>' argument 'd' is invalid. Allowed choices are c, b, a",
      "`stratad install --help` lists its arguments and options.",
    ],
    [
      ["ps", "extra"],
      "Cannot read the command line: too many arguments for 'ps'. Expected 0 arguments but got 1",
      "`stratad ps --help` lists its arguments and options.",
    ],
    [
      ["--timeout", "soon", "ps"],
      "Cannot read --timeout: 'soon' is no duration",
      "Durations look like 30s, 5m, 1h or 500ms; a bare number is seconds.",
    ],
    [
      ["install", "a", "b", "--name", "x"],
      "Cannot use --name: 2 references are given, and it is for one",
      "`stratad --help` lists the verbs and their options.",
    ],
    [
      ["install", "a", "--to", "x", "--detach"],
      "Cannot use --to with --detach: there is no root yet",
      "`stratad --help` lists the verbs and their options.",
    ],
    [["wait", "x"], "Cannot find the job 'x': it is not a UUID, nor six digits of one", "`stratad ps` lists the jobs."],
    [["\u001b[2J"], "Cannot read the command line: unknown command '\\x1b[2J'", "`stratad --help` lists the verbs."],
  ];
  for (const [args, message, hint] of usage) {
    it(`${JSON.stringify(args)} is a usage error, told in one line and a hint`, async () => {
      const { code, stdout, stderr } = await run(args);
      assert.equal(stderr, `error: ${message} [USAGE]\nhint: ${hint}\n`);
      assert.equal(code, 64);
      assert.equal(stdout, "");
    });
  }

  it("tells a usage error as one document too where one is asked for", async () => {
    for (const args of [
      ["instal", "--json"],
      ["--json", "ps", "--no"],
      ["ps", "--events", "ndjson", "x"],
    ]) {
      const { code, stdout } = await run(args);
      assert.equal(code, 64);
      assert.equal(parse(stdout).error.code, "USAGE");
    }
  });

  it("refuses what is no reference and no name before it looks for a daemon", async () => {
    const cases = [
      { args: ["install", "oci:"], code: 64, error: "INVALID_REFERENCE" },
      { args: ["install", "UPPER/case:x"], code: 64, error: "INVALID_REFERENCE" },
      { args: ["install", "a", "--name", "../x"], code: 64, error: "INVALID_NAME" },
      { args: ["rm", ".."], code: 64, error: "INVALID_NAME" },
    ];
    for (const { args, code, error } of cases) {
      const result = await run([...args, "--json"]);
      assert.equal(parse(result.stdout).error.code, error);
      assert.equal(result.code, code);
    }
    assert.ok(!existsSync(join(scratch.path, "data")));
  });

  it("starts no daemon beside an endpoint that was named, by flag or environment", async () => {
    const socket = join(scratch.path, "nobody.sock");
    for (const result of [
      await run(["ps", "--endpoint", socket, "--json"]),
      await run(["ps", "--json"], { STRATAD_ENDPOINT: socket }),
    ]) {
      assert.equal(parse(result.stdout).error.code, "DAEMON_UNREACHABLE");
      assert.equal(result.code, 69);
    }
    assert.ok(!existsSync(join(scratch.path, "data")));
  });

  it("hears the environment's mirrors, and refuses what they may not be", async () => {
    const cases: readonly [env: NodeJS.ProcessEnv, message: RegExp][] = [
      [{ STRATAD_TIMEOUT: "x" }, /^error: Cannot read STRATAD_TIMEOUT: 'x' is no duration/],
      [{ STRATAD_PROGRESS: "x" }, /^error: Cannot read STRATAD_PROGRESS: 'x' is none of auto, tty, plain, none/],
      [{ STRATAD_QUIET: "x" }, /^error: Cannot read STRATAD_QUIET: 'x' is none of true, false/],
    ];
    for (const [env, message] of cases) {
      const { code, stderr } = await run(["version"], env);
      assert.match(stderr, message);
      assert.equal(code, 64);
    }
    assert.equal((await run(["version"], { STRATAD_TIMEOUT: "", STRATAD_COLOR: "never", STRATAD_QUIET: "1" })).code, 0);
    assert.equal((await run(["version", "--timeout", "1s"], { STRATAD_TIMEOUT: "x" })).code, 0);
  });

  it("colours an error only where colours are wanted", async () => {
    assert.match((await run(["ps", "x", "--color", "always"])).stderr, /^error:/);
    const red = "\u001b[31merror:\u001b[0m Cannot";
    assert.ok((await run(["wait", "x", "--color", "always"])).stderr.startsWith(red));
    assert.ok((await run(["wait", "x"], { STRATAD_COLOR: "always" })).stderr.startsWith(red));
    assert.match((await run(["wait", "x", "--color", "auto"])).stderr, /^error:/);
  });
});
