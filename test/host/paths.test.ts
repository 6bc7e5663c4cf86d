import assert from "node:assert/strict";
import { chmod, chown, lstat, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { prepareRuntimeDir, stratadPaths } from "../../src/host/paths.js";
import { MAX_STATE_DIR_BYTES } from "../../src/limits.js";

const user = { uid: 1000, system: false, tmpdir: "/tmp", home: "/home/u" };
const system = { ...user, system: true };
const XDG = { XDG_DATA_HOME: "/x/data", XDG_RUNTIME_DIR: "/run/user/1000", XDG_CONFIG_HOME: "/x/config" };
const SYSTEMD = { STATE_DIRECTORY: "/s/state", RUNTIME_DIRECTORY: "/s/run", CONFIGURATION_DIRECTORY: "/s/etc" };

const table: { title: string; who: typeof user; env: NodeJS.ProcessEnv; paths: [string, string, string] }[] = [
  {
    title: "a user without variables",
    who: user,
    env: {},
    paths: ["/home/u/.local/share/stratad", "/tmp/stratad-1000", "/home/u/.config/stratad/config.toml"],
  },
  {
    title: "a user with XDG",
    who: user,
    env: XDG,
    paths: ["/x/data/stratad", "/run/user/1000/stratad", "/x/config/stratad/config.toml"],
  },
  {
    title: "a user whose XDG variables are relative, which the specification ignores",
    who: user,
    env: { XDG_DATA_HOME: "data", XDG_RUNTIME_DIR: "", XDG_CONFIG_HOME: "./c" },
    paths: ["/home/u/.local/share/stratad", "/tmp/stratad-1000", "/home/u/.config/stratad/config.toml"],
  },
  {
    title: "the system, whatever XDG says",
    who: system,
    env: XDG,
    paths: ["/var/lib/stratad", "/run/stratad", "/etc/stratad/config.toml"],
  },
  {
    title: "root without --system, who is a user like any other",
    who: { ...user, uid: 0, home: "/root" },
    env: {},
    paths: ["/root/.local/share/stratad", "/tmp/stratad-0", "/root/.config/stratad/config.toml"],
  },
  {
    title: "a user's unit",
    who: user,
    env: { ...XDG, ...SYSTEMD },
    paths: ["/s/state", "/s/run", "/s/etc/config.toml"],
  },
  {
    title: "the system's unit, of several state directories the first",
    who: system,
    env: { ...SYSTEMD, STATE_DIRECTORY: "/s/one:/s/two" },
    paths: ["/s/one", "/s/run", "/s/etc/config.toml"],
  },
];
for (const { title, who, env, paths } of table) {
  test(`paths of ${title}`, () => {
    const { stateDir, runtimeDir, configFile } = stratadPaths({ ...who, env });
    assert.deepEqual([stateDir, runtimeDir, configFile], paths);
  });
}

for (const name of Object.keys(SYSTEMD)) {
  test(`a relative ${name} is refused`, () => {
    const env = { [name]: "relative/\u001b[31m" };
    assert.throws(() => stratadPaths({ ...system, env }), {
      code: "CONFIG_INVALID",
      message: `Cannot use ${name}: 'relative/\\x1b[31m' is not an absolute path`,
    });
  });
}

test("a state directory may have as many bytes as the limit says, and not one more", () => {
  const longest = `/${"ä".repeat((MAX_STATE_DIR_BYTES - 2) / 2)}x`;
  stratadPaths({ ...system, env: { STATE_DIRECTORY: longest } });
  const tooLong = { ...system, env: { STATE_DIRECTORY: `${longest}x` } };
  assert.throws(() => stratadPaths(tooLong), { code: "CONFIG_INVALID", message: /1025 bytes/ });
});

const base = await mkdtemp(join(tmpdir(), "stratad-paths-"));
after(() => rm(base, { recursive: true, force: true }));
const uid = process.getuid?.() ?? 0;
const inBase = (name: string) => join(base, name);

test("a runtime directory is created for its user alone, with its parents, and taken again", async () => {
  const directory = inBase("a/b/stratad");
  await prepareRuntimeDir(directory, uid);
  await prepareRuntimeDir(directory, uid);
  assert.equal((await lstat(directory)).mode & 0o7777, 0o700);
});

const refused: { title: string; make: (path: string) => Promise<unknown>; as?: number; fact: RegExp; root?: true }[] = [
  { title: "of somebody else", make: (path) => mkdir(path), as: uid + 1, fact: /it belongs to uid/ },
  {
    title: "that root finds in another's hands",
    make: (path) => mkdir(path).then(() => chown(path, 65534, 65534)),
    fact: /it belongs to uid 65534/,
    root: true,
  },
  { title: "that is a symlink", make: (path) => symlink(base, path), fact: /it is not a directory/ },
  { title: "that is a file", make: (path) => writeFile(path, ""), fact: /it is not a directory/ },
  {
    title: "that others may write to",
    make: (path) => mkdir(path).then(() => chmod(path, 0o770)),
    fact: /others may write to it \(mode 770\)/,
  },
];
for (const [index, { title, make, as = uid, fact, root }] of refused.entries()) {
  test(`a runtime directory ${title} is refused`, { skip: root && uid !== 0 && "not run by root" }, async () => {
    const directory = inBase(`refused-${index}`);
    await make(directory);
    await assert.rejects(prepareRuntimeDir(directory, as), { code: "CONFIG_INVALID", message: fact });
  });
}

test("a runtime directory that cannot be created is refused with the reason", async () => {
  await writeFile(inBase("file"), "");
  const created = prepareRuntimeDir(inBase("file/below/stratad"), uid);
  await assert.rejects(created, { code: "CONFIG_INVALID", message: /: ENOTDIR$/ });
});

test("a state directory that is no UTF-8 is refused: what Node makes of it is another one", () => {
  const env = { STATE_DIRECTORY: Buffer.from("2f78ff79", "hex").toString() };
  assert.throws(() => stratadPaths({ ...system, env }), { code: "CONFIG_INVALID", message: /not UTF-8/ });
});
