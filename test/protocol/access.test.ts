import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createToken, scopeOfToken, writeTokenFile } from "../../src/protocol/tokens.js";
import { httpGet, Peer, startHarness, temporaryDirectory, upgradeStatus } from "./harness.js";

const tokens = { full: createToken(), read: createToken() };

async function startTcp(t: TestContext) {
  const listeners = [{ kind: "tcp", host: "127.0.0.1", port: 0, tokens } as const];
  const harness = await startHarness(t, { listeners });
  const port = Number(new URL(harness.server.endpoints[0]?.url ?? "").port);
  return { ...harness, port };
}

const bearer = { authorization: `Bearer ${tokens.full}` };
const tcpGate: [string, Record<string, string>, string, number][] = [
  ["the full token as a header", bearer, "/v1", 101],
  ["the read token as a header", { authorization: `bearer ${tokens.read}` }, "/v1", 101],
  ["the token as a subprotocol", { "sec-websocket-protocol": `stratad.v1, stratad.token.${tokens.full}` }, "/v1", 101],
  ["no token", {}, "/v1", 401],
  ["a wrong token", { authorization: `Bearer ${createToken()}` }, "/v1", 401],
  [
    "a wrong header beside a right subprotocol",
    { authorization: "Basic eDp5", "sec-websocket-protocol": `stratad.v1, stratad.token.${tokens.full}` },
    "/v1",
    401,
  ],
  ["a token in the URL", {}, `/v1?token=${tokens.full}`, 404],
  ["a Host that is a name", { ...bearer, host: "localhost:PORT" }, "/v1", 421],
  ["a Host that was rebound", { ...bearer, host: "evil.example:PORT" }, "/v1", 421],
  ["a Host without the port", { ...bearer, host: "127.0.0.1" }, "/v1", 421],
  ["Host before Origin", { host: "evil.example", origin: "https://evil.example" }, "/v1", 421],
  ["Origin before path and token", { origin: "https://evil.example" }, "/nowhere", 403],
  ["path before token", {}, "/nowhere", 404],
  ["token before subprotocol", { "sec-websocket-protocol": "other" }, "/v1", 401],
  ["another subprotocol", { ...bearer, "sec-websocket-protocol": "stratad.v2" }, "/v1", 400],
  ["an allowed Origin", { ...bearer, origin: "https://ide.example" }, "/v1", 101],
];

for (const [what, headers, path, status] of tcpGate) {
  test(`over TCP, ${what} is answered ${status}`, async (t) => {
    const { port } = await startTcp(t);
    const host = headers.host?.replace("PORT", String(port));
    const sent = host === undefined ? headers : { ...headers, host };
    assert.equal(await upgradeStatus({ host: "127.0.0.1", port, path }, sent), status);
  });
}

test("the read token gives read scope", async (t) => {
  const { port } = await startTcp(t);
  const createConnection = (() => connect(port, "127.0.0.1")) as never;
  const headers = { authorization: `Bearer ${tokens.read}`, host: `127.0.0.1:${port}` };
  const peer = await Peer.connect("", { createConnection, headers });
  assert.equal((await peer.call("server/drain")).error.data.code, "NOT_ALLOWED");
});

for (const origin of ["https://evil.example", "null", "", "https://ide.example.evil"]) {
  test(`the Origin '${origin}' is refused on a Unix socket too`, async (t) => {
    const { full } = await startHarness(t);
    assert.equal(await upgradeStatus({ socketPath: full }, { origin }), 403);
  });
}

test("a Unix socket asks for no token and looks at no Host", async (t) => {
  const { full } = await startHarness(t);
  assert.equal(await upgradeStatus({ socketPath: full }, { host: "whatever.example" }), 101);
});

test("sessions beyond the limit of their scope are answered 503, those of the other scope are not", async (t) => {
  const { full, read } = await startHarness(t, { maxSessions: { full: 1, read: 2 } });
  const peer = await Peer.connect(full);
  assert.equal(await upgradeStatus({ socketPath: full }, { origin: "https://evil.example" }), 503);
  assert.equal(await upgradeStatus({ socketPath: read }), 101);
  peer.socket.close();
  await peer.closed();
  assert.equal(await upgradeStatus({ socketPath: full }), 101);
});

test("health and version answer over plain HTTP, other paths do not", async (t) => {
  const { full } = await startHarness(t);
  assert.deepEqual(await httpGet({ socketPath: full, path: "/v1/healthz" }), {
    status: 200,
    body: '{"status":"ok"}\n',
  });
  assert.match((await httpGet({ socketPath: full, path: "/v1/version" })).body, /"protocol":\[1\]/);
  assert.equal((await httpGet({ socketPath: full, path: "/v1" })).status, 426);
  assert.equal((await httpGet({ socketPath: full, path: "/" })).status, 404);
  assert.equal((await httpGet({ socketPath: full, path: "/v1/healthz", method: "POST" })).status, 404);
});

test("plain HTTP over TCP refuses a Host that was rebound", async (t) => {
  const { port } = await startTcp(t);
  const target = { host: "127.0.0.1", port, path: "/v1/healthz" };
  assert.equal((await httpGet(target)).status, 200);
  assert.equal((await httpGet({ ...target, headers: { host: "evil.example" } })).status, 421);
});

test("a socket is born 0600 and the umask is as before", async (t) => {
  const before = process.umask(0o022);
  t.after(() => process.umask(before));
  const { full } = await startHarness(t);
  assert.equal((await stat(full)).mode & 0o777, 0o600);
  assert.equal(process.umask(0o022), 0o022);
});

test("a stale socket is replaced", async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, "stratad.sock");
  const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  await once(spawn(process.execPath, ["-e", script]), "exit");
  assert.ok((await stat(path)).isSocket());
  await startHarness(t, { directory });
  assert.equal(await upgradeStatus({ socketPath: path }), 101);
});

test("a socket that somebody serves is left alone", async (t) => {
  const directory = await temporaryDirectory(t);
  const other = createServer((socket) => socket.end()).listen(join(directory, "stratad.sock"));
  t.after(() => other.close());
  await once(other, "listening");
  await assert.rejects(startHarness(t, { directory }), {
    code: "CONFIG_INVALID",
    message: /another process serves it/,
  });
  assert.ok((await stat(join(directory, "stratad.sock"))).isSocket());
});

test("a file that is no socket is left alone", async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, "stratad-ro.sock");
  await writeFile(path, "precious");
  await assert.rejects(startHarness(t, { directory }), { code: "CONFIG_INVALID", message: /not a socket/ });
  assert.equal(await readFile(path, "utf8"), "precious");
  await assert.rejects(stat(join(directory, "stratad.sock")), { code: "ENOENT" });
});

test("a socket path over 107 bytes is refused and not cut", async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, "x".repeat(107 - directory.length));
  const listeners = [{ kind: "unix", path, scope: "full" } as const];
  await assert.rejects(startHarness(t, { listeners }), { code: "CONFIG_INVALID", message: /108 bytes/ });
});

test("a descriptor that was handed over is served with the scope that was given", async (t) => {
  const activator = createServer().listen(0, "127.0.0.1");
  await once(activator, "listening");
  const { port } = activator.address() as AddressInfo;
  const { fd } = (activator as unknown as { _handle: { fd: number } })._handle;
  const program = fileURLToPath(new URL("./activated-server.js", import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit", fd] });
  t.after(() => child.kill("SIGKILL"));
  assert.ok(child.stdin !== null && child.stdout !== null);
  await once(child.stdout, "data");
  activator.close();
  const peer = await Peer.connect("", { createConnection: (() => connect(port, "127.0.0.1")) as never });
  assert.equal(
    (await peer.call("initialize", { clientInfo: { name: "t", version: "1" }, protocolVersions: [1] })).result.scope,
    "read",
  );
  child.stdin.end();
  assert.equal((await peer.closed()).code, 1001);
  assert.deepEqual(await once(child, "exit"), [0, null]);
});

test("a token is 256 random bits in a 0600 file that is replaced as a whole", async (t) => {
  const path = join(await temporaryDirectory(t), "token");
  const token = createToken();
  assert.equal(Buffer.from(token, "base64url").length, 32);
  await writeTokenFile(path, createToken());
  await writeTokenFile(path, token);
  assert.equal(await readFile(path, "utf8"), `${token}\n`);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test("a token is full, read or nothing", () => {
  assert.equal(scopeOfToken(tokens.full, tokens), "full");
  assert.equal(scopeOfToken(tokens.read, tokens), "read");
  assert.equal(scopeOfToken("", tokens), undefined);
  assert.equal(scopeOfToken(tokens.full.slice(0, -1), tokens), undefined);
});
