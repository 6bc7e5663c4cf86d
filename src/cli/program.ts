/**
 * The command line as a whole: argv -> a verb, its arguments and options -> an exit code.
 *
 * Every mistake in argv ends as USAGE, told in one line with what was perhaps meant. Knows no verb beyond its place in the
 * list.
 */
import { Command, CommanderError } from "commander";
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";
import { createContext, type Host } from "./context.js";
import { addGlobalOptions, guessGlobals, readGlobals } from "./globals.js";
import type { Options, Verb } from "./verb.js";
import { cancel } from "./verbs/cancel.js";
import { du } from "./verbs/du.js";
import { endpoint } from "./verbs/endpoint.js";
import { exportNames } from "./verbs/export.js";
import { gc } from "./verbs/gc.js";
import { importArchive } from "./verbs/import.js";
import { install } from "./verbs/install.js";
import { layers } from "./verbs/layers.js";
import { logs } from "./verbs/logs.js";
import { pin, unpin } from "./verbs/pin.js";
import { plan } from "./verbs/plan.js";
import { ps } from "./verbs/ps.js";
import { repack } from "./verbs/repack.js";
import { rm } from "./verbs/rm.js";
import { rollback } from "./verbs/rollback.js";
import { roots } from "./verbs/roots.js";
import { serve } from "./verbs/serve.js";
import { status } from "./verbs/status.js";
import { verify } from "./verbs/verify.js";
import { version } from "./verbs/version.js";
import { wait } from "./verbs/wait.js";

const verbs: readonly Verb[] = [
  install,
  plan,
  status,
  ps,
  wait,
  cancel,
  logs,
  roots,
  layers,
  du,
  rm,
  rollback,
  verify,
  pin,
  unpin,
  gc,
  exportNames,
  importArchive,
  repack,
  serve,
  endpoint,
  version,
];

/** Runs one command to its end; everything that it says is written when this resolves. */
export async function run(host: Host): Promise<number> {
  const chosen = choose(host);
  if (chosen === "help") return 0;
  if (chosen instanceof StrataError) return createContext(host, guessGlobals(host.argv)).fail(chosen);
  let context = createContext(host, guessGlobals(host.argv));
  try {
    context = createContext(host, readGlobals(chosen.globals, host.env));
    return await chosen.verb.run(context, chosen.args, chosen.options);
  } catch (error) {
    return context.fail(error);
  }
}

interface Choice {
  readonly verb: Verb;
  readonly args: readonly string[];
  readonly options: Options;
  readonly globals: Options;
}

function choose(host: Host): Choice | StrataError | "help" {
  let choice: Choice | undefined;
  const program = defineProgram(host, (found) => {
    choice = found;
  });
  if (host.argv.length === 0) {
    program.outputHelp();
    return "help";
  }
  try {
    program.parse(asVerb(host.argv), { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? "help" : usageError(error, host.argv);
  }
  return choice ?? new StrataError("USAGE", "Cannot read the command line: there is no verb");
}

/** What everybody tries first. */
function asVerb(argv: readonly string[]): readonly string[] {
  return argv[0] === "--version" || argv[0] === "-V" ? ["version", ...argv.slice(1)] : argv;
}

function defineProgram(host: Host, onChoice: (choice: Choice) => void): Command {
  const program = new Command("stratad")
    .description("Installs OCI images: each layer is unpacked once, image roots are hardlinks.")
    .usage("VERB [ARGUMENTS] [OPTIONS]")
    .exitOverride()
    .configureOutput({ writeOut: (text) => host.stdout.write(text), writeErr: () => {}, outputError: () => {} })
    .configureHelp({ showGlobalOptions: true, helpWidth: Math.min(host.stdout.columns || 100, 120) });
  addGlobalOptions(program);
  for (const verb of verbs) {
    const command = program.command(verb.name).summary(verb.summary).description(`${verb.summary}.`);
    verb.define(command);
    command.action(() => onChoice({ verb, args: command.args, options: command.opts(), globals: program.opts() }));
  }
  program.addHelpText(
    "after",
    "\nEach global option but --json and --events has an environment variable: STRATAD_TIMEOUT=30s.",
  );
  return program;
}

/** Commander's message, in our form; its suggestion becomes the hint. */
function usageError(error: CommanderError, argv: readonly string[]): StrataError {
  const [fact = "", ...more] = error.message
    .replace(/^error: /, "")
    .trim()
    .split("\n");
  const meant = /\(Did you mean (.+?)\?\)/.exec(more.join(" "))?.[1];
  const verb = verbs.find(({ name }) => argv.includes(name))?.name;
  const help =
    verb === undefined
      ? "`stratad --help` lists the verbs."
      : `\`stratad ${verb} --help\` lists its arguments and options.`;
  const told = error.code === "commander.help" ? "there is no verb" : lowerFirst(fact.replace(/\.$/, ""));
  return new StrataError("USAGE", `Cannot read the command line: ${printable(told, 512)}`, {
    hint: meant === undefined ? help : `Did you mean ${printable(meant, 128)}?`,
  });
}

const lowerFirst = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);
