import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { takeActivatedSockets } from "../../src/host/activation.js";
import { toolOrSkip } from "../support/tools.js";

const cases: { title: string; env: NodeJS.ProcessEnv; sockets: unknown }[] = [
  { title: "without the variables there are none", env: {}, sockets: [] },
  {
    title: "names go to descriptors in order",
    env: { LISTEN_PID: "7", LISTEN_FDS: "2", LISTEN_FDNAMES: "full:read" },
    sockets: [
      { fd: 3, name: "full" },
      { fd: 4, name: "read" },
    ],
  },
  {
    title: "a socket without a name is unknown",
    env: { LISTEN_PID: "7", LISTEN_FDS: "1" },
    sockets: [{ fd: 3, name: "unknown" }],
  },
  { title: "those of another pid are ignored", env: { LISTEN_PID: "8", LISTEN_FDS: "2" }, sockets: [] },
  { title: "those without a pid are ignored", env: { LISTEN_FDS: "2" }, sockets: [] },
];
for (const { title, env, sockets } of cases) {
  test(`sockets of systemd: ${title}, and the variables are gone`, () => {
    const own = { ...env, PATH: "/bin" };
    assert.deepEqual(takeActivatedSockets(own, 7), sockets);
    assert.deepEqual(own, { PATH: "/bin" });
  });
}

const malformed = [
  { LISTEN_FDS: "two" },
  { LISTEN_FDS: "-1" },
  { LISTEN_FDS: "65" },
  { LISTEN_FDS: "2", LISTEN_FDNAMES: "full" },
  { LISTEN_FDS: "1", LISTEN_FDNAMES: "full:read" },
];
for (const env of malformed) {
  test(`sockets of systemd: ${JSON.stringify(env)} is CONFIG_INVALID`, () => {
    assert.throws(() => takeActivatedSockets({ LISTEN_PID: "7", ...env }, 7), { code: "CONFIG_INVALID" });
  });
}

const activate = toolOrSkip("systemd-socket-activate");
test("a process that systemd-socket-activate starts serves both sockets", { skip: activate.skip }, async () => {
  const directory = await mkdtemp(join(tmpdir(), "stratad-activation-"));
  const [full, read] = [join(directory, "full.sock"), join(directory, "read.sock")];
  const script = fileURLToPath(new URL("./activated.js", import.meta.url));
  const listen = ["-l", full, "-l", read, "--fdname=full:read"];
  const child = spawn(activate.path ?? "", [...listen, process.execPath, script], {
    stdio: ["ignore", "inherit", "pipe"],
  });
  try {
    // It says on stderr that it listens.
    await once(child.stderr, "data");
    while (
      !(await access(read).then(
        () => true,
        () => false,
      ))
    );
    for (const [path, name] of [
      [full, "full"],
      [read, "read"],
    ] as const) {
      assert.equal(await text(connect(path)), name);
    }
  } finally {
    child.kill("SIGKILL");
    await rm(directory, { recursive: true, force: true });
  }
});
