/**
 * What `repack` is asked for: argv and SOURCE_DATE_EPOCH -> a request and a place. Every mistake is USAGE or INVALID_REFERENCE, before
 * anything is read.
 */
import { type Command, Option } from "commander";
import { type Overlap, overlaps } from "../choices.js";
import { StrataError } from "../errors.js";
import { imageLimits, MAX_IMAGES_AT_ONCE } from "../limits.js";
import { type PackCodec, packCodecs } from "../oci/media-types.js";
import { parsePlatform } from "../oci/platform.js";
import { type DockerReference, parseReference, withAbsolutePath } from "../oci/reference.js";
import { printable } from "../printable.js";
import type { InputRequest } from "../repack/inputs.js";
import type { RepackRequest } from "../repack/repacker.js";
import { bytesOption } from "./bytes-option.js";
import type { Host } from "./context.js";
import { given, type Options } from "./verb.js";

/** Where the images go: a layout's directory, absolute, or a repository. */
export type RepackPlace =
  | { readonly kind: "layout"; readonly directory: string }
  | { readonly kind: "registry"; readonly repository: DockerReference };

export function addRepackOptions(command: Command): void {
  command
    .option("--out <place>", "oci:DIR, a layout that is made or whose other images stay, or docker://HOST/REPO")
    .addOption(new Option("--policy <policy>", "what the layers are made for (default: c)").choices(["c", "b"]))
    .addOption(new Option("--codec <codec>", "how layers are compressed (default: gzip)").choices(packCodecs))
    .option("--max-layers <count>", "at most so many layers in any image")
    .option("--min-layer-bytes <bytes>", "merge layers with less content than this: 500kB, 2MiB")
    .option("--hoist", "share directories below the top too, with symlinks in their place (policy c)")
    .addOption(keepOption())
    .option("--platform <platform>", "one platform of each index, OS/ARCH[/VARIANT] (default: all of them)")
    .addOption(
      new Option("--overlap <policy>", "how the inputs' layers meet (default: a, which reads any image)").choices(
        overlaps,
      ),
    )
    .option("--plan", "say what would come of it, and pack nothing")
    .option("--no-verify", "do not unpack the result again to compare it with what was read")
    .option("--picture <file>", "draw who shares what as SVG");
}

/** No negation of --hoist: a list of its own. */
function keepOption(): Option {
  const option = new Option("--no-hoist <glob>", "with --hoist, leave these paths as they are; may be given again");
  option.negate = false;
  return option.argParser(collected);
}

const collected = (glob: string, globs: unknown): string[] => [...(Array.isArray(globs) ? globs : []), glob];

export function repackRequest(
  args: readonly string[],
  options: Options,
  { cwd, env }: Pick<Host, "cwd" | "env">,
): RepackRequest {
  const { policy, codec } = { ...given(options, "policy"), ...given(options, "codec") };
  const { overlap, platform } = { ...given(options, "overlap"), ...given(options, "platform") };
  return {
    inputs: inputsOf(args, cwd),
    policy: policy === "b" ? "b" : "c",
    codec: (codec ?? "gzip") as PackCodec,
    ...maxLayersOf(options),
    ...bytesOption(options, "minLayerBytes", "--min-layer-bytes"),
    ...hoistOf(options, policy),
    ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
    ...(overlap === undefined ? {} : { overlap: overlap as Overlap }),
    ...latestMtimeOf(env),
    planOnly: options.plan === true,
    verify: options.verify !== false,
  };
}

/** Undefined where nothing is to be written. */
export function repackPlace({ out, plan }: Options, cwd: string): RepackPlace | undefined {
  if (typeof out !== "string") {
    if (plan === true) return undefined;
    throw usage("Cannot read the command line: --out is missing", "Name a layout with --out oci:DIR, or use --plan.");
  }
  const hint = "A place is oci:DIR or docker://HOST/REPO; what images are called in it follows each =.";
  const cannot = `Cannot read --out: '${printable(out)}'`;
  if (!/^(oci:|docker:\/\/)/.test(out)) throw usage(`${cannot} is neither oci:DIR nor docker://HOST/REPO`, hint);
  const reference = withAbsolutePath(parseReference(out), cwd);
  if (reference.transport === "docker") {
    // The tag is `latest` where the text has none.
    if (/[:@][^/]*$/.test(out.slice("docker://".length))) throw usage(`${cannot} has a tag or a digest`, hint);
    return { kind: "registry", repository: reference };
  }
  if (out.slice("oci:".length).includes(":")) throw usage(`${cannot} has a tag or a digest`, hint);
  return { kind: "layout", directory: reference.path };
}

/** USAGE, INVALID_REFERENCE. */
function inputsOf(args: readonly string[], cwd: string): InputRequest[] {
  if (args.length > MAX_IMAGES_AT_ONCE)
    throw usage(`Cannot repack ${args.length} images: ${MAX_IMAGES_AT_ONCE} at once are the most`);
  const inputs = args.map((text): InputRequest => {
    const equals = text.lastIndexOf("=");
    if (equals < 1 || equals === text.length - 1)
      throw usage(
        `Cannot read '${printable(text)}': it is not IN=OUT`,
        "A reference, then = and what its image is to be called.",
      );
    const out = text.slice(equals + 1);
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/.test(out))
      throw usage(
        `Cannot read '${printable(text)}': '${printable(out)}' is no tag`,
        "A tag is 1-128 of A-Z a-z 0-9 _ . -",
      );
    return { reference: withAbsolutePath(parseReference(text.slice(0, equals)), cwd), out };
  });
  const outs = inputs.map(({ out }) => out);
  const twice = outs.find((out, index) => outs.indexOf(out) !== index);
  if (twice !== undefined) throw usage(`Cannot repack the images: two of them are to be called '${twice}'`);
  return inputs;
}

function maxLayersOf({ maxLayers: text }: Options): { maxLayers?: number } {
  if (typeof text !== "string") return {};
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= imageLimits.maxLayers) return { maxLayers: count };
  throw usage(`Cannot read --max-layers: '${printable(text, 64)}' is not a number from 1 to ${imageLimits.maxLayers}`);
}

function hoistOf(options: Options, policy: string | undefined): { hoist?: { keep: readonly string[] } } {
  const keep = Array.isArray(options.noHoist) ? (options.noHoist as string[]) : [];
  if (options.hoist !== true) {
    if (keep.length > 0) throw usage("Cannot use --no-hoist: it is for --hoist");
    return {};
  }
  if (policy === "b") throw usage("Cannot use --hoist: under policy b images share any path, and nothing has to move");
  return { hoist: { keep } };
}

/** https://reproducible-builds.org/specs/source-date-epoch. */
function latestMtimeOf({ SOURCE_DATE_EPOCH: text }: Host["env"]): { latestMtime?: number } {
  if (text === undefined || text === "") return {};
  if (/^\d{1,10}$/.test(text)) return { latestMtime: Number(text) };
  throw usage(`Cannot read SOURCE_DATE_EPOCH: '${printable(text, 64)}' is no number of seconds`);
}

const usage = (message: string, hint?: string): StrataError => new StrataError("USAGE", message, { hint });
