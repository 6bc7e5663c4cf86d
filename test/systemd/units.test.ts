import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { DRAIN_TIMEOUT_MS } from "../../src/limits.js";
import { toolOrSkip } from "../support/tools.js";

const run = promisify(execFile);
const units = fileURLToPath(new URL("../../../systemd/", import.meta.url));
const analyze = toolOrSkip("systemd-analyze");
const copy = await mkdtemp(join(tmpdir(), "stratad-units-"));
after(() => rm(copy, { recursive: true, force: true }));

/** systemd-analyze refuses a program that is not there: in the copy each service runs one that is. */
await cp(units, copy, { recursive: true });
const services = ["stratad.service", "user/stratad.service"];
for (const service of services) {
  const text = await readFile(join(copy, service), "utf8");
  const replaced = text.replace(/^ExecStart=\/usr\/bin\/stratad /m, `ExecStart=${process.execPath} `);
  assert.notEqual(replaced, text, `${service} starts /usr/bin/stratad`);
  await writeFile(join(copy, service), replaced);
}

for (const { manager, folder } of [
  { manager: "--system", folder: "." },
  { manager: "--user", folder: "user" },
]) {
  test(`systemd-analyze ${manager} verify finds nothing to say`, { skip: analyze.skip }, async () => {
    const directory = join(copy, folder);
    const names = (await readdir(directory)).filter((name) => /\.(service|socket)$/.test(name));
    assert.deepEqual(names.sort(), ["stratad-ro.socket", "stratad.service", "stratad.socket"]);
    const env = { ...process.env, XDG_RUNTIME_DIR: copy, SYSTEMD_UNIT_PATH: `${directory}:` };
    const paths = names.map((name) => join(directory, name));
    const { stdout, stderr } = await run(analyze.path ?? "", [manager, "--man=no", "verify", ...paths], { env });
    assert.equal(stdout + aboutUs(stderr), "");
  });
}

/** Other units of the machine may have faults of their own. */
const aboutUs = (text: string) =>
  text
    .split("\n")
    .filter((line) => line.includes("stratad"))
    .join("\n");

test("the system's service is exposed to at most 1.5 of 10", { skip: analyze.skip }, async () => {
  const service = join(copy, "stratad.service");
  // The threshold is in tenths; beyond it the exit code is not 0.
  await run(analyze.path ?? "", ["security", "--offline=true", "--threshold=15", "--no-pager", service]);
});

test("what systemd-analyze still objects to is named in the unit", { skip: analyze.skip }, async () => {
  const service = join(copy, "stratad.service");
  const { stdout } = await run(analyze.path ?? "", [
    "security",
    "--offline=true",
    "--json=short",
    "--no-pager",
    service,
  ]);
  const text = await readFile(service, "utf8");
  const objections: { name: string; exposure: string | null }[] = JSON.parse(stdout);
  const open = objections.filter(({ exposure }) => exposure !== null && Number(exposure) > 0);
  assert.ok(open.length > 0);
  for (const { name } of open) {
    const directive = name.split(/[=/]/)[0] ?? name;
    // ProtectClock= allows the real-time clock's device by itself.
    if (directive !== "DeviceAllow") assert.match(text, new RegExp(`\\b${directive}=`), name);
  }
});

/** The directives of systemd.exec(5) and systemd.resource-control(5) that take something away from a service. */
const hardening = `
  AmbientCapabilities CapabilityBoundingSet DevicePolicy DynamicUser IPAddressDeny KeyringMode LockPersonality
  MemoryDenyWriteExecute NoNewPrivileges PrivateDevices PrivateIPC PrivateMounts PrivateNetwork PrivateTmp PrivateUsers
  ProcSubset ProtectClock ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules
  ProtectKernelTunables ProtectProc ProtectSystem RemoveIPC RestrictAddressFamilies RestrictNamespaces RestrictRealtime
  RestrictSUIDSGID RootDirectory SystemCallArchitectures SystemCallErrorNumber SystemCallFilter UMask
`;
for (const service of services) {
  test(`${service} sets each hardening directive, or says in a comment why not`, async () => {
    const text = await readFile(join(units, service), "utf8");
    for (const directive of hardening.trim().split(/\s+/)) {
      const isSet = new RegExp(`^${directive}=`, "m").test(text);
      const isExplained = new RegExp(`^#.*\\b${directive}=`, "m").test(text);
      assert.ok(isSet || isExplained, directive);
    }
  });

  test(`${service} gives the daemon longer to stop than the daemon takes`, async () => {
    const text = await readFile(join(units, service), "utf8");
    const seconds = Number(/^TimeoutStopSec=(\d+)s$/m.exec(text)?.[1]);
    assert.ok(seconds * 1000 > DRAIN_TIMEOUT_MS);
  });

  test(`${service} keeps the directory in which its sockets listen when it ends`, async () => {
    assert.match(await readFile(join(units, service), "utf8"), /^RuntimeDirectoryPreserve=yes$/m);
  });
}

const sockets = [
  { unit: "stratad.socket", path: "/run/stratad/stratad.sock", name: "full", mode: "0660" },
  { unit: "stratad-ro.socket", path: "/run/stratad/stratad-ro.sock", name: "read", mode: "0666" },
  { unit: "user/stratad.socket", path: "%t/stratad/stratad.sock", name: "full", mode: "0600" },
  { unit: "user/stratad-ro.socket", path: "%t/stratad/stratad-ro.sock", name: "read", mode: "0600" },
];
for (const { unit, path, name, mode } of sockets) {
  test(`${unit} hands over ${path} as ${name}`, async () => {
    const lines = (await readFile(join(units, unit), "utf8")).split("\n");
    for (const line of [`ListenStream=${path}`, `FileDescriptorName=${name}`, `SocketMode=${mode}`]) {
      assert.ok(lines.includes(line), line);
    }
  });
}

const sysusers = toolOrSkip("systemd-sysusers");
const tmpfiles = toolOrSkip("systemd-tmpfiles");
const skipRoot = process.getuid?.() === 0 ? false : "not run by root";
test("sysusers and tmpfiles make the user and the sockets' directory", {
  skip: sysusers.skip || tmpfiles.skip || skipRoot,
}, async () => {
  const root = await mkdtemp(join(tmpdir(), "stratad-root-"));
  try {
    await mkdir(join(root, "etc"));
    for (const kind of ["sysusers", "tmpfiles"]) {
      await cp(join(units, `stratad.${kind}.conf`), join(root, `usr/lib/${kind}.d/stratad.conf`));
    }
    await run(sysusers.path ?? "", [`--root=${root}`]);
    assert.match(await readFile(join(root, "etc/passwd"), "utf8"), /^stratad:/m);
    assert.match(await readFile(join(root, "etc/group"), "utf8"), /^stratad:/m);
    await run(tmpfiles.path ?? "", [`--root=${root}`, "--create"]);
    assert.deepEqual(await readdir(join(root, "run")), ["stratad"]);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});
