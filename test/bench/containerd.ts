/** containerd as a peer: a daemon of its own for each run, and `ctr image import`, which unpacks with the snapshotter that is named. */
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../support/cached.js";
import { until } from "../support/deadline.js";
import { measured, peakMegabytes, processorSeconds } from "./measuring.js";
import { requireTools } from "./peers.js";
import { type Contestant, Missing } from "./race.js";

export type Snapshotter = "native" | "overlayfs";

export function containerd(snapshotter: Snapshotter): Contestant {
  return {
    name: `containerd, ${snapshotter}`,
    open: async ({ input, directory }) => {
      requireTools(["containerd", "ctr"]);
      if (process.getuid?.() !== 0) throw new Missing("containerd is for root");
      const archive = await input.archive("gzip");
      await requireSnapshotter(snapshotter, directory);
      return async (own) => {
        const { pid, socket, end } = await start(own.directory);
        try {
          const before = await processorSeconds(pid);
          const ctr = ["ctr", "--address", socket, "image", "import", "--snapshotter", snapshotter, archive];
          const { taken } = await measured(ctr, { cwd: own.directory });
          const cpu = taken["cpu s"] + (await processorSeconds(pid)) - before;
          return { ...taken, "cpu s": cpu, "peak MB": peakMegabytes(pid) };
        } finally {
          await end();
        }
      };
    },
  };
}

async function start(directory: string) {
  const socket = join("/run", `stratad-bench-${process.pid}.sock`);
  const lines = [
    "version = 2",
    `root = ${JSON.stringify(join(directory, "root"))}`,
    `state = ${JSON.stringify(join(directory, "state"))}`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    `[grpc]\naddress = ${JSON.stringify(socket)}`,
  ];
  await writeFile(join(directory, "config.toml"), `${lines.join("\n")}\n`);
  const child = spawn("containerd", ["--config", join(directory, "config.toml"), "--log-level", "error"], {
    stdio: "ignore",
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const answers = () =>
    run(["ctr", "--address", socket, "version"], directory).then(
      () => true,
      () => false,
    );
  await until("containerd answers", answers);
  return {
    pid: child.pid as number,
    socket,
    end: async () => {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** As containerd itself says of this file system. */
async function requireSnapshotter(snapshotter: Snapshotter, directory: string): Promise<void> {
  const { socket, end } = await start(directory);
  try {
    const plugins = await run(["ctr", "--address", socket, "plugins", "ls"], directory);
    const row = plugins.split("\n").find((line) => line.includes("snapshotter") && line.includes(` ${snapshotter} `));
    if (row?.trim().endsWith("ok") !== true)
      throw new Missing(
        `containerd has no ${snapshotter} snapshotter here: ${row?.trim().split(/\s+/).at(-1) ?? "none"}`,
      );
  } finally {
    await end();
  }
}
