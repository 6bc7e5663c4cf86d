import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { type TestContext, test } from "node:test";
import { type ExchangeRequest, exchange, readBody } from "../../src/sources/registry/exchange.js";
import { defaultTimings } from "../../src/sources/registry/timings.js";

const soon = { headersTimeoutMs: 100, stallTimeoutMs: 100, commitTimeoutMs: 60_000 };
const request = (more: Partial<ExchangeRequest> = {}): ExchangeRequest => ({
  headers: {},
  timings: { ...defaultTimings, ...soon },
  signal: new AbortController().signal,
  ...more,
});

async function listen(t: TestContext, server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("a change of protocol that nobody asked for is no answer, and waits for no timeout", {
  timeout: 10_000,
}, async (t) => {
  const odd = createTcpServer((socket) => {
    socket.once("data", () =>
      socket.end("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
    );
  });
  const url = new URL(`http://${await listen(t, odd)}/`);
  const timings = { ...request().timings, headersTimeoutMs: 60_000 };
  await assert.rejects(exchange(url, request({ timings })), { code: "REGISTRY_UNREACHABLE" });
});

test("answers that came whole leave their connection for the next request, read or not", async (t) => {
  const store = createServer((_, response) => response.end("here"));
  const there = `http://${await listen(t, store)}/`;
  const registry = createServer((incoming, response) => {
    if (incoming.url === "/moved") response.writeHead(307, { location: there }).end("there");
    else response.writeHead(401).end("{}");
  });
  let connections = 0;
  registry.on("connection", () => {
    connections += 1;
  });
  const host = await listen(t, registry);
  for (const path of ["/refused", "/moved", "/refused", "/moved"]) {
    const answer = await exchange(new URL(path, `http://${host}`), request());
    answer.discard();
    // Its connection is free when the loop has turned.
    await new Promise(setImmediate);
  }
  assert.equal(connections, 1);
  for (const server of [registry, store]) server.closeAllConnections();
});

test("an answer that goes on is ended where nobody wants it", async (t) => {
  const server = createServer((_, response) => response.writeHead(200).write("a beginning"));
  const url = new URL(`http://${await listen(t, server)}/`);
  const connected = once(server, "connection");
  const answer = await exchange(url, request());
  const [socket] = await connected;
  const closed = once(socket, "close");
  answer.discard();
  await closed;
});

test("a port that does not speak TLS is named so, and not tried again", async (t) => {
  const url = new URL(`https://${await listen(t, createServer())}/`);
  await assert.rejects(exchange(url, request()), {
    code: "REGISTRY_UNREACHABLE",
    message: `Cannot ask ${url.host}: it does not speak TLS`,
  });
});

test("what is sent is not taken to be sent before there is a connection", async (t) => {
  const silent = createTcpServer();
  const url = new URL(`https://${await listen(t, silent)}/`);
  silent.on("connection", (socket) => t.after(() => socket.destroy()));
  let isTaken = false;
  const content = {
    bytes: 1,
    async *chunks() {
      isTaken = true;
      yield Buffer.from("x");
    },
  };
  await assert.rejects(exchange(url, request({ method: "PUT", content })), {
    code: "REGISTRY_TIMEOUT",
    message: /: no answer for 100 ms$/,
  });
  assert.equal(isTaken, false);
});

test("a document that comes steadily and too slowly is REGISTRY_TIMEOUT", async (t) => {
  const server = createServer((_, response) => {
    const trickle = setInterval(() => response.write("x"), 10);
    response.on("close", () => clearInterval(trickle));
  });
  const url = new URL(`http://${await listen(t, server)}/`);
  const timings = { ...request().timings, documentTimeoutMs: 100 };
  const answer = await exchange(url, request({ timings }));
  await assert.rejects(readBody(answer, 1024 * 1024), { code: "REGISTRY_TIMEOUT", message: /not whole after 100 ms/ });
  server.closeAllConnections();
});
