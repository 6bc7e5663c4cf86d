/**
 * Pushing to Debian's docker-registry, with a password: skopeo and stratad read what was pushed, and what another repository has
 * is mounted.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { before, suite, test } from "node:test";
import { type Digest, parseDigest } from "../../src/oci/digest.js";
import type { PushedBlob } from "../../src/sources/registry/blob-content.js";
import { type PushReport, RegistryPush } from "../../src/sources/registry/push.js";
import { cliJson } from "../support/daemon.js";
import { basicUser, startDebianRegistry } from "../support/debian-registry.js";
import { noise, tarOf } from "../support/images.js";
import { buildImage, buildIndex, type TestImage } from "../support/registry.js";
import { fileScope, Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";
import { readTree } from "../support/trees.js";
import type { Json } from "../support/wire.js";

const skip = toolOrSkip("docker-registry").skip || toolOrSkip("skopeo").skip;

const large = await tarOf([{ name: "large/noise", content: noise(9_000_000) }]);
const small = await tarOf([{ name: "small/f", content: "small" }]);
const platforms = ["amd64", "arm64"].map((architecture) => ({ os: "linux", architecture }));
const images = platforms.map((platform) => buildImage([large, small], { platform }));
const index = buildIndex(images);

suite("a push to Debian's registry", { skip }, () => {
  const scope = fileScope();
  let sandbox: Sandbox;
  let host: string;
  let push: RegistryPush;

  before(async () => {
    sandbox = await Sandbox.create(scope);
    ({ host } = await startDebianRegistry(sandbox, { name: "registry", auth: "basic" }));
    push = new RegistryPush({
      insecureHosts: [],
      credentials: { find: async () => ({ kind: "basic", ...basicUser }) },
      userAgent: "stratad-test",
    });
  });

  const blobOf = async (digest: Digest, bytes: Buffer): Promise<PushedBlob> => {
    const path = sandbox.file("files", digest.slice(7));
    await writeFile(path, bytes);
    return { digest, size: bytes.length, path };
  };
  const pushed = async (repository: string, mountFrom: readonly string[] = []): Promise<PushReport> =>
    push.push(
      {
        registry: host,
        repository,
        blobs: await Promise.all([...index.blobs].map(([digest, bytes]) => blobOf(parseDigest(digest), bytes))),
        manifests: [...images, index].map(({ descriptor, bytes }: TestImage) => ({
          descriptor: { ...descriptor, digest: parseDigest(descriptor.digest) },
          bytes,
          tags: bytes === index.bytes ? ["v1"] : [],
        })),
        mountFrom,
      },
      { signal: AbortSignal.timeout(60_000) },
    );
  const bytes = [...index.blobs.values()].reduce((sum, { length }) => sum + length, 0);
  const none = { blobs: 0, bytes: 0 };

  test("sends all once, nothing the second time, and mounts all in another repository", async () => {
    const all = { blobs: 4, bytes };
    assert.deepEqual(await pushed("team/app"), { present: none, mounted: none, uploaded: all });
    assert.deepEqual(await pushed("team/app"), { present: all, mounted: none, uploaded: none });
    const mounted = await pushed("other/app", ["team/nothing", "team/app"]);
    assert.deepEqual(mounted, { present: none, mounted: all, uploaded: none });
  });

  test("is what skopeo inspects and copies, bit for bit", async () => {
    const credentials = `${basicUser.username}:${basicUser.password}`;
    for (const repository of ["team/app", "other/app"]) {
      const place = `docker://${host}/${repository}:v1`;
      const inspect = ["skopeo", "inspect", "--tls-verify=false", "--creds", credentials, "--raw", place] as const;
      assert.equal(await sandbox.must(inspect), index.bytes.toString());
      const copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--src-tls-verify=false"] as const;
      await sandbox.must([...copy, "--src-creds", credentials, place, `oci:${repository.replace("/", "-")}:v1`]);
      const layout = `oci:${repository.replace("/", "-")}:v1`;
      assert.equal(await sandbox.must(["skopeo", "inspect", "--raw", layout]), index.bytes.toString());
    }
  });

  test("is what stratad installs", async (t) => {
    const other = await Sandbox.create(t);
    const auth = Buffer.from(`${basicUser.username}:${basicUser.password}`).toString("base64");
    await writeFile(other.file("auth.json"), JSON.stringify({ auths: { [host]: { auth } } }));
    const env = { REGISTRY_AUTH_FILE: other.file("auth.json") };
    const job = (await cliJson(other, ["install", `${host}/other/app:v1`, "--platform", "linux/arm64"], {
      env,
    })) as Json;
    assert.equal(job.manifestDigest, images[1]?.descriptor.digest);
    assert.deepEqual([...readTree(job.root.path).entries.keys()].sort(), ["large", "large/noise", "small", "small/f"]);
  });
});
