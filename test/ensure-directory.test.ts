import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ensureDirectories } from "../src/ensure-directory.js";

async function place(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "stratad-ensured-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

test("all that is missing is made, with the mode, and asked for again is there", async (t) => {
  const path = join(await place(t), "a/b/c");
  await Promise.all([ensureDirectories(path, 0o700), ensureDirectories(path, 0o700)]);
  await ensureDirectories(path, 0o755);
  for (const made of [path, join(path, "..")]) assert.equal((await stat(made)).mode & 0o777, 0o700);
});

test("a symlink to a directory is one", async (t) => {
  const directory = await place(t);
  await symlink(directory, join(directory, "link"));
  await ensureDirectories(join(directory, "link"));
  await ensureDirectories(join(directory, "link/below"));
  assert.ok((await stat(join(directory, "below"))).isDirectory());
});

test("a file in the way is EEXIST where it stands, ENOTDIR above", async (t) => {
  const file = join(await place(t), "file");
  await writeFile(file, "");
  await assert.rejects(ensureDirectories(file), { code: "EEXIST" });
  await assert.rejects(ensureDirectories(join(file, "below")), { code: "ENOTDIR" });
});

test("where nothing can be made it ends: ENOENT below /proc", { timeout: 10_000 }, async () => {
  await assert.rejects(ensureDirectories("/proc/nowhere/at/all"), { code: "ENOENT" });
});

test("a directory that may not be written to is EACCES", {
  skip: process.getuid?.() === 0 && "root may",
}, async (t) => {
  const directory = await place(t);
  await chmod(directory, 0o500);
  await assert.rejects(ensureDirectories(join(directory, "a/b")), { code: "EACCES" });
});
