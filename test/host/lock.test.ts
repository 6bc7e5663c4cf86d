import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { ownIdentity, type ProcessIdentity } from "../../src/host/identity.js";
import { acquireLock } from "../../src/host/lock.js";
import { createLog } from "../../src/log.js";
import { toolOrSkip } from "../support/tools.js";
import { type Contender, holderScript, startContender } from "./contender.js";

const flock = toolOrSkip("flock");
const withFlock = flock.path ?? "/nonexistent/flock";
const without = "/nonexistent/flock";
const NOBODY = { uid: 65534, gid: 65534 };

const base = await mkdtemp(join(tmpdir(), "stratad-lock-"));
await chmod(base, 0o755);
const started: Contender[] = [];
after(async () => {
  await Promise.all(started.map((contender) => contender.kill()));
  await rm(base, { recursive: true, force: true });
});

const quiet = createLog("error", () => {});
const freshPath = async () => join(await mkdtemp(join(base, "state-")), "lock");
async function contend(path: string, program: string): Promise<Contender> {
  const contender = await startContender(path, program);
  started.push(contender);
  return contender;
}

const pairs = [
  { first: "flock", second: "flock" },
  { first: "file", second: "file" },
  { first: "flock", second: "file" },
  { first: "file", second: "flock" },
] as const;
const programs = { flock: withFlock, file: without };

for (const { first, second } of pairs) {
  const skip = first === "file" && second === "file" ? false : flock.skip;

  test(`a ${second} daemon is refused with the pid of a ${first} daemon that runs`, { skip }, async () => {
    const path = await freshPath();
    const holder = await contend(path, programs[first]);
    assert.deepEqual(await holder.attempt(), { locked: true, how: first, pid: holder.pid });
    const refused = await (await contend(path, programs[second])).attempt();
    assert.equal(refused.code, "STORE_LOCKED");
    assert.equal(refused.holder, holder.pid);
    assert.match(refused.message ?? "", /^Cannot lock .*: process \d+ holds it$/);
  });

  test(`kill -9 of a ${first} daemon frees the lock for a ${second} daemon`, { skip }, async () => {
    const path = await freshPath();
    const holder = await contend(path, programs[first]);
    await holder.attempt();
    await holder.kill();
    const next = await contend(path, programs[second]);
    assert.deepEqual(await next.attempt(), { locked: true, how: second, pid: next.pid });
  });

  test(`a ${first} daemon that releases leaves the lock file only, and a ${second} daemon gets it`, {
    skip,
  }, async () => {
    const path = await freshPath();
    const holder = await contend(path, programs[first]);
    await holder.attempt();
    await holder.release();
    assert.deepEqual(await readdir(join(path, "..")), ["lock"]);
    assert.equal((await (await contend(path, programs[second])).attempt()).locked, true);
  });
}

const crowds = [
  { title: "with flock", program: () => withFlock, skip: flock.skip },
  { title: "without flock", program: () => without, skip: false },
  {
    title: "of which every other lacks flock",
    program: (n: number) => (n % 2 ? without : withFlock),
    skip: flock.skip,
  },
];
for (const { title, program, skip } of crowds) {
  test(`of eight processes ${title} that race over a killed holder, one gets the lock`, { skip }, async () => {
    const path = await freshPath();
    let holder = await contend(path, program(0));
    await holder.attempt();
    let racers = await Promise.all(Array.from({ length: 7 }, (_, n) => contend(path, program(n + 1))));
    for (let round = 1; round <= 4; round += 1) {
      racers.push(await contend(path, program(round)));
      await holder.kill();
      const attempts = await Promise.all(racers.map((racer) => racer.attempt()));
      const winners = attempts.filter(({ locked }) => locked);
      assert.equal(winners.length, 1, JSON.stringify(attempts));
      for (const { locked, code, holder: pid } of attempts) {
        if (!locked) assert.deepEqual({ code, pid }, { code: "STORE_LOCKED", pid: winners[0]?.pid });
      }
      assert.equal((await readdir(`${path}.pid`)).length, 1);
      holder = racers.find(({ pid }) => pid === winners[0]?.pid) ?? assert.fail();
      racers = racers.filter((racer) => racer !== holder);
    }
    await holder.release();
    assert.deepEqual(await readdir(join(path, "..")), ["lock"], "what the losers prepared is gone");
  });
}

test("the second of one process is refused too, until the first releases", async () => {
  for (const flockProgram of flock.path === undefined ? [without] : [without, withFlock]) {
    const path = await freshPath();
    const lock = await acquireLock(path, quiet, { flockProgram });
    await assert.rejects(acquireLock(path, quiet, { flockProgram }), { code: "STORE_LOCKED" });
    await Promise.all([lock.release(), lock.release()]);
    await (await acquireLock(path, quiet, { flockProgram })).release();
  }
});

test("a missing flock is logged, with what is done instead", async () => {
  const lines: string[] = [];
  const log = createLog("warn", (line) => lines.push(line));
  const lock = await acquireLock(await freshPath(), log, { flockProgram: without });
  await lock.release();
  const [entry] = lines.map((line) => JSON.parse(line));
  assert.equal(lines.length, 1);
  assert.deepEqual([entry.event, entry.errno], ["lock.flock.unavailable", "ENOENT"]);
  assert.match(entry.instead, /pid, start time and boot id/);
});

const own = await ownIdentity();
const otherBoot = "00000000-0000-4000-8000-000000000000";
const left: { title: string; holder: ProcessIdentity; refused: boolean }[] = [
  { title: "of this very process", holder: own, refused: true },
  { title: "of another boot", holder: { ...own, bootId: otherBoot }, refused: false },
  { title: "whose pid went to a later process", holder: { ...own, startTime: "1" }, refused: false },
  { title: "of another pid namespace", holder: { ...own, pidNamespace: "1" }, refused: true },
];
for (const { title, holder, refused } of left) {
  test(`an entry ${title} is ${refused ? "respected" : "taken over"}`, async () => {
    const path = await freshPath();
    const { pid, startTime, bootId, pidNamespace } = holder;
    await mkdir(`${path}.pid`);
    await writeFile(join(`${path}.pid`, [pid, startTime, bootId, pidNamespace, "file", "ab"].join(".")), "");
    const taken = acquireLock(path, quiet, { flockProgram: without });
    if (refused) await assert.rejects(taken, { code: "STORE_LOCKED" });
    else await (await taken).release();
  });
}

test("an entry that no daemon made is refused and named, never removed", async () => {
  const path = await freshPath();
  await mkdir(`${path}.pid`);
  await writeFile(join(`${path}.pid`, "notes\u001b.txt"), "");
  await assert.rejects(acquireLock(path, quiet), { code: "STORE_LOCKED", message: /lock\.pid\/notes\\x1b\.txt/ });
  assert.deepEqual(await readdir(`${path}.pid`), ["notes\u001b.txt"]);
});

test("what a killed claimant had prepared is swept by the next holder", async () => {
  const path = await freshPath();
  const prepared = `${path}.pid.${[1, 1, otherBoot, 1, "file", "ab"].join(".")}`;
  await mkdir(prepared);
  await (await acquireLock(path, quiet)).release();
  assert.deepEqual(await readdir(join(path, "..")), ["lock"]);
});

test("a killed holder that its parent never reaps holds nothing", async () => {
  const path = await freshPath();
  const script = '"$0" "$1" "$2" "$3" & exec sleep 1000';
  const parent = spawn("sh", ["-c", script, process.execPath, holderScript, path, without], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    let pid = 0;
    for await (const line of createInterface({ input: parent.stdout })) {
      pid = JSON.parse(line).pid;
      if (JSON.parse(line).locked) break;
    }
    process.kill(pid, "SIGKILL");
    while (!/\) Z /.test(await readFile(`/proc/${pid}/stat`, "latin1")));
    await (await acquireLock(path, quiet, { flockProgram: without })).release();
  } finally {
    parent.kill("SIGKILL");
    await once(parent, "exit");
  }
});

test("a user who may not write the directory is told so", { skip: otherUserSkip() }, async () => {
  const path = await freshPath();
  await chmod(join(path, ".."), 0o555);
  const contender = await startContender(path, withFlock, NOBODY);
  started.push(contender);
  assert.equal((await contender.attempt()).code, "STORE_NOT_WRITABLE");
});

test("another user cannot lock root's daemon out", { skip: otherUserSkip() }, async () => {
  const path = await freshPath();
  await chmod(join(path, ".."), 0o755);
  await (await acquireLock(path, quiet)).release();
  const contender = await startContender(path, withFlock, NOBODY);
  started.push(contender);
  assert.equal((await contender.attempt()).code, "STORE_NOT_WRITABLE");
  await (await acquireLock(path, quiet)).release();
});

/** Only root can become somebody else, and only where nobody can read Node and the compiled tests. */
function otherUserSkip(): string | false {
  if (process.getuid?.() !== 0) return "not run by root";
  const { status } = spawnSync(process.execPath, ["--check", holderScript], { ...NOBODY, cwd: "/" });
  return status === 0 ? false : "nobody cannot run the compiled tests where they are";
}
