/**
 * The command line as another user than root: root never sees what a mode-000 file or a directory without its write bit does to
 * a daemon that is not.
 *
 * Checkout and Node may stand where that user cannot look, so the program is copied (Node hardlinked where possible) into the
 * sandbox.
 */
import { chownSync } from "node:fs";
import { chmod, copyFile, cp, link, mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { checkout } from "./daemon.js";
import { mainScript, type Sandbox } from "./sandbox.js";

/** nobody, on Debian and everywhere else. */
export const OTHER_UID = 65534;

/** From now on the sandbox's commands run as that user; where the tests do not run as root they already are somebody. */
export async function becomeOtherUser(sandbox: Sandbox, setpriv: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const program = sandbox.file("program");
  await mkdir(program);
  const compiled = join(dirname(mainScript), "..");
  for (const part of ["src", "workers"])
    await cp(join(compiled, part), join(program, "dist", part), { recursive: true });
  await copyFile(join(checkout, "package.json"), join(program, "package.json"));
  await copyDependencies(join(checkout, "package.json"), program, new Set());
  const node = join(program, "node");
  await link(process.execPath, node).catch(() => copyFile(process.execPath, node));
  await sandbox.must(["chmod", "-R", "a+rX", program]);
  await chmod(sandbox.directory, 0o755);
  for (const name of ["home", "run", "tmp", "files"]) chownSync(sandbox.file(name), OTHER_UID, OTHER_UID);
  await mkdir(sandbox.stateDir);
  chownSync(sandbox.stateDir, OTHER_UID, OTHER_UID);
  const identity = [
    `--reuid=${OTHER_UID}`,
    `--regid=${OTHER_UID}`,
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
  ];
  sandbox.stratad = [setpriv, ...identity, node, join(program, "dist/src/main.js")];
}

/** What the program needs at run time and nothing else of node_modules. */
async function copyDependencies(packageJson: string, program: string, copied: Set<string>): Promise<void> {
  const { dependencies = {} } = JSON.parse(await readFile(packageJson, "utf8")) as { dependencies?: object };
  for (const name of Object.keys(dependencies)) {
    if (copied.has(name)) continue;
    copied.add(name);
    const from = join(checkout, "node_modules", name);
    await cp(from, join(program, "node_modules", name), { recursive: true, dereference: true });
    await copyDependencies(join(from, "package.json"), program, copied);
  }
}
