/** What may stand where a file is looked for: to open it must never wait, nor lead out. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, rename, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import type { LayoutGround } from "./scenes.js";

export const mkfifo = (path: string): unknown => execFileSync("mkfifo", [path]);

/** A socket's path may have 107 bytes: it is made under a short one. */
async function socketAt(path: string, { path: own, after }: LayoutGround): Promise<void> {
  const server = createServer().listen(`${own}.s`);
  after(() => server.close());
  await once(server, "listening");
  await rename(`${own}.s`, path);
}

type Replacement = (path: string, ground: LayoutGround) => unknown;

export const replacements: Readonly<Record<string, Replacement>> = {
  "a symlink to the very bytes": async (path, { path: own }) => {
    await rename(path, `${own}.elsewhere`);
    await symlink(`${own}.elsewhere`, path);
  },
  "a symlink out": (path, { outside }) => symlink(join(outside, "canary"), path),
  "a symlink to itself": (path) => symlink(path, path),
  "a dangling symlink": (path) => symlink("nowhere", path),
  "a symlink to /dev/zero": (path) => symlink("/dev/zero", path),
  "a FIFO": mkfifo,
  "a socket": socketAt,
  "a directory": (path) => mkdir(path),
};
