import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { type ConfigInput, loadConfig, nearest } from "../src/config.js";
import { imageLimits } from "../src/limits.js";
import { type SettingName, settings } from "../src/settings.js";

const base = await mkdtemp(join(tmpdir(), "stratad-config-"));
after(() => rm(base, { recursive: true, force: true }));
const uid = process.getuid?.() ?? 0;

/** What a user without any variables gives, with a file of this text. */
async function inputWith(toml: string | undefined, more: Partial<ConfigInput> = {}): Promise<ConfigInput> {
  const home = await mkdtemp(join(base, "home-"));
  const input = { env: {}, uid, system: false, tmpdir: "/tmp", home, ...more };
  if (toml === undefined) return input;
  await mkdir(join(home, ".config/stratad"), { recursive: true });
  await writeFile(join(home, ".config/stratad/config.toml"), toml);
  return input;
}
const fileOf = ({ home }: ConfigInput) => join(home, ".config/stratad/config.toml");

test("without a file every setting has its default", async () => {
  const input = await inputWith(undefined);
  const { origin, ...values } = await loadConfig(input);
  assert.deepEqual(values, {
    system: false,
    configFile: fileOf(input),
    stateDir: join(input.home, ".local/share/stratad"),
    runtimeDir: `/tmp/stratad-${uid}`,
    socket: `/tmp/stratad-${uid}/stratad.sock`,
    readOnlySocket: `/tmp/stratad-${uid}/stratad-ro.sock`,
    allowedOrigins: [],
    workers: availableParallelism(),
    decoders: "native",
    dedup: "off",
    overlap: "c",
    allowedOverlaps: ["c", "b", "a"],
    logLevel: "info",
    insecureRegistries: [],
    keepGenerations: 10,
    cacheBytes: 10 * 1024 ** 3,
    cacheInodes: 655_360,
    spareEntries: 200_000,
    drainTimeoutMs: 60_000,
    stallTimeoutMs: 60_000,
    limits: { ...imageLimits },
  });
  for (const { name } of settings) assert.equal(origin(name).origin, "default");
});

test("the file yields to the environment, and that to the flag", async () => {
  const toml = 'workers = 2\nlog_level = "debug"\nsocket = "/file.sock"\n';
  const env = { STRATAD_WORKERS: "3", STRATAD_SOCKET: "/env.sock" };
  const input = await inputWith(toml, { env, flags: { socket: "/flag.sock" } });
  const config = await loadConfig(input);
  assert.deepEqual([config.logLevel, config.workers, config.socket], ["debug", 3, "/flag.sock"]);
  assert.deepEqual(config.origin("log_level"), { value: "debug", origin: `file:${fileOf(input)}` });
  assert.deepEqual(config.origin("workers"), { value: 3, origin: "env:STRATAD_WORKERS" });
  assert.deepEqual(config.origin("socket"), { value: "/flag.sock", origin: "flag:--socket" });
  assert.deepEqual(config.origin("stall_timeout_ms"), { value: 60_000, origin: "default" });
});

/** One value for each setting, as the file and as the environment have it; what Config says then. */
const samples: Record<string, { toml: string; text: string; value: unknown }> = {
  state_dir: { toml: '"/s"', text: "/s", value: "/s" },
  runtime_dir: { toml: '"/r"', text: "/r", value: "/r" },
  socket: { toml: '"/a.sock"', text: "/a.sock", value: "/a.sock" },
  listen: { toml: '"[::1]:80"', text: "[::1]:80", value: { host: "::1", port: 80 } },
  allowed_origins: {
    toml: '["https://a", "vscode-webview://b"]',
    text: "https://a, vscode-webview://b",
    value: ["https://a", "vscode-webview://b"],
  },
  workers: { toml: "5", text: "5", value: 5 },
  overlap: { toml: '"b"', text: "b", value: "b" },
  allowed_overlaps: { toml: '["c", "a"]', text: "c,a", value: ["c", "a"] },
  "store.dedup": { toml: '"files"', text: "files", value: "files" },
  decoders: { toml: '"javascript"', text: "javascript", value: "javascript" },
  log_level: { toml: '"error"', text: "error", value: "error" },
  insecure_registries: { toml: '["a:5000", "b"]', text: "a:5000,b", value: ["a:5000", "b"] },
  import_dirs: { toml: '["/a", "/b"]', text: "/a:/b", value: ["/a", "/b"] },
  idle_exit_ms: { toml: "1000", text: "1000", value: 1000 },
  drain_timeout_ms: { toml: "1000", text: "1000", value: 1000 },
  stall_timeout_ms: { toml: "1000", text: "1000", value: 1000 },
};
const sampleOf = (name: string) => samples[name] ?? { toml: "17", text: "17", value: 17 };

for (const { name } of settings) {
  test(`${name} may be set in the file, the environment and by a flag, with one meaning`, async () => {
    const { toml, text, value } = sampleOf(name);
    const [table, key] = name.split(".");
    const inFile = key === undefined ? `${name} = ${toml}` : `[${table}]\n${key} = ${toml}`;
    const variable = `STRATAD_${name.replace(".", "_").toUpperCase()}`;
    for (const input of [
      await inputWith(inFile),
      await inputWith(undefined, { env: { [variable]: text } }),
      await inputWith(undefined, { flags: { [name]: text } }),
    ]) {
      const found = (await loadConfig(input)).origin(name);
      assert.deepEqual(found.value, value);
      assert.notEqual(found.origin, "default");
    }
  });
}

test("limits of the file reach the limits of images, under their names there", async () => {
  const config = await loadConfig(await inputWith("[limits]\nmax_layers = 3\nratio_floor_bytes = 9\n"));
  assert.deepEqual(config.limits, { ...imageLimits, maxLayers: 3, ratioFloorBytes: 9 });
});

test("a size may have a unit wherever it stands, and is a number of bytes then", async () => {
  const toml = 'cache_bytes = "10GiB"\nscrub_bytes_per_second = "1.5 MB"\n[limits]\nmax_layer_bytes = "2TiB"\n';
  const env = { STRATAD_RESERVE_BYTES: "500 MB" };
  const config = await loadConfig(await inputWith(toml, { env }));
  const { cacheBytes, scrubBytesPerSecond, reserveBytes, limits } = config;
  assert.deepEqual(
    [cacheBytes, scrubBytesPerSecond, reserveBytes, limits.maxLayerBytes],
    [10 * 2 ** 30, 1_500_000, 500_000_000, 2 * 2 ** 40],
  );
  for (const wrong of ['"much"', '"10 GiBs"', '"-1"', '"1e9"', "1.5", '"99999999TiB"', '""']) {
    const message = /^Cannot use cache_bytes = .* from .*: it is no number of bytes, like 500MB/;
    await assert.rejects(loadConfig(await inputWith(`cache_bytes = ${wrong}`)), { code: "CONFIG_INVALID", message });
  }
  await assert.rejects(loadConfig(await inputWith('scrub_bytes_per_second = "0B"')), {
    message: /"0B" from .*config\.toml/,
  });
});

const typos: { toml: string; unknown: string; known: SettingName }[] = [
  { toml: "worker = 2", unknown: "worker", known: "workers" },
  { toml: 'statedir = "/x"', unknown: "statedir", known: "state_dir" },
  { toml: "[limits]\nmaxLayers = 2", unknown: "limits.maxLayers", known: "limits.max_layers" },
  { toml: "max_layers = 2", unknown: "max_layers", known: "limits.max_layers" },
  { toml: '"w\\u001b" = 2', unknown: "w\\\\x1b", known: "socket" },
  { toml: "constructor = 2", unknown: "constructor", known: "socket" },
];
for (const { toml, unknown, known } of typos) {
  test(`the unknown key ${unknown} is refused${known === "socket" ? "" : `, and ${known} named`}`, async () => {
    const message = new RegExp(
      `there is no setting '${unknown}'; the nearest is '${known === "socket" ? "" : `${known}'$`}`,
    );
    await assert.rejects(loadConfig(await inputWith(toml)), { code: "CONFIG_INVALID", message });
  });
}

test("the nearest name of a name with one letter wrong is that name", () => {
  const names = settings.map(({ name }) => name);
  const position = fc.nat().map((n) => n / 2 ** 31);
  fc.assert(
    fc.property(fc.constantFrom(...names), position, fc.constantFrom("", "~", "~~"), (name, where, letters) => {
      const at = Math.floor(where * name.length);
      const typo = `${name.slice(0, at)}${letters}${name.slice(at + 1)}`;
      assert.equal(nearest(typo, names), name);
    }),
  );
});

test("variables that are no setting are the command line's business", async () => {
  await loadConfig(await inputWith(undefined, { env: { STRATAD_ENDPOINT: "x", STRATAD_WORKER: "x" } }));
});

test("an empty variable sets nothing", async () => {
  const config = await loadConfig(await inputWith("workers = 2", { env: { STRATAD_WORKERS: "" } }));
  assert.equal(config.workers, 2);
});

const wrong: { title: string; toml?: string; more?: Partial<ConfigInput>; message: RegExp }[] = [
  { title: "no worker", toml: "workers = 0", message: /^Cannot use workers = 0 from / },
  { title: "half a worker", toml: "workers = 1.5", message: /workers = 1.5 from / },
  { title: "a number as text in the file", toml: 'workers = "2"', message: /workers = "2" from / },
  { title: "a word for a number", more: { env: { STRATAD_WORKERS: "2x" } }, message: /"2x" from STRATAD_WORKERS/ },
  { title: "a negative limit", toml: "[limits]\nmax_layers = -1", message: /limits.max_layers = -1/ },
  { title: "names longer than the kernel's", toml: "[limits]\nmax_component_bytes = 256", message: /= 256/ },
  { title: "a relative path in the file", toml: 'state_dir = "s"', message: /it is not an absolute path$/ },
  {
    title: "a relative path in a variable",
    more: { env: { STRATAD_SOCKET: "./s" } },
    message: /not an absolute path$/,
  },
  {
    title: "an empty flag",
    more: { flags: { state_dir: "" } },
    message: /"" from --state: it is not an absolute/,
  },
  { title: "a long state directory", more: { flags: { state_dir: `/${"x".repeat(1024)}` } }, message: /1025 bytes/ },
  { title: "a long socket", more: { flags: { socket: `/${"x".repeat(99)}.sock` } }, message: /108 bytes/ },
  { title: "all interfaces", more: { flags: { listen: "0.0.0.0:80" } }, message: /neither 127.0.0.1:PORT nor/ },
  { title: "a name to listen at", more: { flags: { listen: "localhost:80" } }, message: /neither 127.0.0.1:PORT nor/ },
  { title: "a port beyond the last", more: { flags: { listen: "127.0.0.1:65536" } }, message: /neither/ },
  { title: "the origin null", toml: 'allowed_origins = ["null"]', message: /an origin looks like/ },
  { title: "an unknown level", toml: 'log_level = "loud\\u001b"', message: /log_level = "loud\\\\u001b"/ },
  { title: "an address in a list", toml: 'listen = ["127.0.0.1:80"]', message: /neither 127.0.0.1:PORT nor/ },
  { title: "no policy at all", toml: "allowed_overlaps = []", message: /: it is an empty list$/ },
  { title: "an unknown policy among others", toml: 'allowed_overlaps = ["c", "d"]', message: /none of c, b, a$/ },
  { title: "a directory that is no list", toml: 'import_dirs = "/a"', message: /: it is no list$/ },
  { title: "an empty word", toml: 'insecure_registries = [""]', message: /: a registry is HOST or HOST:PORT/ },
  { title: "a registry that no reference can name", toml: 'insecure_registries = ["r:99999"]', message: /HOST:PORT/ },
  { title: "a registry with a scheme", toml: 'insecure_registries = ["http://r:5000"]', message: /without a scheme/ },
  { title: "a registry with a path", toml: 'insecure_registries = ["r/x"]', message: /without a scheme and a path$/ },
  { title: "a number beyond the largest", toml: "idle_exit_ms = 2147483648", message: /more than 2147483647$/ },
  { title: "no TOML", toml: "workers = \n", message: /config.toml: line 1, column \d+: / },
];
for (const { title, toml, more, message } of wrong) {
  test(`${title} is refused with its origin`, async () => {
    await assert.rejects(loadConfig(await inputWith(toml, more)), { code: "CONFIG_INVALID", message });
  });
}

test("a file that cannot be read is an error, not an absent one", async () => {
  const input = await inputWith("");
  await rm(fileOf(input));
  await mkdir(fileOf(input));
  await assert.rejects(loadConfig(input), { code: "CONFIG_INVALID", message: /it is not a regular file$/ });
});

test("a file that the system cannot open is an error with the reason", async () => {
  const input = await inputWith("");
  await rm(fileOf(input));
  await symlink(fileOf(input), fileOf(input));
  await assert.rejects(loadConfig(input), { code: "CONFIG_INVALID", message: /ELOOP$/ });
});

test("the longest socket path that fits is taken, with its read-only brother", async () => {
  const socket = `/${"x".repeat(98)}.sock`;
  const config = await loadConfig(await inputWith(undefined, { flags: { socket } }));
  assert.equal(Buffer.byteLength(config.readOnlySocket), 107);
});

test("a relative path of a flag is relative to the working directory", async () => {
  const config = await loadConfig(await inputWith(undefined, { flags: { state_dir: "here" } }));
  assert.equal(config.stateDir, resolve("here"));
});

test("the socket follows the runtime directory that was chosen", async () => {
  const config = await loadConfig(await inputWith('runtime_dir = "/r"'));
  assert.equal(config.socket, "/r/stratad.sock");
});

test("a system daemon reads local images nowhere unless it is told where", async () => {
  const system = await loadConfig(await inputWith(undefined, { system: true, env: { CONFIGURATION_DIRECTORY: base } }));
  assert.deepEqual(system.importDirs, []);
  assert.equal(system.stateDir, "/var/lib/stratad");
  const user = await loadConfig(await inputWith(undefined));
  assert.equal("importDirs" in user, false);
});

test("a state directory that systemd chose says so, and yields to the file", async () => {
  const env = { STATE_DIRECTORY: "/var/lib/of-the-unit" };
  const chosen = await loadConfig(await inputWith(undefined, { env }));
  assert.deepEqual(chosen.origin("state_dir"), { value: "/var/lib/of-the-unit", origin: "env:STATE_DIRECTORY" });
  const inFile = await loadConfig(await inputWith('state_dir = "/srv"', { env }));
  assert.equal(inFile.stateDir, "/srv");
});

test("a config cannot be changed", async () => {
  const config = await loadConfig(await inputWith('allowed_origins = ["https://a"]'));
  for (const part of [config, config.limits, config.allowedOrigins, config.origin("workers")]) {
    assert.ok(Object.isFrozen(part));
  }
});

test("every setting has a line of documentation, and a name of its own", () => {
  assert.equal(new Set(settings.map(({ name }) => name)).size, settings.length);
  for (const { doc } of settings) assert.match(doc, /^\S.*\S$/);
});
