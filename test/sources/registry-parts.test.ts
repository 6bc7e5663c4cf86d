import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { parseChallenges } from "../../src/sources/registry/challenge.js";
import { fileCredentials, userCredentials } from "../../src/sources/registry/credentials.js";
import { networkError, parseRetryAfter } from "../../src/sources/registry/failures.js";
import { isPlainHost, registryUrl } from "../../src/sources/registry/hosts.js";

const base = await mkdtemp(join(tmpdir(), "strata-auth-"));
after(() => rm(base, { recursive: true }));

test("a challenge is read with quotes, commas in quotes and several schemes", () => {
  const header = 'Basic realm="a, \\"b\\"", Bearer realm="https://h/t",service=x , scope="repository:a:pull,push"';
  assert.deepEqual(
    parseChallenges(header).map(({ scheme, params }) => [scheme, Object.fromEntries(params)]),
    [
      ["basic", { realm: 'a, "b"' }],
      ["bearer", { realm: "https://h/t", service: "x", scope: "repository:a:pull,push" }],
    ],
  );
});

test("any header ends in a list of challenges", () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => void parseChallenges(text)));
});

test("plain HTTP is for loopback and configured hosts only", () => {
  for (const host of [
    "localhost",
    "localhost:5000",
    "127.0.0.1",
    "127.9.9.9:1",
    "[::1]",
    "[::1]:5000",
    "in.example:1",
  ]) {
    assert.equal(isPlainHost(host, ["in.example"]), true, host);
  }
  for (const host of ["example.com", "127.0.0.1.example.com", "localhost.example.com", "10.0.0.1", "[::2]"]) {
    assert.equal(isPlainHost(host, ["in.example"]), false, host);
  }
  assert.equal(registryUrl("docker.io", []).href, "https://registry-1.docker.io/v2/");
});

const basic = (user: string) => ({ auth: Buffer.from(`${user}:p:w`).toString("base64") });
const auths = {
  "ghcr.io": basic("host"),
  "ghcr.io/team": basic("team"),
  "ghcr.io/team/app": basic("app"),
  "https://index.docker.io/v1/": basic("hub"),
  "https://quay.io": { username: "u", password: "p" },
  "gitlab.example": { auth: "AA==", identitytoken: "refresh" },
  "empty.example": {},
};

test("the most specific key wins, and Docker Hub has its old name", async () => {
  const path = join(base, "config.json");
  await writeFile(path, JSON.stringify({ auths, credsStore: "desktop" }));
  const source = fileCredentials([join(base, "absent.json"), path]);
  for (const [registry, repository, username] of [
    ["ghcr.io", "team/app", "app"],
    ["ghcr.io", "team/app/sub", "app"],
    ["ghcr.io", "team/application", "team"],
    ["ghcr.io", "other", "host"],
    ["docker.io", "library/alpine", "hub"],
  ] as const) {
    assert.deepEqual(await source.find(registry, repository), { kind: "basic", username, password: "p:w" });
  }
  assert.deepEqual(await source.find("quay.io", "a"), { kind: "basic", username: "u", password: "p" });
  assert.deepEqual(await source.find("gitlab.example", "a"), { kind: "identity", token: "refresh" });
  for (const unknown of ["empty.example", "example.com", "io"])
    assert.equal(await source.find(unknown, "a"), undefined);
});

test("a broken file is CONFIG_INVALID and nothing of it is quoted", async () => {
  for (const text of ["{", '{"auths":[]}', '{"auths":{"h.io":{"auth":"c2VjcmV0"}}}', '{"auths":{"h.io":{"auth":5}}}']) {
    const path = join(base, "broken.json");
    await writeFile(path, text);
    const error = await fileCredentials([path])
      .find("h.io", "a")
      .catch((thrown: unknown) => thrown);
    assert.equal((error as { code?: string }).code, "CONFIG_INVALID", text);
    assert.doesNotMatch(String((error as Error).message), /secret|c2Vj/);
  }
  await assert.rejects(fileCredentials([base]).find("h.io", "a"), { code: "CONFIG_INVALID" });
});

test("the files of the user's environment are looked at", async () => {
  await writeFile(join(base, "config.json"), JSON.stringify({ auths }));
  assert.notEqual(await userCredentials({ DOCKER_CONFIG: base }).find("ghcr.io", "a"), undefined);
  assert.equal(await userCredentials({ HOME: base }).find("ghcr.io", "a"), undefined);
});

test("Retry-After is seconds or a date", () => {
  const now = Date.parse("2024-01-01T00:00:00Z");
  assert.equal(parseRetryAfter("120", now), 120_000);
  assert.equal(parseRetryAfter("Mon, 01 Jan 2024 00:00:30 GMT", now), 30_000);
  assert.equal(parseRetryAfter("Mon, 01 Jan 2020 00:00:30 GMT", now), 0);
  for (const value of [undefined, "soon", "-"]) assert.equal(parseRetryAfter(value, now), undefined);
});

test("what a request throws has a code, also where several addresses were tried", () => {
  const failed = (code: string) => new AggregateError([Object.assign(new Error("x"), { code })]);
  for (const [code, expected] of [
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "TLS_UNTRUSTED"],
    ["CERT_HAS_EXPIRED", "TLS_UNTRUSTED"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "TLS_UNTRUSTED"],
    ["ECONNREFUSED", "REGISTRY_UNREACHABLE"],
    ["ENOTFOUND", "REGISTRY_UNREACHABLE"],
    ["HPE_INVALID_HEADER_TOKEN", "REGISTRY_UNREACHABLE"],
  ] as const) {
    assert.equal(networkError(failed(code), "h").code, expected);
  }
});
