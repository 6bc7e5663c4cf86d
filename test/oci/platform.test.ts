import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDigest } from "../../src/oci/digest.js";
import type { Descriptor } from "../../src/oci/documents.js";
import { OCI_MANIFEST } from "../../src/oci/media-types.js";
import {
  formatPlatform,
  hostPlatform,
  parsePlatform,
  platformMatches,
  selectPlatform,
} from "../../src/oci/platform.js";

const descriptor = (platform: string | undefined, size: number): Descriptor => ({
  mediaType: OCI_MANIFEST,
  digest: parseDigest(`sha256:${"2".repeat(64)}`),
  size,
  ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
});

const matches: readonly (readonly [offered: string, wanted: string, boolean])[] = [
  ["linux/amd64", "linux/amd64", true],
  ["linux/amd64/v1", "linux/amd64", true],
  ["linux/amd64/v3", "linux/amd64", false],
  ["linux/amd64/v2", "linux/amd64/v3", true],
  ["linux/arm64", "linux/arm64/v8", true],
  ["linux/arm64/v8", "linux/arm64", true],
  ["linux/arm64/v9", "linux/arm64", false],
  ["linux/arm/v6", "linux/arm/v7", true],
  ["linux/arm/v7", "linux/arm/v6", false],
  ["linux/arm/v7", "linux/arm64", false],
  ["linux/arm/x6", "linux/arm/v7", false],
  ["linux/arm/v6x", "linux/arm/v7", false],
  ["linux/arm/v6", "linux/arm/v100", false],
  ["windows/amd64", "linux/amd64", false],
  ["linux/386", "linux/amd64", false],
  ["linux/riscv64", "linux/riscv64", true],
  ["any/any", "linux/amd64", true],
  ["any/any", "windows/arm64/v8", true],
  ["any/any/v1", "linux/amd64", false],
  ["linux/any", "linux/amd64", false],
  ["any/amd64", "linux/amd64", false],
];
for (const [offered, wanted, expected] of matches) {
  test(`${wanted} ${expected ? "runs" : "does not run"} ${offered}`, () => {
    assert.equal(platformMatches(parsePlatform(offered), parsePlatform(wanted)), expected);
  });
}

const choices: readonly (readonly [wanted: string, offered: readonly (string | undefined)[], index: number])[] = [
  ["linux/amd64", ["linux/arm64", "linux/amd64"], 1],
  ["linux/amd64", ["linux/amd64", "linux/amd64"], 0],
  ["linux/amd64", ["unknown/unknown", "linux/amd64"], 1],
  ["linux/arm/v7", ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], 1],
  ["linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1],
  ["linux/amd64", [undefined, "linux/amd64"], 1],
  ["linux/amd64", ["linux/arm64", undefined], 1],
  ["linux/amd64", ["any/any", "linux/amd64"], 1],
  ["linux/amd64", ["any/any", "linux/amd64/v1"], 1],
  ["linux/riscv64", ["any/any", "linux/riscv64"], 1],
  ["linux/amd64", ["linux/arm64", undefined, "any/any"], 2],
];
for (const [wanted, offered, index] of choices) {
  test(`of ${offered.join(", ")} the choice for ${wanted} is number ${index}`, () => {
    assert.equal(selectPlatform(offered.map(descriptor), parsePlatform(wanted)).size, index);
  });
}

test("a media type that is not known is chosen only where nothing else fits", () => {
  const odd = { ...descriptor("linux/amd64", 0), mediaType: "application/vnd.example.v9+json" };
  const wanted = parsePlatform("linux/amd64");
  for (const readable of [descriptor("linux/amd64", 1), descriptor(undefined, 1)])
    assert.equal(selectPlatform([odd, readable], wanted).size, 1);
  assert.equal(selectPlatform([odd, descriptor("linux/arm64", 1)], wanted), odd);
});

test("a platform that no client could name matches none", () => {
  const offered = { os: "linux", architecture: "amd64", variant: "\x1b[2J" };
  assert.equal(platformMatches(offered, parsePlatform("linux/amd64")), false);
});

test("no match lists what there is, without attestations", () => {
  const offered = ["linux/s390x", "unknown/unknown", "windows/amd64"].map(descriptor);
  assert.throws(() => selectPlatform(offered, parsePlatform("linux/amd64")), {
    code: "NO_PLATFORM",
    message: /linux\/s390x, windows\/amd64$/,
  });
});

test("platforms are spelled as Go does", () => {
  assert.equal(formatPlatform(parsePlatform("linux/x86_64")), "linux/amd64");
  assert.equal(formatPlatform(parsePlatform("linux/aarch64")), "linux/arm64");
  assert.equal(formatPlatform(parsePlatform("linux/armhf")), "linux/arm/v7");
  const long = "a".repeat(33);
  const odd = ["", "linux", "linux/", "linux/a/b/c", "linux/a b", "Linux/amd64\n"];
  for (const text of [...odd, `${long}/a`, `a/${long}`, `a/b/${long}`]) {
    assert.throws(() => parsePlatform(text), { code: "INVALID_PARAMS" });
  }
});

test("the host runs what is built for it", () => {
  assert.equal(platformMatches(hostPlatform(), hostPlatform()), true);
});
