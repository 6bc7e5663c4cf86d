/**
 * Debian's docker-registry on a loopback port, with storage in the sandbox; skopeo pushes to it.
 */
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { until } from "./deadline.js";
import { collect, type Sandbox } from "./sandbox.js";

export interface DebianRegistry {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
}

export const basicUser = { username: "tester", password: "abc" } as const;
/** bcrypt of that password, so that no htpasswd program is needed. */
const HTPASSWD = "tester:$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i\n";

/** `auth: "basic"` asks for `basicUser`. It ends with the sandbox. */
export async function startDebianRegistry(
  sandbox: Sandbox,
  { name, auth }: { readonly name: string; readonly auth: "anonymous" | "basic" },
): Promise<DebianRegistry> {
  const [config, passwords, storage] = [
    sandbox.file(`${name}.yml`),
    sandbox.file(`${name}.htpasswd`),
    sandbox.file(name),
  ];
  await writeFile(passwords, HTPASSWD);
  const lines = [
    "version: 0.1",
    "log: {level: info}",
    `storage: {filesystem: {rootdirectory: ${JSON.stringify(storage)}}}`,
    'http: {addr: "127.0.0.1:0", secret: "for tests"}',
    ...(auth === "basic" ? [`auth: {htpasswd: {realm: test, path: ${JSON.stringify(passwords)}}}`] : []),
  ];
  await writeFile(config, `${lines.join("\n")}\n`);
  const child = spawn("docker-registry", ["serve", config], { env: sandbox.env, stdio: ["ignore", "pipe", "pipe"] });
  const said = [collect(child.stdout), collect(child.stderr)];
  const host = await until("docker-registry listens", () => {
    const text = said.map((stream) => stream.text).join("");
    if (child.exitCode !== null) throw new Error(`docker-registry ended:\n${text}`);
    return /listening on (127\.0\.0\.1:\d+)/.exec(text)?.[1];
  });
  return { host };
}
