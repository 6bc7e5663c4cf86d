#!/usr/bin/env node
/**
 * The executable: hands the process to the command line, and takes its exit code.
 *
 * The only file that ends the process: when the command is over and its output is with the reader, or where a verb cannot wait.
 */
import { homedir, tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { run } from "./cli/program.js";
import { codeTable } from "./errors.js";

let resultIsLost = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // `stratad roots | head -1`: nobody reads the rest, and that is no failure.
  if (error.code === "EPIPE" || resultIsLost) return;
  process.stderr.write(`error: Cannot write the result: ${error.code} [STORE_IO]\n`);
  resultIsLost = true;
});
process.stderr.on("error", (error: NodeJS.ErrnoException) => {
  // A daemon's log on a full disk is no failure of the daemon.
  if (!["EPIPE", "ENOSPC", "EDQUOT"].includes(error.code ?? "")) throw error;
});

const exitCode = await run({
  argv: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  uid: process.getuid?.() ?? 0,
  home: homedir(),
  tmpdir: tmpdir(),
  script: fileURLToPath(import.meta.url),
  stdout: process.stdout,
  stderr: process.stderr,
  exit: (code) => process.exit(code),
  onSignal: (signal, handler) => {
    process.on(signal, handler);
    return () => process.off(signal, handler);
  },
  onExit: (handler) => {
    process.on("exit", handler);
    return () => process.off("exit", handler);
  },
});

// Left to itself, Node waits for connections that are being closed and takes its heap apart: 15 ms of each command.
const written = (stream: NodeJS.WriteStream) => new Promise<void>((resolve) => stream.write("", () => resolve()));
await Promise.all([written(process.stdout), written(process.stderr)]);
process.exit(resultIsLost ? codeTable.STORE_IO.exitCode : exitCode);
