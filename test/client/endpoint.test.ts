import assert from "node:assert/strict";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { findEndpoints, parseEndpoint } from "../../src/client/endpoint.js";
import { temporaryDirectory } from "../protocol/harness.js";

const parsed: [string, ReturnType<typeof parseEndpoint>][] = [
  ["/run/stratad/stratad.sock", { kind: "unix", path: "/run/stratad/stratad.sock" }],
  ["unix:/a:b.sock", { kind: "unix", path: "/a:b.sock" }],
  ["unix:relative.sock", { kind: "unix", path: "relative.sock" }],
  ["ws://127.0.0.1:8080", { kind: "tcp", url: "ws://127.0.0.1:8080", token: "t" }],
  ["ws://127.0.0.1:8080/v1", { kind: "tcp", url: "ws://127.0.0.1:8080", token: "t" }],
  ["ws://[::1]:8080/", { kind: "tcp", url: "ws://[::1]:8080", token: "t" }],
];
for (const [text, endpoint] of parsed) {
  test(`${text} is an endpoint`, () => {
    assert.deepEqual(parseEndpoint(text, "t"), endpoint);
  });
}

const refused = [
  "unix:",
  `/${"x".repeat(107)}`,
  "ws://example.org:80",
  "ws://localhost:80",
  "wss://127.0.0.1:80",
  "http://127.0.0.1:80",
  "ws+unix:///run/stratad.sock",
  "ws://user@127.0.0.1:80",
  "ws://127.0.0.1:80/v1?token=t",
  "ws://127.0.0.1:80/other",
];
for (const text of refused) {
  test(`${text.slice(0, 40)} is no endpoint`, () => {
    assert.throws(() => parseEndpoint(text, "t"), { code: "CONFIG_INVALID" });
  });
}

const document = (endpoints: object[]) =>
  JSON.stringify({
    schema: 1,
    pid: 1,
    pidStartTime: "1",
    bootId: "b",
    instanceId: "i",
    version: "0",
    protocol: [1],
    endpoints,
    stateDir: "/s",
    startedAt: "2026-01-02T03:04:05.000Z",
  });
const unixFull = { kind: "unix", path: "/s/full.sock", scope: "full" };
const unixRead = { kind: "unix", path: "/s/read.sock", scope: "read" };

test("the option goes before STRATAD_ENDPOINT, and that before daemon.json", async (t) => {
  const directory = await temporaryDirectory(t);
  await mkdir(join(directory, "stratad"));
  await writeFile(join(directory, "stratad", "daemon.json"), document([unixRead, unixFull]));
  const env = { XDG_RUNTIME_DIR: directory, STRATAD_ENDPOINT: "/from/env" };
  const paths = async (options: Parameters<typeof findEndpoints>[0]) => (await findEndpoints(options)).endpoints;
  assert.deepEqual(await paths({ env, endpoint: "/from/option" }), [{ kind: "unix", path: "/from/option" }]);
  assert.deepEqual(await paths({ env }), [{ kind: "unix", path: "/from/env" }]);
  const byFile = { XDG_RUNTIME_DIR: directory };
  assert.deepEqual((await paths({ env: byFile }))[0], { kind: "unix", path: "/s/full.sock" });
  assert.deepEqual((await paths({ env: byFile, scope: "read" }))[0], { kind: "unix", path: "/s/read.sock" });
});

test("a token comes from the option, else STRATAD_TOKEN_FILE, else the file that daemon.json names", async (t) => {
  const directory = await temporaryDirectory(t);
  await mkdir(join(directory, "stratad"));
  const tokenFile = join(directory, "token");
  const ownFile = join(directory, "own");
  await writeFile(tokenFile, "named\n");
  await writeFile(ownFile, "own\n");
  const tcp = { kind: "tcp", url: "ws://127.0.0.1:9", scope: "full", tokenFile };
  await writeFile(join(directory, "stratad", "daemon.json"), document([tcp]));
  const env = { XDG_RUNTIME_DIR: directory };
  const token = async (options: Parameters<typeof findEndpoints>[0]) => {
    const [endpoint] = (await findEndpoints(options)).endpoints;
    return endpoint?.kind === "tcp" ? endpoint.token : "no TCP endpoint";
  };
  assert.equal(await token({ env }), "named");
  assert.equal(await token({ env: { ...env, STRATAD_TOKEN_FILE: ownFile } }), "own");
  assert.equal(await token({ env: { ...env, STRATAD_TOKEN_FILE: ownFile }, token: "given" }), "given");
  const missing = { STRATAD_TOKEN_FILE: join(directory, "missing"), STRATAD_ENDPOINT: "ws://127.0.0.1:9" };
  await assert.rejects(findEndpoints({ env: missing }), { code: "CONFIG_INVALID", message: /token file/ });
});

test("a directory in the temporary directory that others may enter is passed over, with the reason", async (t) => {
  const directory = await temporaryDirectory(t);
  const before = process.env.TMPDIR;
  process.env.TMPDIR = directory;
  t.after(() => {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  });
  const own = join(directory, `stratad-${process.getuid?.()}`);
  await mkdir(own, { mode: 0o700 });
  await writeFile(join(own, "daemon.json"), document([unixFull]));
  assert.deepEqual((await findEndpoints({ env: {} })).endpoints[0], { kind: "unix", path: "/s/full.sock" });
  await chmod(own, 0o755);
  const { endpoints, passedOver } = await findEndpoints({ env: {} });
  assert.deepEqual(endpoints, []);
  assert.match(passedOver[0] ?? "", /mode 0700/);
});

for (const [what, text] of [
  ["no JSON", "{"],
  ["another document", "{}"],
]) {
  test(`a daemon.json that is ${what} is passed over, with the reason`, async (t) => {
    const directory = await temporaryDirectory(t);
    await mkdir(join(directory, "stratad"));
    await writeFile(join(directory, "stratad", "daemon.json"), text ?? "");
    const { endpoints, passedOver } = await findEndpoints({ env: { XDG_RUNTIME_DIR: directory } });
    assert.deepEqual(endpoints, []);
    assert.match(passedOver[0] ?? "", /not a daemon\.json/);
  });
}
