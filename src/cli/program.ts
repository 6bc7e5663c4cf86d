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

/** In the order of the help. Each brings much along, so only those are loaded that a command line may mean. */
const verbs: Readonly<Record<string, () => Promise<Verb>>> = {
  install: async () => (await import("./verbs/install.js")).install,
  plan: async () => (await import("./verbs/plan.js")).plan,
  status: async () => (await import("./verbs/status.js")).status,
  ps: async () => (await import("./verbs/ps.js")).ps,
  wait: async () => (await import("./verbs/wait.js")).wait,
  cancel: async () => (await import("./verbs/cancel.js")).cancel,
  logs: async () => (await import("./verbs/logs.js")).logs,
  roots: async () => (await import("./verbs/roots.js")).roots,
  layers: async () => (await import("./verbs/layers.js")).layers,
  du: async () => (await import("./verbs/du.js")).du,
  rm: async () => (await import("./verbs/rm.js")).rm,
  rollback: async () => (await import("./verbs/rollback.js")).rollback,
  verify: async () => (await import("./verbs/verify.js")).verify,
  pin: async () => (await import("./verbs/pin.js")).pin,
  unpin: async () => (await import("./verbs/pin.js")).unpin,
  gc: async () => (await import("./verbs/gc.js")).gc,
  export: async () => (await import("./verbs/export.js")).exportNames,
  import: async () => (await import("./verbs/import.js")).importArchive,
  repack: async () => (await import("./verbs/repack.js")).repack,
  serve: async () => (await import("./verbs/serve.js")).serve,
  endpoint: async () => (await import("./verbs/endpoint.js")).endpoint,
  version: async () => (await import("./verbs/version.js")).version,
};

/** Runs one command to its end; everything that it says is written when this resolves. */
export async function run(host: Host): Promise<number> {
  const chosen = choose(host, await verbsFor(host.argv));
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

/** All of them where no word is one: for the help, and for what was perhaps meant. */
async function verbsFor(argv: readonly string[]): Promise<Verb[]> {
  const named = Object.keys(verbs).filter((name) => asVerb(argv).includes(name));
  const loads = named.length > 0 ? named.map((name) => verbs[name]) : Object.values(verbs);
  return Promise.all(loads.flatMap((load) => load?.() ?? []));
}

function choose(host: Host, known: readonly Verb[]): Choice | StrataError | "help" {
  let choice: Choice | undefined;
  const program = defineProgram(host, known, (found) => {
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
  const [first = "", second] = argv;
  if (first === "--version" || first === "-V") return ["version", ...argv.slice(1)];
  if (first !== "help" || second === undefined) return argv;
  return Object.hasOwn(verbs, second) ? [second, "--help"] : [second];
}

function defineProgram(host: Host, known: readonly Verb[], onChoice: (choice: Choice) => void): Command {
  const program = new Command("stratad")
    .description("Installs OCI images: each layer is unpacked once, image roots are hardlinks.")
    .usage("VERB [ARGUMENTS] [OPTIONS]")
    .exitOverride()
    .configureOutput({ writeOut: (text) => host.stdout.write(text), writeErr: () => {}, outputError: () => {} })
    .configureHelp({ showGlobalOptions: true, helpWidth: Math.min(host.stdout.columns || 100, 120) });
  addGlobalOptions(program);
  for (const verb of known) {
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

/** What other programs call a verb. */
// biome-ignore format: a table is read one row a line
const elsewhere: ReadonlyMap<string, string> = new Map(Object.entries({
  remove: "rm", uninstall: "rm", delete: "rm",
  ls: "roots", list: "roots", images: "roots",
  pull: "install", add: "install", get: "install",
  prune: "gc",
  info: "status",
  watch: "wait",
}));

/** Commander's message, in our form; its suggestion becomes the hint. */
function usageError(error: CommanderError, argv: readonly string[]): StrataError {
  const [fact = "", ...more] = error.message
    .replace(/^error: /, "")
    .trim()
    .split("\n");
  const unknown = error.code === "commander.unknownCommand" ? /'(.+)'/.exec(fact)?.[1] : undefined;
  const meant = elsewhere.get(unknown ?? "") ?? /\(Did you mean (.+?)\?\)/.exec(more.join(" "))?.[1];
  const verb = Object.keys(verbs).find((name) => argv.includes(name));
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
