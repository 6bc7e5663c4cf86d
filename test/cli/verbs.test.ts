import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { StrataError } from "../../src/errors.js";
import type { Job } from "../../src/messages/job.js";
import type { Layer } from "../../src/messages/layer.js";
import type { Plan } from "../../src/messages/plan.js";
import type { NameGeneration, Root } from "../../src/messages/root.js";
import type { StoreUsage } from "../../src/messages/usage.js";
import { parse } from "./json.js";
import { answeredCli, JOB_ID, makeJob, readyJob, resultOf, startCli } from "./support.js";

const cli = answeredCli();
const { options, serve, run } = cli;

const TIME = "2026-01-01T00:00:00.000Z";
const root: Root = {
  rootId: "0123456789abcdef",
  path: "/state/roots/0123456789abcdef/tree",
  manifestDigest: `sha256:${"c".repeat(64)}`,
  overlap: "c",
  link: "hardlink",
  names: [{ name: "gcc", path: "/state/names/gcc", generation: 3 }],
  layers: [`sha256:${"d".repeat(64)}`],
  bytes: 1234,
  uniqueBytes: 34,
  sharedBytes: 1200,
  entries: 12,
  pinned: false,
  createdAt: TIME,
};
const generations: NameGeneration[] = [1, 2, 3].map((generation) => ({
  generation,
  rootId: generation === 3 ? root.rootId : "ab".repeat(8),
  manifestDigest: root.manifestDigest,
  platform: "linux/amd64",
  reference: "oci:/images:gcc\u001b[2J",
  at: TIME,
  current: generation === 3,
  stands: generation !== 1,
}));
const withGenerations: Root = { ...root, names: root.names.map((named) => ({ ...named, generations })) };
const layer: Layer = {
  diffId: `sha256:${"d".repeat(64)}`,
  digests: [],
  bytes: 1234,
  sharedBytes: 2468,
  entries: 12,
  topLevel: ["bin", "x\u001b[2J"],
  roots: ["0123456789abcdef"],
  durable: true,
  createdAt: TIME,
  lastUsedAt: TIME,
};
const overlap = new StrataError("LAYER_OVERLAP", "Cannot link the layers of x: 'bin' is in two").toWire();
const failed = (fields: Partial<Job> = {}) => makeJob({ state: "failed", error: overlap, ...fields });

describe("install", () => {
  it("prints the stable path on stdout, progress and a summary on stderr", async () => {
    const fake = await serve({
      "install/start": ({ progress }) => {
        setImmediate(() => progress(readyJob()));
        return makeJob({ state: "queued" });
      },
    });
    const { code, stdout, stderr } = await run("install", "oci:images:gcc-amd64", "--overlap", "c", "--durable");
    assert.equal(stdout, "/state/names/gcc-amd64\n");
    assert.equal(code, 0);
    assert.match(
      stderr,
      /^(oci:images:gcc-amd64: queued\n)?gcc-amd64: ready, 2 layers \(1 shared\), 12 files linked, 34 ms\n$/,
    );
    const { params } = await fake.called("install/start");
    assert.equal(params.reference, `oci:${join(cli.path, "images")}:gcc-amd64`);
    assert.deepEqual([params.overlap, params.durable, params.platform], ["c", true, undefined]);
  });

  it("says nothing but the path when it is told to be quiet", async () => {
    await serve({ "install/start": () => readyJob() });
    assert.deepEqual(await run("-q", "install", "busybox"), {
      code: 0,
      stdout: "/state/names/gcc-amd64\n",
      stderr: "",
    });
  });

  it("prints the job as its one document", async () => {
    await serve({ "install/start": () => readyJob() });
    const { stdout } = await run("install", "busybox", "--json");
    assert.deepEqual(parse(stdout), readyJob());
  });

  it("streams the jobs and then the document", async () => {
    await serve({ "install/start": () => readyJob() });
    const { stdout } = await run("install", "busybox", "--events", "ndjson");
    assert.deepEqual(stdout.trimEnd().split("\n").map(parse), [{ job: readyJob() }, readyJob()]);
  });

  it("ends as the job did, with the job's id in the document", async () => {
    await serve({ "install/start": () => failed() });
    const { code, stdout, stderr } = await run("install", "busybox", "--json");
    assert.equal(code, 65);
    assert.deepEqual(parse(stdout), { error: { ...overlap, details: { jobId: JOB_ID } } });
    assert.match(stderr, /^error: Cannot link the layers of x: 'bin' is in two \[LAYER_OVERLAP\]\n/);
  });

  it("installs several at once, and gives the code of the first that failed", async () => {
    await serve({
      "install/start": ({ params }) => {
        if (String(params.reference).includes("bad")) return failed();
        if (String(params.reference).includes("busy")) throw new StrataError("BUSY", "Cannot start: too many");
        return readyJob();
      },
    });
    const human = await run("install", "good", "busy", "bad");
    assert.equal(human.code, 75);
    assert.equal(human.stdout, "/state/names/gcc-amd64\n");
    assert.match(human.stderr, /^error: busy: Cannot start: too many \[BUSY\]$/m);
    assert.match(human.stderr, /^error: bad: Cannot link the layers/m);
    const { stdout } = await run("install", "good", "bad", "--json");
    assert.deepEqual(parse(stdout), {
      error: { ...overlap, details: { jobId: JOB_ID } },
      jobs: [readyJob(), failed()],
    });
    const both = await run("install", "good", "good2", "--json");
    assert.deepEqual(parse(both.stdout), { jobs: [readyJob(), readyJob()] });
  });

  it("leaves a detached job to the daemon and prints its id", async () => {
    const fake = await serve({ "install/start": () => makeJob({ state: "queued" }) });
    assert.equal((await run("install", "busybox", "--detach")).stdout, `${JOB_ID}\n`);
    assert.equal((await fake.called("install/start")).params.detach, true);
  });

  it("refuses the path of a layout or an archive without its transport, and says how both that it may mean are written", async () => {
    mkdirSync(join(cli.path, "team/app"), { recursive: true });
    writeFileSync(join(cli.path, "team/app/oci-layout"), "{}");
    writeFileSync(join(cli.path, "tools.tar"), "");
    for (const verb of ["install", "plan"])
      for (const [text, what, path] of [
        ["team/app", "a layout", "oci:team/app"],
        ["team/app:1.0", "a layout", "oci:team/app:1.0"],
        ["tools.tar:one", "an archive", "oci-archive:tools.tar:one or docker-archive:tools.tar:one"],
      ] as const) {
        const { code, stderr } = await run(verb, text);
        assert.equal(code, 64);
        const hint = `hint: As a path it is ${path}, as a registry's image docker://${text}.`;
        assert.ok(stderr.endsWith(`it is ${what}'s path [INVALID_REFERENCE]\n${hint}\n`), stderr);
      }
  });

  it("gives up waiting after --timeout, with the job's id, and the job goes on", async () => {
    const fake = await serve({ "install/start": () => makeJob() });
    const { code, stdout, stderr } = await run("install", "busybox", "--timeout", "700ms", "--json");
    assert.equal(code, 75);
    const { error } = parse(stdout);
    assert.deepEqual([error.code, error.details.jobId], ["TIMED_OUT", JOB_ID]);
    assert.match(stderr, /--timeout ran out after 700 ms \[TIMED_OUT\]/);
    assert.ok(!fake.calls.some(({ method }) => method === "install/cancel"));
  });

  it("gives up where the daemon does not even answer", async () => {
    await serve({ initialize: () => new Promise(() => {}) });
    const { code, stdout } = await run("install", "busybox", "--timeout", "300ms", "--json");
    assert.equal(parse(stdout).error.code, "TIMED_OUT");
    assert.equal(code, 75);
  });

  it("cancels its jobs on Ctrl-C, hears the answer, and exits 130", async () => {
    let tell = (_job: Job) => {};
    const fake = await serve({
      "install/start": ({ progress }) => {
        tell = progress;
        return makeJob();
      },
      "install/cancel": () => {
        tell(makeJob({ state: "cancelled" }));
        return makeJob({ state: "cancelled" });
      },
    });
    const child = startCli(["install", "busybox", "--json"], options());
    const result = resultOf(child);
    // The first line of progress: the start is answered.
    await once(child.stderr as NodeJS.EventEmitter, "data");
    child.kill("SIGINT");
    const { code, stdout, stderr } = await result;
    assert.equal(code, 130);
    assert.equal(parse(stdout).error.code, "CANCELLED");
    assert.match(stderr, /busybox: cancelled/);
    assert.deepEqual((await fake.called("install/cancel")).params, { jobId: JOB_ID });
  });

  it("ends at once on the second Ctrl-C", async () => {
    const fake = await serve({ "install/start": () => makeJob(), "install/cancel": () => new Promise(() => {}) });
    const child = startCli(["install", "busybox"], options());
    const result = resultOf(child);
    await once(child.stderr as NodeJS.EventEmitter, "data");
    child.kill("SIGINT");
    await fake.called("install/cancel");
    child.kill("SIGINT");
    assert.equal((await result).code, 130);
  });
});

describe("install --to", () => {
  const place = (path: string) => run("install", "busybox", "-q", "--to", path);

  it("places a symlink to the name, and replaces one that is there", async () => {
    await serve({ "install/start": () => readyJob() });
    const path = join(cli.path, "here");
    assert.equal((await place("here")).code, 0);
    assert.equal(readlinkSync(path), "/state/names/gcc-amd64");
    assert.equal((await place("here")).code, 0);
    symlinkSync("elsewhere", join(cli.path, "other"));
    assert.equal((await place("other/")).code, 0);
    assert.equal(readlinkSync(join(cli.path, "other")), "/state/names/gcc-amd64");
  });

  it("replaces nothing else, and then installs nothing", async () => {
    const fake = await serve({ "install/start": () => readyJob() });
    mkdirSync(join(cli.path, "directory"));
    writeFileSync(join(cli.path, "file"), "");
    for (const [path, fact] of [
      ["directory", "it is a directory"],
      ["file", "it is a file"],
      [".", "it is a directory"],
    ] as const) {
      const { code, stderr } = await place(path);
      assert.match(stderr, new RegExp(`^error: Cannot place the link .*: ${fact}, not a symlink \\[USAGE\\]`));
      assert.equal(code, 64);
    }
    symlinkSync("nowhere", join(cli.path, "dangling"));
    for (const directory of ["missing", "file", "dangling"]) {
      const { code, stderr } = await place(`${directory}/link`);
      assert.match(
        stderr,
        new RegExp(`^error: Cannot place the link .*: there is no directory .*${directory} \\[USAGE\\]`),
      );
      assert.equal(code, 64);
    }
    assert.deepEqual(fake.calls, []);
  });

  it("places no link where the install fails", async () => {
    await serve({ "install/start": () => failed() });
    assert.equal((await place("here")).code, 65);
    assert.throws(() => readlinkSync(join(cli.path, "here")), { code: "ENOENT" });
  });
});

describe("status", () => {
  const unknown = () => {
    throw new StrataError("UNKNOWN_NAME", "Cannot find the name");
  };

  it("takes a UUID for a job, then an existing name, then a reference", async () => {
    const image = { reference: "docker.io/library/other:latest", installed: false, roots: [] };
    await serve({
      "install/get": () => readyJob(),
      "root/get": ({ params }) => (params.name === "gcc" ? root : unknown()),
      "image/status": () => image,
    });
    assert.deepEqual(parse((await run("status", JOB_ID.toUpperCase(), "--json")).stdout), readyJob());
    assert.deepEqual(parse((await run("status", "gcc", "--json")).stdout), root);
    const missing = await run("status", "other", "--json");
    assert.deepEqual(parse(missing.stdout), image);
    assert.equal(missing.code, 0);
    const human = await run("status", "other");
    const said = "not installed  other: no name, and no root of docker.io/library/other:latest\n";
    assert.deepEqual([human.code, human.stdout], [0, said]);
    assert.match(
      (await run("status", "gcc", "-q")).stdout,
      /^gcc {2}3 {2}0123456789ab {2}c {2}hardlink {2}- {2}1\.2 kB {2}34 B {2}1\.2 kB {2}.* ago {2}\/state\/names\/gcc\n$/,
    );
  });

  it("tells the generations of a name, the newest first, which is current and which is gone", async () => {
    await serve({ "root/get": () => withGenerations });
    const { stdout } = await run("status", "gcc");
    const table = stdout.split("\n\n")[1] ?? "";
    assert.match(table, /^GEN {2}STATE {4}INSTALLED .*REFERENCE\n/);
    assert.deepEqual(
      table
        .trimEnd()
        .split("\n")
        .slice(1)
        .map((line) => line.split(/ {2,}/).toSpliced(2, 1)),
      [
        ["3", "current", "0123456789ab", "cccccccccccc", "oci:/images:gcc\\x1b[2J"],
        ["2", "-", "abababababab", "cccccccccccc", "oci:/images:gcc\\x1b[2J"],
        ["1", "gone", "abababababab", "cccccccccccc", "oci:/images:gcc\\x1b[2J"],
      ],
    );
    assert.deepEqual(parse((await run("status", "gcc", "--json")).stdout), withGenerations);
  });

  it("takes the beginning of a job's id, and for a reference what no job begins with", async () => {
    await serve({
      "install/get": () => readyJob(),
      "install/list": () => ({ jobs: [readyJob()] }),
      "root/get": unknown,
      "image/status": () => ({ reference: "docker.io/library/abcdef:latest", installed: false, roots: [] }),
    });
    assert.deepEqual(parse((await run("status", JOB_ID.slice(0, 10), "--json")).stdout), readyJob());
    assert.match((await run("status", "abcdef")).stdout, /^not installed {2}abcdef: no name/);
  });

  it("makes a local path absolute", async () => {
    const fake = await serve({
      "image/status": () => ({ reference: "r", installed: true, roots: [root], job: readyJob() }),
    });
    const { stdout } = await run("status", "oci:images:x", "-q");
    assert.equal((await fake.called("image/status")).params.reference, `oci:${join(cli.path, "images")}:x`);
    assert.match(stdout, /^gcc .*\n01890a5d-.* ready {2}gcc-amd64 {2}oci:\/images:gcc-amd64\n$/);
  });

  it("exits 79 for a job that nobody knows", async () => {
    await serve({
      "install/get": () => {
        throw new StrataError("UNKNOWN_JOB", "Cannot find the job");
      },
    });
    assert.equal((await run("status", JOB_ID)).code, 79);
  });

  it("shows the daemon, its queue and the last jobs without an argument", async () => {
    const server = {
      version: "0.1.0",
      protocol: [1],
      instanceId: "i",
      epoch: "e",
      pid: 7,
      stateDir: "/state",
      startedAt: TIME,
      draining: false,
      sessions: { full: 1, read: 0 },
      jobs: { queued: 2, running: 1, ready: 0, failed: 0, cancelled: 0 },
      workers: { total: 4, busy: 3, queuedTasks: 1 },
      store: { layers: 3, roots: 2, names: 2, bytes: 1e6, apparentBytes: 3e6, uniqueBytes: 1e6, sharedBytes: 2e6 },
      counters: { blobsRead: 0, layersUnpacked: 0, rootsLinked: 0 },
    };
    await serve({ "server/status": () => server, "install/list": () => ({ jobs: [makeJob({ phase: "link" })] }) });
    const { stdout } = await run("status");
    assert.match(stdout, /^daemon {3}stratad 0\.1\.0, pid 7, started .* ago\nstate {4}\/state\n/);
    assert.match(stdout, /^bytes {4}3\.0 MB apparent, 1\.0 MB unique, 2\.0 MB shared$/m);
    assert.match(stdout, /^jobs {5}1 running, 2 queued/m);
    assert.match(stdout, /^workers {2}3 of 4 busy, 1 task queued$/m);
    assert.match(stdout, /\n\nJOB .*\n01890a5d-.* linking {2}- {5}oci:\/images:gcc-amd64\n$/);
    const document = parse((await run("status", "--json")).stdout);
    assert.deepEqual(document, { server, jobs: [makeJob({ phase: "link" })] });
  });
});

describe("lists", () => {
  it("are followed to their end", async () => {
    const [second, third] = [randomUUID(), randomUUID()];
    const pages = new Map([
      [undefined, { jobs: [makeJob()], nextCursor: second }],
      [second, { jobs: [readyJob()], nextCursor: third }],
      [third, { jobs: [failed()] }],
    ]);
    await serve({ "install/list": ({ params }) => pages.get(params.cursor as typeof second | undefined) });
    assert.deepEqual(parse((await run("ps", "--json")).stdout), { jobs: [makeJob(), readyJob(), failed()] });
    const { stdout } = await run("ps");
    assert.deepEqual(
      stdout.split("\n").map((line) => line.split(/ {2,}/)[2]),
      ["STATE", "running", "ready", "failed [LAYER_OVERLAP]", undefined],
    );
  });

  it("are tables with a row for each name, escaped", async () => {
    const unnamed = { ...root, names: [], pinned: true };
    await serve({ "root/list": () => ({ roots: [root, unnamed] }), "layer/list": () => ({ layers: [layer] }) });
    const { stdout } = await run("roots");
    assert.match(
      stdout,
      /^NAME {2}GEN .*PATH\ngcc {3}3 .* \/state\/names\/gcc\n- {5}- .* {2}pinned {2}.*\/state\/roots\/0123456789abcdef\/tree\n$/,
    );
    assert.match(
      (await run("layers", "-q")).stdout,
      /^d{12} {2}1 {2}12 {2}1\.2 kB {2}2\.5 kB {2}.* ago {2}bin x\\x1b\[2J\n$/,
    );
    assert.deepEqual(parse((await run("layers", "--json")).stdout), { layers: [layer] });
    assert.deepEqual(parse((await run("roots", "--json")).stdout), { roots: [root, unnamed] });
  });
});

describe("plan", () => {
  const plan: Plan = {
    reference: "oci:/images:gcc",
    platform: "linux/amd64",
    name: "gcc",
    overlap: "b",
    link: "copy",
    manifestDigest: root.manifestDigest,
    installed: false,
    toFetchBytes: 0,
    toWriteBytes: 1234,
    toWriteInodes: 12,
    sharedBytes: 0,
    freeAfterBytes: 1e9,
    complete: true,
    layers: [{ digest: `sha256:${"d".repeat(64)}`, size: 400, stored: true }],
    conflicts: [],
    conflictsTotal: 0,
  };
  const refused: Plan = { ...plan, conflicts: [{ path: "bin", sides: [] }], conflictsTotal: 1 };

  it("asks for what an install with these options would be, and prints it on stdout", async () => {
    const fake = await serve({ "install/plan": () => plan });
    const args = ["--name", "gcc", "--platform", "linux/arm64", "--overlap", "b", "--link", "copy"];
    const { code, stdout, stderr } = await run("plan", "oci:images:gcc", ...args);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /^write {4}1\.2 kB, 12 inodes$/m);
    assert.deepEqual((await fake.called("install/plan")).params, {
      reference: `oci:${join(cli.path, "images")}:gcc`,
      name: "gcc",
      platform: "linux/arm64",
      overlap: "b",
      link: "copy",
    });
    assert.deepEqual(
      fake.calls.map(({ method }) => method),
      ["initialize", "install/plan"],
    );
  });

  it("exits 65 with the plan where an install would be refused for conflicts", async () => {
    await serve({ "install/plan": () => refused });
    const { code, stdout, stderr } = await run("plan", "gcc", "--json");
    assert.deepEqual([code, parse(stdout), stderr], [65, refused, ""]);
    const human = await run("plan", "gcc");
    assert.deepEqual([human.code, human.stderr], [65, ""]);
    assert.match(human.stdout, /\nrefused for\n {2}bin\n$/);
  });

  it("ends with the error of a reference that fails", async () => {
    await serve({
      "install/plan": () => {
        throw new StrataError("MANIFEST_UNKNOWN", "Cannot find the image: there is none");
      },
    });
    const { code, stdout } = await run("plan", "gcc", "--json");
    assert.deepEqual([code, parse(stdout).error.code], [79, "MANIFEST_UNKNOWN"]);
  });

  for (const args of [
    [],
    ["one", "two"],
    ["gcc", "--priority", "normal"],
    ["gcc", "--overlap", "d"],
    ["gcc", "--durable"],
  ]) {
    it(`asks nobody for 'plan ${args.join(" ")}'`, async () => {
      const fake = await serve({});
      const { code, stdout } = await run("plan", ...args, "--json");
      assert.deepEqual([code, parse(stdout).error.code], [64, "USAGE"]);
      assert.deepEqual(fake.calls, []);
    });
  }
});

describe("rollback", () => {
  const had = { ...root, rootId: "ab".repeat(8) };
  const has = { ...root, names: [{ name: "gcc", path: "/state/names/gcc", generation: 2 }] };

  it("prints the stable path, and says which generation is current and which was", async () => {
    const fake = await serve({ "root/rollback": () => ({ had, has }) });
    assert.deepEqual(await run("rollback", "gcc"), {
      code: 0,
      stdout: "/state/names/gcc\n",
      stderr: "gcc: generation 2 is current, it was 3\n",
    });
    assert.deepEqual((await fake.called("root/rollback")).params, { name: "gcc" });
  });

  it("goes to the generation that it is given, and says where that was current already or the other is gone", async () => {
    const answers = [{ had: has, has }, { has }];
    const fake = await serve({ "root/rollback": () => answers.shift() });
    assert.equal((await run("rollback", "gcc", "2")).stderr, "gcc: generation 2 is current already\n");
    assert.deepEqual((await fake.called("root/rollback")).params, { name: "gcc", generation: 2 });
    assert.deepEqual(await run("rollback", "gcc", "2", "-q").then(({ stdout, stderr }) => [stdout, stderr]), [
      "/state/names/gcc\n",
      "",
    ]);
    assert.equal(answers.length, 0);
  });

  it("says only which is current where the root that the name had is gone", async () => {
    await serve({ "root/rollback": () => ({ has }) });
    assert.equal((await run("rollback", "gcc")).stderr, "gcc: generation 2 is current\n");
  });

  it("prints both roots as its one document", async () => {
    await serve({ "root/rollback": () => ({ had, has }) });
    assert.deepEqual(parse((await run("rollback", "gcc", "--json")).stdout), { had, has });
  });

  for (const generation of ["0", "-1", "1.5", "1e3", "two", "", "1234567890123456"]) {
    it(`asks nobody where the generation is '${generation}'`, async () => {
      const fake = await serve({});
      const { code, stdout } = await run("rollback", "--json", "--", "gcc", generation);
      assert.deepEqual([code, parse(stdout).error.code], [64, "USAGE"]);
      assert.deepEqual(fake.calls, []);
    });
  }
});

describe("verify", () => {
  it("says how to repair what it found, unless it is nothing of the store's or was to be repaired", async () => {
    const checked = { layers: 1, roots: 0, documents: 0, entries: 0, bytes: 0 };
    let findings: unknown;
    await serve({ "store/verify": () => ({ checked, findings, findingsTotal: 1 }) });
    const hintAfter = async (code: string, ...args: string[]): Promise<string | undefined> => {
      findings = [{ code, path: "x", detail: "it is not there" }];
      const { code: exitCode, stderr } = await run("verify", ...args);
      assert.equal(exitCode, 65);
      return /^hint: .*$/m.exec(stderr)?.[0];
    };
    assert.equal(await hintAfter("MISSING"), "hint: The same with --repair repairs what can be repaired.");
    assert.equal(await hintAfter("MISSING", "--repair"), undefined);
    assert.equal(await hintAfter("STRANGER"), undefined);
  });
});

describe("gc, pin and unpin", () => {
  const none = { roots: 0, layers: 0, blobs: 0, bytes: 0, inodes: 0 };
  const nothing = { plan: false, removed: none, stays: none, gone: [], kept: [] };

  it("gives gc its options, and sizes in the units that people write", async () => {
    const fake = await serve({ "store/gc": () => nothing });
    await run("gc", "--keep-bytes", "1.5GiB", "--keep-last", "3");
    await run("gc", "--plan", "--keep-bytes", "500 MB");
    await run("gc", "--keep-bytes", "0");
    assert.deepEqual(
      fake.calls.filter(({ method }) => method === "store/gc").map(({ params }) => params),
      [
        { plan: false, keepBytes: 1.5 * 2 ** 30, keepLast: 3 },
        { plan: true, keepBytes: 500_000_000 },
        { plan: false, keepBytes: 0 },
      ],
    );
    for (const wrong of [
      ["--keep-bytes", "much"],
      ["--keep-bytes", "-1"],
      ["--keep-last", "0"],
      ["--keep-last", "x"],
    ])
      assert.equal((await run("gc", ...wrong)).code, 64, wrong.join(" "));
  });

  it("pins by name or by the id of a root, and rm says why a root stays and how it goes", async () => {
    const rootId = "ab".repeat(32);
    const fake = await serve({
      "root/get": () => ({ ...root, rootId, pinned: false }),
      "root/pin": () => ({ ...root, rootId }),
      "root/remove": () => ({ ...root, rootId, pinned: true, stays: "it is pinned" }),
    });
    assert.equal((await run("pin", "gcc")).stdout, `${rootId}\n`);
    assert.match((await run("unpin", rootId)).stderr, /^it was not pinned\nhint: `stratad roots` shows which are/);
    assert.deepEqual(
      fake.calls.filter(({ method }) => method === "root/pin").map(({ params }) => params),
      [
        { name: "gcc", pinned: true },
        { rootId, pinned: false },
      ],
    );
    const { stdout, stderr } = await run("rm", "gcc");
    const hint = `hint: \`stratad unpin ${rootId}\` lets it go.`;
    assert.deepEqual([stdout, stderr], ["gcc\n", `its root abababababab stays: it is pinned\n${hint}\n`]);
  });
});

describe("du", () => {
  const usage: StoreUsage = {
    apparentBytes: 3e9,
    uniqueBytes: 2e9,
    sharedBytes: 1e9,
    roots: [
      {
        rootId: "01".repeat(32),
        names: [],
        overlap: "c",
        link: "copy",
        apparentBytes: 1,
        uniqueBytes: 1,
        sharedBytes: 0,
      },
      {
        rootId: root.rootId,
        names: Array.from({ length: 10 }, (_, n) => `n${n}\u001b[2J`),
        overlap: "a",
        link: "hardlink",
        apparentBytes: 2e9,
        uniqueBytes: 1500,
        sharedBytes: 1e6,
      },
    ],
  };

  it("has a row for each root, the dearest first, and the store in the last", async () => {
    const fake = await serve({ "store/usage": () => usage });
    const { stdout } = await run("du");
    assert.deepEqual((await fake.called("store/usage")).params, {});
    assert.deepEqual(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.split(/ {2,}/)),
      [
        ["APPARENT", "UNIQUE", "SHARED", "OVERLAP", "LINK", "ROOT", "NAMES"],
        ["2.0 GB", "1.5 kB", "1.0 MB", "a", "hardlink", "0123456789ab", `${namesShown} (2 more)`],
        ["1 B", "1 B", "0 B", "c", "copy", "010101010101", "-"],
        ["3.0 GB", "2.0 GB", "1.0 GB", "-", "-", "-", "(total)"],
      ],
    );
    assert.match((await run("du", "-q")).stdout, /^2\.0 GB .*\n1 B .*\n3\.0 GB .*\(total\)\n$/);
  });
  const namesShown = Array.from({ length: 8 }, (_, n) => `n${n}\\x1b[2J`).join(" ");

  it("prints its document as it came", async () => {
    await serve({ "store/usage": () => usage });
    assert.deepEqual(parse((await run("du", "--json")).stdout), usage);
  });
});

describe("rm, cancel, logs and wait", () => {
  it("rm prints the name it removed, or the root it had", async () => {
    const fake = await serve({ "root/remove": () => root });
    assert.deepEqual(await run("rm", "gcc"), { code: 0, stdout: "gcc\n", stderr: "" });
    assert.deepEqual((await fake.called("root/remove")).params, { name: "gcc" });
    assert.deepEqual(parse((await run("rm", "gcc", "--json")).stdout), root);
  });

  it("cancel says where the job goes on", async () => {
    let state: Job["state"] = "cancelled";
    await serve({ "install/cancel": () => makeJob({ state }) });
    assert.deepEqual(await run("cancel", JOB_ID), { code: 0, stdout: `${JOB_ID}  cancelled\n`, stderr: "" });
    state = "running";
    assert.match((await run("cancel", JOB_ID)).stderr, /^It goes on: another client waits/);
  });

  it("logs has a line for each entry, escaped once, and says how many are left out", async () => {
    const line = (message: string) => ({ at: TIME, event: "layers", message, data: { index: 0 } });
    const log = { jobId: JOB_ID, lines: [line("layer 0, a\\x1b, unpacked"), line("\u001b[31mred")], omitted: 2 };
    const fake = await serve({ "job/log": () => log });
    const { code, stdout, stderr } = await run("logs", JOB_ID.toUpperCase());
    assert.equal(stdout, `${TIME}  layer 0, a\\x1b, unpacked\n${TIME}  \\x1b[31mred\n`);
    assert.deepEqual([code, stderr], [0, "2 earlier lines left out\n"]);
    assert.deepEqual((await fake.called("job/log")).params, { jobId: JOB_ID });
    assert.deepEqual(parse((await run("logs", JOB_ID, "--json")).stdout), log);
    assert.equal((await run("logs", "gcc")).code, 64);
  });

  it("wait asks until the job is over and ends as it did", async () => {
    const answers = [makeJob({ phase: "fetch" }), makeJob({ phase: "link" }), readyJob()];
    await serve({ "install/wait": () => answers.shift() ?? failed() });
    const ready = await run("wait", JOB_ID);
    assert.equal(ready.stdout, "/state/names/gcc-amd64\n");
    assert.match(ready.stderr, /: fetching\n.*: linking\ngcc-amd64: ready/);
    const over = await run("wait", JOB_ID, "--json");
    assert.equal(over.code, 65);
    assert.equal(parse(over.stdout).error.code, "LAYER_OVERLAP");
  });

  it("Ctrl-C ends a wait and not the job", async () => {
    const fake = await serve({ "install/wait": () => new Promise(() => {}) });
    const child = startCli(["wait", JOB_ID], options());
    const result = resultOf(child);
    await fake.called("install/wait");
    child.kill("SIGINT");
    const { code, stderr } = await result;
    assert.equal(code, 130);
    assert.match(stderr, /Cannot wait for the job: interrupted \[CANCELLED\]/);
    assert.ok(!fake.calls.some(({ method }) => method === "install/cancel"));
  });
});

describe("a reader that goes away", () => {
  it("is no crash", async () => {
    await serve({ "install/list": () => ({ jobs: Array.from({ length: 1000 }, () => makeJob()) }) });
    const child = startCli(["ps"], options());
    child.stdout?.destroy();
    const { code, stderr } = await resultOf(child);
    assert.deepEqual([code, stderr], [0, ""]);
  });
});
