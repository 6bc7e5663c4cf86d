import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  defaultName,
  formatReference,
  localPath,
  parseName,
  parseReference,
  withAbsolutePath,
} from "../../src/oci/reference.js";

const digest = `sha256:${"0".repeat(64)}`;

const readable: readonly (readonly [text: string, canonical: string, name: string])[] = [
  ["alpine", "docker.io/library/alpine:latest", "alpine"],
  ["alpine:3.20", "docker.io/library/alpine:3.20", "alpine"],
  ["docker://alpine", "docker.io/library/alpine:latest", "alpine"],
  ["docker.io/alpine", "docker.io/library/alpine:latest", "alpine"],
  ["index.docker.io/a/b", "docker.io/a/b:latest", "b"],
  ["user/app", "docker.io/user/app:latest", "app"],
  ["localhost/app", "localhost/app:latest", "app"],
  ["localhost:5000/a/b/c:v1", "localhost:5000/a/b/c:v1", "c"],
  ["GHCR.io/a/b", "ghcr.io/a/b:latest", "b"],
  ["[::1]:5000/a", "[::1]:5000/a:latest", "a"],
  ["127.0.0.1:5000/a__b/c-d.e", "127.0.0.1:5000/a__b/c-d.e:latest", "c-d.e"],
  [`alpine@${digest}`, `docker.io/library/alpine@${digest}`, "alpine"],
  [`alpine:3@${digest}`, `docker.io/library/alpine:3@${digest}`, "alpine"],
  ["a".repeat(65), `docker.io/library/${"a".repeat(65)}:latest`, "a".repeat(65)],
  ["oci", "docker.io/library/oci:latest", "oci"],
  ["oci:/a/dir", "oci:/a/dir", "dir"],
  ["oci:/a/dir:v1", "oci:/a/dir:v1", "v1"],
  ["oci:/a/dir:ghcr.io/x/y:1", "oci:/a/dir:ghcr.io/x/y:1", "ghcr.io/x/y:1"],
  [`oci:/a/dir@${digest}`, `oci:/a/dir@${digest}`, "dir"],
  [`oci:/a/me@home:t@${digest}`, `oci:/a/me@home:t@${digest}`, "t"],
  [`oci:/a/dir@${digest}@x`, `oci:/a/dir@${digest}@x`, `${digest.slice("sha256:".length)}@x`],
  [`oci:/${"x".repeat(4091)}`, `oci:/${"x".repeat(4091)}`, "x".repeat(4091)],
  ["oci-archive:/a/image.tar", "oci-archive:/a/image.tar", "image"],
  ["oci-archive:/a/image.tar:v1", "oci-archive:/a/image.tar:v1", "v1"],
  ["docker-archive:/a/image.tar", "docker-archive:/a/image.tar", "image"],
  ["docker-archive:/a/image.tar:user/app:v1", "docker-archive:/a/image.tar:user/app:v1", "app"],
];
for (const [text, canonical, name] of readable) {
  test(`${text} is ${canonical} and is called ${name}`, () => {
    const reference = parseReference(text);
    assert.equal(formatReference(reference), canonical);
    assert.deepEqual(parseReference(canonical), reference);
    assert.equal(defaultName(reference), name);
  });
}

const refused = [
  "",
  "Alpine",
  "user/App",
  "User/app",
  "a//b",
  "a/",
  "/a",
  "-a",
  "a_",
  "a___b",
  "a___b/c",
  "a..b",
  "alpine:",
  `alpine:${"t".repeat(129)}`,
  "alpine:-t",
  "alpine:t\r\nX: y",
  "alpine\0",
  "alpine\n",
  "alpine@sha256:abc",
  `alpine@md5:${"a".repeat(32)}`,
  `alpine@${digest.toUpperCase()}`,
  "a".repeat(64),
  `${"a/".repeat(130)}a`,
  "localhost:99999/a",
  "localhost:005000/a",
  "localhost:x/a",
  "ho_st.io/a",
  "host.io/",
  "user@host.io/a",
  "http://host.io/a",
  "host.io/a/../b",
  "oci:",
  "oci::tag",
  "oci:/dir:",
  `oci:/dir:${"t".repeat(129)}`,
  "oci:/dir@sha256:abc",
  "oci:/dir\n",
  "docker-archive:/a.tar:UPPER",
  `docker-archive:/a.tar:a@${digest}`,
  `oci:/${"x".repeat(4092)}`,
];
for (const text of refused) {
  test(`the reference ${JSON.stringify(text.slice(0, 60))} is refused`, () => {
    assert.throws(() => parseReference(text), { code: "INVALID_REFERENCE" });
  });
}

const part = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?$/);
const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/);
const host = fc.oneof(fc.constant("localhost"), fc.stringMatching(/^[a-z]{1,5}\.[a-z]{2,3}(:[1-9][0-9]{0,3})?$/));

test("what is formatted is parsed to the same reference", () => {
  const docker = fc
    .tuple(fc.option(host), fc.array(part, { minLength: 1, maxLength: 4 }), fc.option(tag), fc.boolean())
    .map(
      ([h, parts, t, d]) =>
        `${h === null ? "" : `${h}/`}${parts.join("/")}${t === null ? "" : `:${t}`}${d ? `@${digest}` : ""}`,
    );
  const local = fc
    .tuple(fc.constantFrom("oci", "oci-archive"), fc.stringMatching(/^\/[ -9;-~]{1,20}$/), fc.option(tag))
    .map(([transport, path, t]) => `${transport}:${path}${t === null ? "" : `:${t}`}`);
  fc.assert(
    fc.property(fc.oneof(docker, local), (text) => {
      const reference = parseReference(text);
      assert.deepEqual(parseReference(formatReference(reference)), reference);
    }),
  );
});

test("any text is a reference or is refused with a code", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^(oci:|docker-archive:)?[a-z@:/.\\\0]*$/)), (text) => {
      try {
        formatReference(parseReference(text));
      } catch (error) {
        assert.equal((error as { code?: string }).code, "INVALID_REFERENCE");
      }
    }),
  );
});

test("a relative path becomes absolute, a registry stays", () => {
  assert.equal(localPath(withAbsolutePath(parseReference("oci:dir:t"), "/home/me")), "/home/me/dir");
  assert.deepEqual(withAbsolutePath(parseReference("alpine"), "/x"), parseReference("alpine"));
  assert.throws(() => withAbsolutePath(parseReference("oci:dir"), "/a:b"), { code: "INVALID_REFERENCE" });
});

test("names are of the form that a file name may have", () => {
  for (const name of ["a", "A.b_c-1", "1", "x".repeat(128)]) assert.equal(parseName(name), name);
  for (const name of ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "x".repeat(129), "é"]) {
    assert.throws(() => parseName(name), { code: "INVALID_NAME" });
  }
});
